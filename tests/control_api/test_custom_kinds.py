"""CustomResourceDefinitions: valid and refused definitions, their kinds, pruning, defaults, validation, names."""

# ruff: noqa: E501 - the words of Kubernetes are as long as they are

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from control_api.examples_of_kinds import ENTROPY, NOW, created, manifest

from control.api.catalogue import BUILTIN, Catalogue
from control.api.crd import is_established, kinds_of, status_of, warnings_of
from control.api.decode import STRICT, decode
from control.api.defaults import apply_defaults
from control.api.fieldselectors import parse_field_selector
from control.api.kind import Kind, Scale
from control.api.meta import condition, is_true
from control.api.patterns import compile_pattern
from control.api.prepare import identify, prepare_create, prepare_update
from control.api.status import StatusError
from control.api.structural import Structural
from control.api.table import row
from control.api.validate import check_create, check_update, create_causes, update_causes

CRDS = BUILTIN["customresourcedefinitions.apiextensions.k8s.io"]
EXAMPLE = "customresourcedefinitions.apiextensions.k8s.io.v1"


def definition(**version: Any) -> dict[str, Any]:
    obj = manifest(EXAMPLE)
    obj["spec"]["versions"][0].update(version)
    return created(CRDS, obj)


def with_schema(spec: dict[str, Any]) -> dict[str, Any]:
    return definition(schema={"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}})


def ship_kind() -> Kind:
    return kinds_of(definition())[0]


def test_kinds_of_a_definition() -> None:
    ship, beta = kinds_of(definition())
    assert (ship.resource, ship.api_version, ship.singular, ship.list_kind) == (
        "ships.sea.example.com", "sea.example.com/v1", "ship", "ShipList",
    )  # fmt: skip
    assert (ship.subresources, ship.short_names, ship.namespaced) == (("scale", "status"), ("sh",), True)
    assert ship.scale == Scale(".spec.masts", ".status.masts", "")
    assert ship.registry == "/registry/sea.example.com/ships/"
    assert (beta.storage_version, beta.deprecated) == (
        "sea.example.com/v1",
        "sea.example.com/v1beta1 Ship is deprecated",
    )
    catalogue = BUILTIN.extended([ship, beta])
    assert catalogue["ships.sea.example.com"] is ship
    assert catalogue.stored(beta) is ship
    assert catalogue.named("sh") is ship
    assert "ships.sea.example.com" not in [kind.resource for kind in BUILTIN]


def test_a_custom_object_is_created_filled_in_and_shown() -> None:
    ship = ship_kind()
    given = {"metadata": {"name": "fluyt"}, "spec": {"cargo": "grain", "sails": 9}, "status": {"at": "sea"}}
    decoded = decode(ship, given)
    assert decoded.warnings == ('unknown field "spec.sails"',)
    assert given["spec"] == {"cargo": "grain", "sails": 9}
    obj = identify(ship, decoded.object, namespace="default")
    prepare_create(ship, apply_defaults(ship, obj), now=NOW, entropy=ENTROPY)
    check_create(ship, obj)
    assert obj["spec"] == {"cargo": "grain", "masts": 3}
    assert "status" not in obj
    assert obj["metadata"]["generation"] == 1
    assert row(ship, obj, now=NOW)["cells"] == ["fluyt", "grain", "0s"]
    with pytest.raises(StatusError, match=r'strict decoding error: unknown field "spec.sails"'):
        decode(ship, given, validation=STRICT)
    with pytest.raises(StatusError, match=r"cannot unmarshal number into Go struct field ObjectMeta\.metadata\.name"):
        decode(ship, {"metadata": {"name": 5}})
    new = deepcopy(obj)
    new["spec"]["masts"] = 4
    new["status"] = {"masts": 1}
    assert prepare_update(ship, new, obj)["metadata"]["generation"] == 2
    assert "status" not in new
    check_update(ship, new, obj)
    new["spec"]["masts"] = 9
    assert [str(cause) for cause in update_causes(ship, new, obj)] == [
        "spec.masts: Invalid value: 9: spec.masts in body should be less than or equal to 7"
    ]


SPECS: list[tuple[dict[str, Any], Any, list[str]]] = [
    ({"type": "string"}, 5, ['spec: Invalid value: "integer": spec in body must be of type string: "integer"']),
    ({"type": "integer"}, 1.5, ['spec: Invalid value: "number": spec in body must be of type integer: "number"']),
    ({"type": "integer"}, 2.0, []),
    ({"type": "number"}, True, ['spec: Invalid value: "boolean": spec in body must be of type number: "boolean"']),
    ({"type": "string"}, None, ['spec: Invalid value: "null": spec in body must be of type string: "null"']),
    ({"type": "string", "nullable": True}, None, []),
    ({"x-kubernetes-int-or-string": True}, "a", []),
    ({"x-kubernetes-int-or-string": True}, 5, []),
    ({"x-kubernetes-int-or-string": True}, True, ["spec: Invalid value"]),
    ({"type": "string", "enum": ["a", "b"]}, "c", ['spec: Unsupported value: "c": supported values: "a", "b"']),
    ({"type": "integer", "enum": [1, 2]}, 3, ['spec: Unsupported value: 3: supported values: "1", "2"']),
    ({"type": "string", "pattern": "^a+$"}, "b", ["spec: Invalid value: \"b\": spec in body should match '^a+$'"]),
    ({"type": "string", "minLength": 2}, "a", ["spec: Invalid value: \"a\": spec in body should be at least 2 chars long"]),
    ({"type": "string", "maxLength": 1}, "ab", ["spec: Invalid value: \"ab\": spec in body should be at most 1 chars long"]),
    ({"type": "integer", "minimum": 3}, 2, ["spec: Invalid value: 2: spec in body should be greater than or equal to 3"]),
    ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, 3, ["spec: Invalid value: 3: spec in body should be greater than 3"]),
    ({"type": "number", "maximum": 1.5}, 2, ["spec: Invalid value: 2: spec in body should be less than or equal to 1.5"]),
    ({"type": "number", "maximum": 2, "exclusiveMaximum": True}, 2, ["spec: Invalid value: 2: spec in body should be less than 2"]),
    ({"type": "number", "multipleOf": 0.1}, 0.35, ["spec: Invalid value: 0.35: spec in body should be a multiple of 0.1"]),
    ({"type": "number", "multipleOf": 0.1}, 0.3, []),
    ({"type": "integer", "format": "int32"}, 2**31, ["spec: Invalid value: 2147483648: spec in body must be of type int32"]),
    ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a", "b"], ['spec: Invalid value: ["a","b"]: spec in body should have at most 1 items']),
    ({"type": "array", "items": {"type": "string"}, "minItems": 1}, [], ["spec: Invalid value: []: spec in body should have at least 1 items"]),
    ({"type": "array", "items": {"type": "string"}}, ["a", 5], ['spec[1]: Invalid value: "integer": spec[1] in body must be of type string: "integer"']),
    ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}, ["a", "a"], ['spec[1]: Duplicate value: "a"']),
    (
        {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
         "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}, "v": {"type": "string"}}}},
        [{"n": "a", "v": "1"}, {"n": "a", "v": "2"}], ['spec[1]: Duplicate value: {"n":"a"}'],
    ),
    ({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}, {}, ["spec.a: Required value"]),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": "x"}, ['spec.a: Invalid value: "string": spec.a in body must be of type integer: "string"']),
    ({"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 1}, {"a": 1, "b": 2}, ['spec: Invalid value: {"a":1,"b":2}: spec in body should have at most 1 properties']),
    ({"type": "object", "properties": {"a": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}, ['spec: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid']),
    ({"type": "object", "x-kubernetes-preserve-unknown-fields": True, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, []),
    ({"type": "object", "x-kubernetes-preserve-unknown-fields": True, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"c": 1}, ['spec: Invalid value: "": "spec" must validate at least one schema (anyOf)', "spec.a: Required value"]),
    ({"type": "string", "not": {"enum": ["a"]}}, "a", ['spec: Invalid value: "": "spec" must not validate the schema (not)']),
    ({"type": "string", "allOf": [{"minLength": 2}, {"pattern": "^b"}]}, "a", ["spec: Invalid value: \"a\": spec in body should be at least 2 chars long", "spec: Invalid value: \"a\": spec in body should match '^b'"]),
    ({"type": "string", "format": "date-time"}, "soon", ['spec: Invalid value: "soon": spec in body must be of type date-time: "soon"']),
    ({"type": "string", "format": "ipv4"}, "10.0.0.1", []),
    ({"type": "string", "format": "uuid"}, "x", ["spec: Invalid value"]),
    ({"type": "string", "format": "madeup"}, "x", []),
    ({"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}, {"kind": "A"}, ["spec.apiVersion: Required value: must not be empty"]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "words"), SPECS)
def test_values_are_judged_by_their_schema(schema: dict[str, Any], value: Any, words: list[str]) -> None:
    found = [str(c) for c in Structural({"type": "object", "properties": {"spec": schema}}).causes({"spec": value})]
    assert len(found) == len(words), found
    assert all(text.startswith(wanted) for text, wanted in zip(found, words, strict=True)), found


@pytest.mark.parametrize("schema", [schema for schema, _, _ in SPECS])
def test_these_schemas_are_structural(schema: dict[str, Any]) -> None:
    assert [str(cause) for cause in create_causes(CRDS, with_schema(schema))] == []


def test_pruning() -> None:
    schema = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {"type": "string"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                     "properties": {"strict": {"type": "object"}}},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": True},
        },
    }  # fmt: skip
    obj = {
        "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}, "top": 1,
        "list": [{"a": "x", "z": 1}], "map": {"k": {"b": "x", "z": 1}}, "free": {"any": {"thing": 1}, "strict": {"z": 1}},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}},
    }  # fmt: skip
    unknown: list[str] = []
    Structural(schema).prune(obj, unknown)
    assert sorted(unknown) == ["free.strict.z", "list[0].z", "map.k.z", "pod.spec", "top"]
    assert obj == {
        "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"},
        "list": [{"a": "x"}], "map": {"k": {"b": "x"}}, "free": {"any": {"thing": 1}, "strict": {}},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}},
    }  # fmt: skip


