"""Bodies become objects: unknown and duplicate fields, wrong types with their path, one form for each value."""

from __future__ import annotations

from typing import Any

import pytest
from control_api.examples_of_kinds import manifest

from control.api.body import MAX_DEPTH, read_json, read_yaml
from control.api.catalogue import BUILTIN
from control.api.decode import IGNORE, STRICT, WARN, WrongType, check_type, decode
from control.api.status import StatusError

DEPLOYMENT = BUILTIN["deployments.apps"]


def refused(kind: str, value: Any, validation: str = WARN, duplicates: tuple[str, ...] = ()) -> str:
    with pytest.raises(StatusError) as error:
        decode(BUILTIN[kind], value, validation=validation, duplicates=duplicates)
    assert (error.value.code, error.value.reason) == (400, "BadRequest")
    return error.value.message


def test_unknown_fields_name_themselves_under_strict() -> None:
    obj = manifest("deployments.apps.v1")
    obj["spec"]["replcas"] = 3
    obj["spec"]["template"]["spec"]["containers"][0]["Image"] = "x"
    obj["metadata"]["colour"] = "red"
    words = [
        'unknown field "spec.replcas"', 'unknown field "spec.template.spec.containers[0].Image"',
        'unknown field "metadata.colour"',
    ]  # fmt: skip
    message = refused("deployments.apps", obj, STRICT, ("spec.replicas",))
    start = 'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
    assert message.startswith(start)
    assert set(message.removeprefix(start).split(", ")) == {*words, 'duplicate field "spec.replicas"'}
    warned = decode(DEPLOYMENT, obj, duplicates=("spec.replicas",))
    assert set(warned.warnings) == {*words, 'duplicate field "spec.replicas"'}
    assert "replcas" not in warned.object["spec"]
    assert "Image" not in warned.object["spec"]["template"]["spec"]["containers"][0]
    assert decode(DEPLOYMENT, obj, validation=IGNORE).warnings == ()


