"""Protobuf bodies by value: presence, every kind of value, what is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from control.api import protobuf
from control.api.protobuf import wire
from control.api.protobuf.leaves import go_duration
from control.api.status import StatusError

B, N = wire.tagged, wire.number_field


def body(api_version: str, kind: str, *parts: bytes) -> bytes:
    meta = B(1, api_version.encode()) + B(2, kind.encode())
    return protobuf.MAGIC + B(1, meta) + B(2, b"".join(parts))


def decoded(api_version: str, kind: str, *parts: bytes) -> dict[str, Any]:
    value = protobuf.decode(body(api_version, kind, *parts)).object
    assert (value.pop("apiVersion"), value.pop("kind")) == (api_version, kind)
    return value


def test_zeros_of_pointers_stay_and_those_of_others_go() -> None:
    spec = N(1, 0) + N(5, 0) + N(7, 0)  # replicas (pointer), minReadySeconds, paused
    assert decoded("apps/v1", "Deployment", B(2, spec)) == {"spec": {"replicas": 0}}


def test_empty_messages_of_pointers_stay_and_those_of_others_go() -> None:
    volume = B(1, b"v") + B(2, B(2, b""))  # emptyDir is a pointer, in an embedded struct
    spec = B(1, volume) + B(14, b"")  # securityContext is a pointer
    assert decoded("v1", "Pod", B(1, b""), B(2, spec), B(3, b"")) == {
        "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "securityContext": {}}
    }


def test_maps_and_repeated_fields() -> None:
    labels = B(11, B(1, b"a") + B(2, b"1")) + B(11, B(1, b"empty"))
    assert decoded("v1", "ConfigMap", B(1, labels + B(14, b"f") + B(14, b"g"))) == {
        "metadata": {"labels": {"a": "1", "empty": ""}, "finalizers": ["f", "g"]}
    }


def test_packed_and_unpacked_numbers() -> None:
    security = N(4, 5) + B(4, wire.varint(6) + wire.varint(2**33))
    value = decoded("v1", "Pod", B(2, B(14, security)))
    assert value["spec"]["securityContext"]["supplementalGroups"] == [5, 6, 2**33]


def test_times() -> None:
    meta = B(8, N(1, 1_700_000_000)) + B(9, N(1, 1))
    value = decoded("v1", "ConfigMap", B(1, meta))["metadata"]
    assert value == {"creationTimestamp": "2023-11-14T22:13:20Z", "deletionTimestamp": "1970-01-01T00:00:01Z"}
    lease = decoded("coordination.k8s.io/v1", "Lease", B(2, B(4, N(1, 1) + N(2, 123_456_789))))
    assert lease == {"spec": {"renewTime": "1970-01-01T00:00:01.123456Z"}}
    assert decoded("v1", "ConfigMap", B(1, B(8, b"") + B(1, b"n"))) == {"metadata": {"name": "n"}}


def test_quantities_and_int_or_string() -> None:
    limits = B(1, B(1, b"cpu") + B(2, B(1, b"1500m")))
    probe = B(1, B(2, B(2, N(1, 0) + N(2, 8080) + B(3, b"")) + B(1, b"/")))
    container = B(1, b"c") + B(8, limits) + B(10, probe) + B(11, B(1, B(2, B(2, N(1, 1) + N(2, 0) + B(3, b"http")))))
    spec = decoded("v1", "Pod", B(2, B(2, container)))["spec"]
    assert spec["containers"] == [
        {
            "name": "c",
            "resources": {"limits": {"cpu": "1500m"}},
            "livenessProbe": {"httpGet": {"path": "/", "port": 8080}},
            "readinessProbe": {"httpGet": {"port": "http"}},
        }
    ]


def test_negative_numbers_and_bytes() -> None:
    assert decoded("scheduling.k8s.io/v1", "PriorityClass", N(2, -10)) == {"value": -10}
    secret = decoded("v1", "Secret", B(2, B(1, b"k") + B(2, b"\x00\xff")), B(2, B(1, b"none")))
    assert secret == {"data": {"k": "AP8=", "none": ""}}


def test_raw_objects_managers_and_lists_of_lists() -> None:
    entry = B(1, b"m") + B(7, B(1, b'{"f:a":{}}'))
    assert decoded("v1", "ConfigMap", B(1, B(17, entry)))["metadata"]["managedFields"] == [
        {"manager": "m", "fieldsV1": {"f:a": {}}}
    ]
    assert decoded("apps/v1", "ControllerRevision", B(2, B(1, b'{"spec":[1]}')), N(3, 7)) == {
        "data": {"spec": [1]},
        "revision": 7,
    }
    extra = B(5, B(1, b"scopes") + B(2, B(1, b"a") + B(1, b"b")))
    review = decoded("authorization.k8s.io/v1", "SubjectAccessReview", B(2, extra))
    assert review == {"spec": {"extra": {"scopes": ["a", "b"]}}}


def test_bodies_of_subresources_and_options() -> None:
    options = decoded("v1", "DeleteOptions", N(1, 0), B(4, b"Foreground"), B(2, B(1, b"u")))
    assert options == {"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "preconditions": {"uid": "u"}}
    assert decoded("policy/v1", "Eviction", B(1, B(1, b"p")), B(2, N(1, 5))) == {
        "metadata": {"name": "p"},
        "deleteOptions": {"gracePeriodSeconds": 5},
    }
    assert decoded("autoscaling/v1", "Scale", B(2, N(1, 4))) == {"spec": {"replicas": 4}}
    assert decoded("v1", "Binding", B(2, B(1, b"Node") + B(3, b"n1"))) == {"target": {"kind": "Node", "name": "n1"}}
    token = decoded("authentication.k8s.io/v1", "TokenRequest", B(2, B(1, b"api") + N(4, 600)))
    assert token == {"spec": {"audiences": ["api"], "expirationSeconds": 600}}
    # Options are sent in the name of the group they delete from.
    assert protobuf.decode(body("apps/v1", "DeleteOptions", B(5, b"All"))).object["dryRun"] == ["All"]


def test_schemas_of_schemas() -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "x"},
        "spec": {
            "group": "g",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "default": {"a": [1, None]},
                            "enum": ["x", 1],
                            "minimum": 0.5,
                            "multipleOf": 2,
                            "properties": {
                                "list": {"items": {"type": "string"}, "type": "array"},
                                "tuple": {"items": [{"type": "string"}, {"type": "integer"}]},
                                "open": {"additionalProperties": True},
                                "closed": {"additionalProperties": False},
                                "map": {"additionalProperties": {"type": "string"}},
                                "needs": {"dependencies": {"a": ["b", "c"], "d": {"type": "object"}}},
                            },
                        }
                    },
                }
            ],
            "names": {"plural": "p", "kind": "K"},
            "scope": "Namespaced",
        },
    }
    assert protobuf.decode(protobuf.encode(crd)).object == crd


def test_unknown_fields_are_skipped_and_told() -> None:
    found = protobuf.decode(body("v1", "ConfigMap", B(1, B(1, b"n") + N(99, 1)), B(77, b"?")))
    assert found.object == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}}
    assert found.warnings == ('unknown field number at "metadata.#99"', 'unknown field number at "#77"')


def test_json_in_an_envelope() -> None:
    raw = protobuf.MAGIC + B(1, B(1, b"example.com/v1") + B(2, b"Thing")) + B(2, b'{"a":1}') + B(4, b"application/json")
    assert protobuf.decode(raw).object == {"a": 1}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", 400),
        (b"{}", 400),
        (protobuf.MAGIC, 415),
        (protobuf.MAGIC + b"\xff", 400),
        (body("v1", "Nothing"), 415),
        (body("example.com/v1", "Thing"), 415),
        (body("v1", "ObjectMeta"), 415),
        (body("v1", "ConfigMap", B(1, b"\x0a\x05ab")), 400),  # a text that ends too early
        (body("v1", "ConfigMap", N(1, 7)), 400),  # a number for a message
        (body("v1", "ConfigMap", B(1, B(7, b"7"))), 400),  # text for a number
        (body("v1", "ConfigMap", B(1, B(1, b"\xff"))), 400),  # no UTF-8
        (body("v1", "ConfigMap", B(1, b"\x0b\x0c")), 400),  # a group
        (body("v1", "ConfigMap", b"\x00\x00"), 400),  # field number 0
        (body("v1", "ConfigMap", b"\x08" + b"\xff" * 11), 400),  # an endless number
        (body("v1", "ConfigMap", B(1, B(17, B(7, B(1, b"{"))))), 400),  # an embedded object that is no JSON
        (body("v1", "ConfigMap", B(1, B(8, N(1, 2**62)))), 400),  # a time beyond all calendars
    ],
)
def test_refused(data: bytes, code: int) -> None:
    with pytest.raises(StatusError) as refusal:
        protobuf.decode(data)
    assert refusal.value.code == code


def test_nesting_is_bounded() -> None:
    schema = B(5, b"object")
    for _ in range(200):
        schema = B(28, schema)  # not: a schema in a schema
    spec = B(7, B(1, b"v1") + B(4, B(1, schema)))
    with pytest.raises(StatusError) as refusal:
        protobuf.decode(body("apiextensions.k8s.io/v1", "CustomResourceDefinition", B(2, spec)))
    assert refusal.value.code == 400


def test_any_bytes_end_in_an_object_or_a_refusal(seed: int) -> None:
    rng = random.Random(seed)
    good = body(
        "apps/v1",
        "Deployment",
        B(1, B(1, b"n") + B(11, B(1, b"a") + B(2, b"b"))),
        B(2, N(1, 3) + B(3, B(2, B(2, B(1, b"c"))))),
    )
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(4, len(data))] = rng.randrange(256)
        assert outcome(bytes(data[: rng.randrange(4, len(data) + 1)])) in ("object", 400, 415)


def outcome(data: bytes) -> object:
    try:
        return "object" if isinstance(protobuf.decode(data).object, dict) else None
    except StatusError as refusal:
        return refusal.code


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5µs"),
        (2_000_000, "2ms"),
        (1_500_000_000, "1.5s"),
        (90_000_000_000, "1m30s"),
        (3_600_000_000_000, "1h0m0s"),
        (-30_000_000_000, "-30s"),
    ],
)
def test_durations(nanoseconds: int, shown: str) -> None:
    assert go_duration(nanoseconds) == shown
    metrics = body("metrics.k8s.io/v1beta1", "NodeMetrics", B(3, N(1, nanoseconds)))
    assert protobuf.decode(metrics).object.get("window") == shown
