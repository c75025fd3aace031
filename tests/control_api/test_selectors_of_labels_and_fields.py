"""Label selectors in both forms and field selectors: what they match, how they read, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.catalogue import BUILTIN
from control.api.fieldselectors import FieldRequirement, parse_field_selector, selectable_fields
from control.api.selectors import (
    EVERYTHING,
    NOTHING,
    label_selector_of,
    parse_label_selector,
    selector_of_labels,
)
from control.api.status import StatusError

WEB = {"app": "web", "tier": "front", "size": "12", "empty": ""}
MATCHING = [
    "", "app", "app=web", "app==web", "app!=db", "!old", "app in (web,db)", "app notin (db)", "missing!=x",
    "missing notin (a,b)", "size>11", "size<13", "app=web,tier=front", "empty=", "empty in ()", " app = web , tier ",
    "app in ( web , db ),!old", "empty in (,x)",
]  # fmt: skip
FAILING = [
    "old", "app=db", "!app", "app!=web", "app in (db)", "app notin (web)", "app=web,tier=back", "missing=",
    "size>12", "tier>1", "missing>1", "missing in (a)",
]  # fmt: skip
BAD = [
    "app=web,", ",", "=web", "app in", "app in web", "app in (web", "app notin (a b)", "app>x", "a b",
    "app=a=b", "!", "!app=web", "app in (a,(b))", "-app", "app=-x", "a/b/c=d", "x" * 64, f"app={'x' * 64}",
    "app = web)",
    "app()",
]  # fmt: skip


@pytest.mark.parametrize("text", MATCHING)
def test_matching(text: str) -> None:
    assert parse_label_selector(text).matches(WEB)


@pytest.mark.parametrize("text", FAILING)
def test_not_matching(text: str) -> None:
    assert not parse_label_selector(text).matches(WEB)


@pytest.mark.parametrize("text", BAD)
def test_malformed_selectors_are_bad_requests(text: str) -> None:
    with pytest.raises(StatusError, match="unable to parse requirement") as refused:
        parse_label_selector(text)
    assert refused.value.code == 400


def test_texts_are_canonical() -> None:
    assert str(parse_label_selector("b in (z, a), !c,d != e,f>1, g")) == "b in (a,z),!c,d!=e,f>1,g"
    assert parse_label_selector("").everything
    assert EVERYTHING.matches(None)


def test_object_form() -> None:
    selector = label_selector_of(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }
    )
    assert selector.matches(WEB)
    assert not selector.matches({**WEB, "old": "1"})
    assert str(selector) == "app=web,!old,tier in (back,front)"
    assert label_selector_of({}).matches({})
    assert label_selector_of(None) is NOTHING
    assert not NOTHING.matches(WEB)
    assert not NOTHING.everything


@pytest.mark.parametrize(
    "expression",
    [
        {"key": "a", "operator": "Is", "values": ["b"]},
        {"key": "a", "operator": "In"},
        {"key": "a", "operator": "Exists", "values": ["b"]},
    ],
)
def test_wrong_expressions_are_refused(expression: dict[str, Any]) -> None:
    with pytest.raises(StatusError):
        label_selector_of({"matchExpressions": [expression]})


def test_plain_maps_select_nothing_when_empty() -> None:
    assert selector_of_labels({"app": "web"}).matches(WEB)
    assert not selector_of_labels({"app": "web", "x": "y"}).matches(WEB)
    assert not selector_of_labels({}).matches(WEB)
    assert not selector_of_labels(None).matches({})


KEYS = st.sampled_from(["a", "b", "example.com/c"])
VALUES = st.sampled_from(["", "x", "y", "10", "9"])
LABELS = st.dictionaries(KEYS, VALUES)
EXPRESSIONS = st.one_of(
    st.builds(lambda k, o, v: {"key": k, "operator": o, "values": v}, KEYS, st.sampled_from(["In", "NotIn"]),
              st.lists(VALUES, min_size=1, max_size=3)),
    st.builds(lambda k, o: {"key": k, "operator": o}, KEYS, st.sampled_from(["Exists", "DoesNotExist"])),
)  # fmt: skip


def meant(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    """The definition, said the long way."""
    key = expression["key"]
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in expression["values"]
        case "NotIn":
            return not (key in labels and labels[key] in expression["values"])
        case "Exists":
            return key in labels
    return key not in labels


@given(st.lists(EXPRESSIONS, max_size=4), LABELS, LABELS)
def test_both_forms_mean_the_same(
    expressions: list[dict[str, Any]], required: dict[str, str], labels: dict[str, str]
) -> None:
    selector = label_selector_of({"matchLabels": required, "matchExpressions": expressions})
    wanted = all(labels.get(k) == v for k, v in required.items()) and all(meant(e, labels) for e in expressions)
    assert selector.matches(labels) == wanted
    assert parse_label_selector(str(selector)).matches(labels) == wanted


def pod(**fields: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop"}, **fields}


RUNNING = pod(
    spec={"nodeName": "n1", "hostNetwork": True},
    status={"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd::1"}]},
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", True),
        ("metadata.name=web-1", True),
        ("metadata.name==web-1,metadata.namespace=shop", True),
        ("metadata.name!=web-1", False),
        ("spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed", True),
        ("spec.nodeName=", False),
        ("spec.hostNetwork=true", True),
        ("status.podIPs=10.0.0.1\\,fd::1", True),
        ("status.nominatedNodeName=", True),
    ],
)
def test_field_selectors(text: str, wanted: bool) -> None:
    assert parse_field_selector(text, BUILTIN["pods"]).matches(RUNNING) is wanted


def test_absent_fields_read_as_zero() -> None:
    assert parse_field_selector("spec.hostNetwork=false", BUILTIN["pods"]).matches(pod())
    assert parse_field_selector("spec.unschedulable=false", BUILTIN["nodes"]).matches({"kind": "Node"})
    assert parse_field_selector("status.replicas=0", BUILTIN["replicasets.apps"]).matches({"kind": "ReplicaSet"})
    assert parse_field_selector("status.successful=0", BUILTIN["jobs.batch"]).matches({"kind": "Job"})
    assert parse_field_selector("name=x", BUILTIN["namespaces"]).matches(
        {"kind": "Namespace", "metadata": {"name": "x"}}
    )
    event = {"kind": "Event", "source": {"component": "kubelet"}, "involvedObject": {"name": "web"}}
    assert parse_field_selector("source=kubelet,involvedObject.name=web", BUILTIN["events"]).matches(event)


@pytest.mark.parametrize(
    "text", ["spec.color=red", "metadata.labels=a", "noequals", "metadata.name=a\\q", "metadata.name=a=b"]
)
def test_wrong_field_selectors_are_bad_requests(text: str) -> None:
    with pytest.raises(StatusError) as refused:
        parse_field_selector(text, BUILTIN["pods"])
    assert refused.value.code == 400


def test_values_are_escaped_and_found() -> None:
    assert str(FieldRequirement("metadata.name", "a,b=c\\")) == "metadata.name=a\\,b\\=c\\\\"
    selector = parse_field_selector("metadata.name=a\\,b\\=c\\\\", BUILTIN["pods"])
    assert selector.value_of("metadata.name") == "a,b=c\\"
    assert selector.value_of("spec.nodeName") is None
    assert parse_field_selector("metadata.name!=a", BUILTIN["pods"]).value_of("metadata.name") is None
    assert selectable_fields(BUILTIN["nodes"]) == ("metadata.name", "spec.unschedulable")