WRONG: list[tuple[str, Any, str]] = [
    ("deployments.apps", {"spec": {"replicas": "3"}},
     "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
    ("deployments.apps", {"spec": {"replicas": 3.5}}, "number 3.5 into Go struct field DeploymentSpec.spec.replicas"),
    ("deployments.apps", {"spec": {"replicas": 2**31}}, "cannot unmarshal number 2147483648 into"),
    ("deployments.apps", {"spec": {"replicas": True}}, "cannot unmarshal bool into"),
    ("deployments.apps", {"spec": []}, "cannot unmarshal array into Go struct field Deployment.spec of type"),
    ("deployments.apps", {"metadata": {"labels": {"a": 1}}},
     "cannot unmarshal number into Go struct field ObjectMeta.metadata.labels.a of type string"),
    ("pods", {"spec": {"containers": [{"name": "a"}, {"name": ["b"]}]}},
     "cannot unmarshal array into Go struct field Container.spec.containers[1].name of type string"),
    ("pods", {"spec": {"containers": {"name": "a"}}},
     "cannot unmarshal object into Go struct field PodSpec.spec.containers"),
    ("pods", {"spec": {"hostNetwork": "true"}},
     "cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork"),
    ("pods", {"spec": {"containers": [{"resources": {"limits": {"cpu": "a lot"}}}]}},
     "spec.containers[0].resources.limits.cpu: quantities must match"),
    ("pods", {"spec": {"containers": [{"resources": {"limits": {"cpu": True}}}]}}, "cannot unmarshal bool into"),
    ("secrets", {"data": {"a": "b@d"}}, "data.a: illegal base64 data"),
    ("events", {"firstTimestamp": "yesterday"}, 'firstTimestamp: parsing time "yesterday"'),
    ("events", {"firstTimestamp": 5}, "cannot unmarshal number 5 into Go struct field Event.firstTimestamp"),
    ("services", {"spec": {"ports": [{"targetPort": [80]}]}}, "of type intstr.IntOrString"),
    ("services", {"spec": {"ports": [{"targetPort": 1e3}]}}, "of type intstr.IntOrString"),
    ("pods", "text", "the object provided is unrecognized (must be of type Pod): it is string"),
    ("pods", None, "it is null"),
    ("pods", [], "it is array"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "words"), WRONG)
def test_wrong_types_name_the_path(kind: str, value: Any, words: str) -> None:
    assert words in refused(kind, value)


def test_fields_have_one_form() -> None:
    pod = {
        "metadata": {"creationTimestamp": None, "labels": {}, "deletionTimestamp": "2026-01-02T05:04:05.5+02:00"},
        "spec": {
            "hostNetwork": False,
            "terminationGracePeriodSeconds": 0,
            "nodeName": "",
            "containers": [
                {"name": "a", "args": None, "ports": [], "stdin": False, "resources": {"limits": {"cpu": 0.5}}}
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
        "status": None,
    }
    assert decode(BUILTIN["pods"], pod, validation=STRICT).object == {
        "metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "a", "resources": {"limits": {"cpu": "500m"}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }


def test_nulls_in_lists_and_maps_are_zeros() -> None:
    value, unknown = check_type("core.v1.ConfigMap", {"data": {"a": None}})
    assert value == {"data": {"a": ""}}
    assert not unknown
    assert check_type("core.v1.Container", {"args": ["a", None]})[0] == {"args": ["a", ""]}
    with pytest.raises(WrongType):
        check_type("core.v1.ResourceRequirements", {"limits": {"cpu": None}})


def test_schemas_of_definitions_take_both_forms() -> None:
    for value in (
        {"items": {"type": "string"}, "additionalProperties": False, "default": {"a": [None]}},
        {"items": [{"type": "string"}], "additionalProperties": {"type": "integer"}, "dependencies": {"a": ["b"]}},
    ):
        assert check_type("apiextensions.v1.JSONSchemaProps", value) == (value, [])
    _, unknown = check_type("apiextensions.v1.JSONSchemaProps", {"properties": {"a": {"items": {"typ": "x"}}}})
    assert unknown == ["properties.a.items.typ"]


def test_validation_has_three_values() -> None:
    assert "fieldValidation must be one of Strict, Warn, Ignore" in refused("pods", {}, "Loose")


def test_long_base64_may_have_line_breaks() -> None:
    assert check_type("core.v1.Secret", {"data": {"a": "aGVs\nbG8=\r\n"}})[0] == {"data": {"a": "aGVsbG8="}}


BODIES = [
    (b'{"a":1,"b":[{"c":1,"c":2}],"a":2}', {"a": 2, "b": [{"c": 2}]}, ["a", "b[0].c"]),
    (b'{ "a": {"b": 1, "b": 1, "b": 1} }', {"a": {"b": 1}}, ["a.b"]),
    (b'\n{"a":"\\u00e4"}\n', {"a": "ä"}, []),
    (b"3", 3, []),
]


@pytest.mark.parametrize(("body", "value", "duplicates"), BODIES)
def test_json(body: bytes, value: Any, duplicates: list[str]) -> None:
    assert read_json(body) == (value, duplicates)
    assert read_yaml(body) == (value, duplicates)


BROKEN = [b"", b"{", b'{"a":', b"\xff\xfe", b'{"a":"\\ud800"}', b"NaN", b'{"a":1e999}', b"{'a':1}", b'{"a":1}{"b":2}']


@pytest.mark.parametrize("body", [*BROKEN, b"[" * 5000, b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)])
def test_broken_json_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(StatusError) as error:
        read_json(body)
    assert error.value.code == 400


def test_yaml_reads_as_kubernetes_does() -> None:
    text = b"time: 12:30\nday: 2026-01-02\nyes: on\n1: x\n1.5: y\nbig: 1_000\noct: 0o17\nold: 017\nnone: ~\nf: 1e3\n"
    assert read_yaml(text)[0] == {
        "time": "12:30", "day": "2026-01-02", "true": True, "1": "x", "1.5": "y", "big": 1000, "oct": "0o17", "old": 15,
        "none": None, "f": 1000.0,
    }  # fmt: skip
    assert read_yaml(b"a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n")[0] == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": 2},
    }
    assert read_yaml(b"a: {b: 1, b: 2}\n")[1] == ["a.b"]


BAD_YAML = [
    b"a: [", b"\t- a", b"a: !!python/object:os.system {}", b"a: !!binary aGk=", b"? [a]\n: b", b"a: &a [*a]",
    b"--- 1\n--- 2",
    b"\xff", b"a: !!float .inf", b"a: 18446744073709551616",
    b"a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c]",
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_YAML)
def test_broken_yaml_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(StatusError) as error:
        read_yaml(body)
    assert error.value.code == 400
