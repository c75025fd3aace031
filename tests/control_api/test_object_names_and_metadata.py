"""Names, labels, annotations; metadata accessors, conditions, owners, times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api import meta, names

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

GOOD = [
    (names.dns_label, ["a", "a-b", "0", "a" * 63]),
    (names.dns_subdomain, ["a", "a.b-c.d", "1.2", "a" * 253]),
    (names.dns_1035_label, ["a", "a1-b"]),
    (names.wildcard_subdomain, ["*.example.com"]),
    (names.label_value, ["", "A_b.c-1", "a" * 63]),
    (names.config_key, ["a", ".env", "A_b-c.txt"]),
    (names.env_name, ["PATH", "a.b-c", "with space"]),
    (names.port_name, ["http", "a-1", "8080x"]),
    (names.qualified_name, ["app", "example.com/App_1", "kubernetes.io/metadata.name"]),
    (names.path_segment, ["system:node", "a b"]),
    (names.c_identifier, ["_a1"]),
    (names.header_name, ["X-Y"]),
]
BAD = [
    (names.dns_label, ["", "A", "-a", "a-", "a.b", "a" * 64, "a\n", "ä"]),
    (names.dns_subdomain, ["", "a..b", ".a", "a.", "A.b", "a" * 254, "a.b\n"]),
    (names.dns_1035_label, ["1a", "", "a_b"]),
    (names.wildcard_subdomain, ["*", "example.com", "*.*.com"]),
    (names.label_value, ["-a", "a b", "a" * 64]),
    (names.config_key, ["", ".", "..", "..a", "a/b", "a" * 254]),
    (names.env_name, ["", "a=b", "ü", "a\nb"]),
    (names.port_name, ["", "-a", "a-", "a--b", "A", "12", "a" * 16]),
    (names.qualified_name, ["", "/a", "a/", "a/b/c", "A.com/x", "a" * 64, "example.com/"]),
    (names.path_segment, [".", "..", "a/b", "a%b"]),
    (names.c_identifier, ["1a", ""]),
    (names.header_name, ["a b", ""]),
]


@pytest.mark.parametrize(("check", "text"), [(check, text) for check, texts in GOOD for text in texts])
def test_good_names(check: Any, text: str) -> None:
    assert check(text) == []


@pytest.mark.parametrize(("check", "text"), [(check, text) for check, texts in BAD for text in texts])
def test_bad_names(check: Any, text: str) -> None:
    assert check(text)


def test_complaints_are_kubernetes_own() -> None:
    assert names.dns_1035_label("9") == [
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic"
        " character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for"
        " validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    ]
    assert names.dns_label("a" * 64) == ["must be no more than 63 characters"]


@given(st.text("abc-", min_size=1, max_size=80), st.binary(min_size=5, max_size=5))
def test_generated_names_fit(prefix: str, entropy: bytes) -> None:
    name = names.generated(prefix, entropy)
    assert len(name) <= 63
    assert len(name) == min(len(prefix), 58) + 5
    assert set(name[-5:]) <= set(names.SUFFIX_ALPHABET)


def test_annotations_are_limited() -> None:
    assert not names.annotations_too_long({"a": "x" * (256 * 1024 - 1)})
    assert names.annotations_too_long({"a": "x" * 256 * 1024})


def test_accessors_read_what_is_not_there_as_empty() -> None:
    for bare in ({}, {"metadata": None}, {"metadata": {"labels": None, "ownerReferences": None}}):
        assert (meta.name(bare), meta.namespace(bare), meta.uid(bare), meta.resource_version(bare)) == ("", "", "", "")
        assert (meta.labels(bare), meta.annotations(bare), meta.finalizers(bare)) == ({}, {}, [])
        assert (meta.owner_references(bare), meta.conditions(bare), meta.generation(bare)) == ([], [], 0)
        assert meta.controller_of(bare) is None
        assert meta.creation_time(bare) is None
        assert not meta.is_deleting(bare)


def test_labels_and_annotations_are_set_and_removed() -> None:
    obj: dict[str, Any] = {}
    meta.set_label(obj, "a", "b")
    meta.set_annotation(obj, "c", "d")
    assert obj == {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}
    shared = obj["metadata"]["labels"]
    meta.set_label(obj, "a", None)
    assert shared == {"a": "b"}
    assert obj == {"metadata": {"annotations": {"c": "d"}}}


OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "shop", "uid": "u1"}}


def test_owners() -> None:
    owned = {"metadata": {"ownerReferences": [meta.owner_reference(OWNER, controller=False)]}}
    assert meta.controller_of(owned) is None
    assert meta.is_owned_by(owned, "u1")
    owned["metadata"]["ownerReferences"].append(meta.owner_reference({**OWNER, "metadata": {"name": "x", "uid": "u2"}}))
    assert meta.controller_of(owned) == {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "u2", "controller": True,
        "blockOwnerDeletion": True,
    }  # fmt: skip
    assert not meta.is_controlled_by(owned, OWNER)
    assert meta.reference(OWNER) == {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "namespace": "shop", "name": "web", "uid": "u1"
    }  # fmt: skip
    assert meta.key(OWNER) == ("shop", "web")


def test_conditions_move_their_time_only_when_the_status_does() -> None:
    first = meta.set_condition([], "Ready", "False", NOW, reason="Starting", message="wait")
    later = meta.set_condition(first, "Ready", "False", NOW + timedelta(hours=1), reason="Slow")
    assert later == [
        {"type": "Ready", "lastTransitionTime": "2026-01-02T03:04:05Z", "status": "False", "reason": "Slow"}
    ]
    ready = meta.set_condition(later, "Ready", "True", NOW + timedelta(hours=2), observedGeneration=3)
    assert ready[0]["lastTransitionTime"] == "2026-01-02T05:04:05Z"
    assert ready[0]["observedGeneration"] == 3
    assert later[0]["status"] == "False"
    obj = {"status": {"conditions": ready}}
    assert meta.is_true(obj, "Ready")
    assert not meta.is_true(obj, "Other")
    assert meta.condition(obj, "Other") is None
    assert meta.without_condition(ready, "Ready") == []


def test_times() -> None:
    assert meta.timestamp(NOW) == "2026-01-02T03:04:05Z"
    assert meta.micro_timestamp(NOW.astimezone(timezone(timedelta(hours=2)))) == "2026-01-02T03:04:05.678901Z"
    assert meta.parse_time("2026-01-02T05:04:05.6789019+02:00") == NOW
    assert meta.parse_time("2026-01-01T22:34:05.678901-04:30") == NOW
    for bad in ("", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "2026-01-02 03:04:05Z", "x"):
        with pytest.raises(ValueError):
            meta.parse_time(bad)


def test_uids_are_random_uuids() -> None:
    uid = meta.new_uid(bytes(range(16)))
    assert uid == "00010203-0405-4607-8809-0a0b0c0d0e0f"