def test_defaults_fill_in_and_replace_nulls() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "object", "default": {"x": 1}, "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 2}}},
            "b": {"type": "string", "default": "z"},
            "c": {"type": "string", "default": "z", "nullable": True},
            "d": {"type": "array", "items": {"type": "object", "properties": {"e": {"type": "boolean", "default": True}}}},
        },
    }  # fmt: skip
    structural = Structural(schema)
    obj = {"b": None, "c": None, "d": [{}, {"e": False}]}
    structural.apply_defaults(obj)
    assert obj == {"b": "z", "c": None, "d": [{"e": True}, {"e": False}], "a": {"x": 1, "y": 2}}
    other: dict[str, Any] = {}
    structural.apply_defaults(other)
    other["a"]["x"] = 9
    assert structural.schema["properties"]["a"]["default"] == {"x": 1}


S = "spec.versions[0].schema.openAPIV3Schema"
BAD: list[tuple[dict[str, Any], str]] = [
    ({}, f"{S}.properties[spec].type: Required value: must not be empty for specified object fields"),
    ({"type": "text"}, f'{S}.properties[spec].type: Unsupported value: "text"'),
    ({"type": "array"}, f"{S}.properties[spec].items: Required value: must be specified"),
    ({"type": "array", "items": [{"type": "string"}]}, f"{S}.properties[spec].items: Forbidden"),
    ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}, f"{S}.properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"),
    ({"type": "string", "pattern": "("}, f'{S}.properties[spec].pattern: Invalid value: "(": must be a valid regular expression'),
    ({"type": "object", "$ref": "#/definitions/a"}, f"{S}.properties[spec].$ref: Forbidden: $ref is not supported"),
    ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, f"{S}.properties[spec].uniqueItems: Forbidden"),
    ({"type": "object", "anyOf": [{"type": "object"}]}, f"{S}.properties[spec].anyOf[0].type: Forbidden: must be empty to be structural"),
    ({"type": "integer", "default": "x"}, f'{S}.properties[spec].default: Invalid value: "x"'),
    ({"type": "object", "default": {"z": 1}}, f'{S}.properties[spec].default: Invalid value: {{"z":1}}: must not have unknown fields: z'),
    ({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}, f"{S}.properties[spec].x-kubernetes-list-map-keys: Required value"),
    ({"type": "string", "x-kubernetes-list-type": "set"}, f"{S}.properties[spec].type: Invalid value"),
    ({"type": "string", "x-kubernetes-int-or-string": True}, f"{S}.properties[spec].type: Invalid value"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "words"), BAD)
def test_schemas_that_are_refused(schema: dict[str, Any], words: str) -> None:
    found = [str(cause) for cause in create_causes(CRDS, with_schema(schema))]
    assert any(text.startswith(words) for text in found), found


def changed(path: str, value: Any) -> dict[str, Any]:
    obj = manifest(EXAMPLE)
    at = obj
    *way, last = path.split(".")
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]  # type: ignore[index]
    at[last] = value
    return created(CRDS, obj)


WRONG: list[tuple[str, Any, str]] = [
    ("metadata.name", "ships", "metadata.name: Invalid value: \"ships\": must be spec.names.plural+\".\"+spec.group"),
    ("spec.group", "sea", 'spec.group: Invalid value: "sea": should be a domain with at least one dot'),
    ("spec.scope", "Galaxy", 'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"'),
    ("spec.names.kind", "Ship_", 'spec.names.kind: Invalid value: "ship_"'),
    ("spec.names.listKind", "Ship", "spec.names.listKind: Invalid value"),
    ("spec.versions", [], "spec.versions: Required value"),
    ("spec.versions.1.storage", True, "spec.versions: Invalid value: [\"v1\",\"v1beta1\"]: must have exactly one version marked as storage version"),
    ("spec.versions.1.name", "v1", 'spec.versions[1].name: Duplicate value: "v1"'),
    ("spec.versions.0.schema", {}, f"{S}: Required value: schemas are required"),
    ("spec.versions.0.additionalPrinterColumns", [{"name": "A", "type": "date", "jsonPath": ".a["}], "spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value"),
    ("spec.versions.0.additionalPrinterColumns", [{"name": "A", "type": "colour", "jsonPath": ".a"}], 'spec.versions[0].additionalPrinterColumns[0].type: Unsupported value: "colour"'),
    ("spec.versions.0.subresources", {"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ".status.a"}}, "spec.versions[0].subresources.scale.specReplicasPath: Invalid value"),
    ("spec.versions.0.selectableFields", [{"jsonPath": ".spec.a[0]"}], "spec.versions[0].selectableFields[0].jsonPath: Invalid value"),
    ("spec.conversion", {"strategy": "Webhook"}, 'spec.conversion.strategy: Unsupported value: "Webhook": supported values: "None"'),
    ("spec.preserveUnknownFields", True, "spec.preserveUnknownFields: Invalid value: true"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "words"), WRONG)
def test_definitions_that_are_refused(path: str, value: Any, words: str) -> None:
    found = [str(cause) for cause in create_causes(CRDS, changed(path, value))]
    assert any(text.startswith(words) for text in found), found


def test_names_are_accepted_unless_another_kind_has_them() -> None:
    mine = definition()
    mine["status"] = status_of(mine, BUILTIN, NOW)
    assert is_established(mine)
    assert is_true(mine, "NamesAccepted")
    assert mine["status"]["acceptedNames"]["plural"] == "ships"
    assert mine["status"]["storedVersions"] == ["v1"]
    assert status_of(mine, [*BUILTIN, *kinds_of(mine)], NOW) == mine["status"]
    rival = deepcopy(mine)
    rival["metadata"]["name"] = "boats.sea.example.com"
    rival["status"] = {}
    rival["spec"]["names"].update(plural="boats", singular="boat")
    rival["status"] = status_of(rival, [*BUILTIN, *kinds_of(mine)], NOW)
    assert not is_established(rival)
    found = condition(rival, "NamesAccepted")
    assert found is not None
    assert (found["status"], found["reason"], found["message"]) == ("False", "KindConflict", '"Ship" is already in use')
    elsewhere = deepcopy(rival)
    elsewhere["spec"]["group"] = "lake.example.com"
    assert is_true({"status": status_of(elsewhere, [*BUILTIN, *kinds_of(mine)], NOW)}, "Established")


def test_established_names_stay_and_stored_versions_too() -> None:
    old = definition()
    old["status"] = status_of(old, BUILTIN, NOW)
    old["status"]["storedVersions"] = ["v1beta1", "v1"]
    new = deepcopy(old)
    new["spec"]["scope"] = "Cluster"
    new["spec"]["names"]["kind"] = "Boat"
    del new["spec"]["versions"][1]
    fields = {cause.field for cause in update_causes(CRDS, new, old)}
    assert fields == {"spec.scope", "spec.names.kind", "status.storedVersions[0]"}


def test_rules_in_cel_are_said_to_have_no_effect() -> None:
    rule = {"x-kubernetes-validations": [{"rule": "self.masts > 1"}]}
    obj = with_schema(
        {"type": "object", **rule, "properties": {"list": {"type": "array", "items": {"type": "object", **rule}}}}
    )
    assert create_causes(CRDS, obj) == []
    assert warnings_of(obj) == [
        "version v1: x-kubernetes-validations (CEL) are not evaluated by this server: spec, spec.list[*]"
    ]
    assert warnings_of(definition()) == []


def test_patterns_of_strangers_run_in_linear_time() -> None:
    pattern = compile_pattern("^(a+)+$")
    assert not pattern.matches("a" * 50_000 + "b")
    assert compile_pattern("b").matches("abc")
    for bad in ("(", r"\1", "(?=a)", "a" * 5000):
        with pytest.raises(ValueError):
            compile_pattern(bad)


def test_selectable_fields_of_custom_kinds() -> None:
    ship = kinds_of(definition(selectableFields=[{"jsonPath": ".spec.cargo"}]))[0]
    assert parse_field_selector("spec.cargo=grain", ship).matches({"spec": {"cargo": "grain"}})
    with pytest.raises(StatusError):
        parse_field_selector("spec.masts=3", ship)


def test_two_definitions_cannot_share_a_place_in_the_catalogue() -> None:
    with pytest.raises(ValueError, match="same plural"):
        Catalogue([ship_kind(), ship_kind()])
