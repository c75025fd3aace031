"""Rules for CustomResourceDefinitions: names, versions, and structural schemas.

Source: "Extend the Kubernetes API with CustomResourceDefinitions" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from control.api import jsonpath, names
from control.api.fielderrors import duplicate, forbidden, invalid, not_supported, required
from control.api.patterns import compile_pattern
from control.api.rules.checks import Causes, named, unchanged
from control.api.schema import Object
from control.api.structural import default_causes

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_SCOPES: Final = ("Cluster", "Namespaced")
_NEVER: Final = ("$ref", "definitions", "dependencies", "id", "patternProperties", "additionalItems")
_STRUCTURE: Final = (
    "type", "additionalProperties", "default", "nullable", "title", "description",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
    "x-kubernetes-list-type", "x-kubernetes-map-type",
)  # fmt: skip
_MAX_DEPTH: Final = 64


def check_definition(obj: Object) -> Causes:
    """A whole definition."""
    spec = obj.get("spec", {})
    group, plural = spec.get("group", ""), spec.get("names", {}).get("plural", "")
    if group:
        yield from named(names.dns_subdomain, group, "spec.group")
        if "." not in group:
            yield invalid("spec.group", group, "should be a domain with at least one dot")
    if obj.get("metadata", {}).get("name") != f"{plural}.{group}":
        yield invalid("metadata.name", obj.get("metadata", {}).get("name"), 'must be spec.names.plural+"."+spec.group')
    if spec.get("scope") and spec["scope"] not in _SCOPES:
        yield not_supported("spec.scope", spec["scope"], _SCOPES)
    if spec.get("preserveUnknownFields"):
        words = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        yield invalid("spec.preserveUnknownFields", True, words)
    if spec.get("conversion", {}).get("strategy", "None") != "None":
        yield not_supported("spec.conversion.strategy", spec["conversion"]["strategy"], ("None",))
    yield from _names(spec.get("names", {}))
    yield from _versions(spec.get("versions", ()))


def _names(given: Object) -> Causes:
    for field in ("plural", "singular"):
        if given.get(field):
            yield from named(names.dns_1035_label, given[field], f"spec.names.{field}")
    for field in ("kind", "listKind"):
        if given.get(field):
            yield from named(names.dns_1035_label, given[field].lower(), f"spec.names.{field}")
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        yield invalid("spec.names.listKind", given["listKind"], "kind and listKind may not be the same")
    for field in ("shortNames", "categories"):
        for index, word in enumerate(given.get(field, ())):
            yield from named(names.dns_1035_label, word, f"spec.names.{field}[{index}]")


def _versions(versions: list[Object]) -> Causes:
    seen: set[str] = set()
    for index, version in enumerate(versions):
        at, name = f"spec.versions[{index}]", version.get("name", "")
        if name:
            yield from named(names.dns_1035_label, name, f"{at}.name")
        if name in seen:
            yield duplicate(f"{at}.name", name)
        seen.add(name)
        yield from _version(version, at)
    if sum(bool(version.get("storage")) for version in versions) != 1 and versions:
        yield invalid("spec.versions", sorted(seen), "must have exactly one version marked as storage version")


def _version(version: Object, at: str) -> Causes:
    schema = version.get("schema", {}).get("openAPIV3Schema")
    place = f"{at}.schema.openAPIV3Schema"
    if schema is None:
        yield required(place, "schemas are required")
    else:
        if schema.get("type") != "object":
            words = "must be object at the root"
            yield invalid(f"{place}.type", schema.get("type", ""), words)
        yield from check_schema(schema, place, root=True)
    for index, column in enumerate(version.get("additionalPrinterColumns", ())):
        yield from _column(column, f"{at}.additionalPrinterColumns[{index}]")
    for index, selectable in enumerate(version.get("selectableFields", ())):
        yield from _simple_path(selectable.get("jsonPath", ""), f"{at}.selectableFields[{index}].jsonPath")
    scale = version.get("subresources", {}).get("scale")
    if scale is not None:
        for field, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
            yield from _scale_path(scale.get(field, ""), f"{at}.subresources.scale.{field}", (root,))
        if "labelSelectorPath" in scale:
            path = scale["labelSelectorPath"]
            yield from _scale_path(path, f"{at}.subresources.scale.labelSelectorPath", (".spec.", ".status."))


def _column(column: Object, at: str) -> Causes:
    if column.get("type") and column["type"] not in _COLUMN_TYPES:
        yield not_supported(f"{at}.type", column["type"], _COLUMN_TYPES)
    path = column.get("jsonPath", "")
    try:
        jsonpath.compile_path(path)
        if path and path[0] not in ".[":
            raise ValueError("it must begin with '.'")
    except ValueError as error:
        yield invalid(f"{at}.jsonPath", path, f"is an invalid path: {error}")


def _simple_path(path: str, at: str) -> Causes:
    if path and not jsonpath.is_simple(path):
        yield invalid(at, path, "is an invalid path: it must be fields below each other, as .spec.color")


def _scale_path(path: str, at: str, roots: tuple[str, ...]) -> Causes:
    if path and not (jsonpath.is_simple(path) and path.startswith(roots)):
        shown = " or ".join(roots)
        yield invalid(at, path, f"should be a json path under {shown.strip()}, without array notation")


def check_schema(schema: Object, at: str, *, root: bool = False, logical: bool = False, depth: int = 0) -> Causes:
    """One level of a structural schema. logical: it stands in allOf, anyOf, oneOf or not, and may only narrow."""
    if depth > _MAX_DEPTH:
        yield forbidden(at, f"schemas may be nested {_MAX_DEPTH} levels deep")
        return
    for field in _NEVER:
        if schema.get(field):
            yield forbidden(f"{at}.{field}", f"{field} is not supported")
    if schema.get("uniqueItems"):
        words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(f"{at}.uniqueItems", words)
    yield from _logical_level(schema, at) if logical else _structural_level(schema, at, root=root)
    yield from _own_keywords(schema, at)
    for place, below, narrowing in _below(schema, at, logical):
        yield from check_schema(below, place, logical=narrowing, depth=depth + 1)


def _below(schema: Object, at: str, logical: bool) -> Iterator[tuple[str, Object, bool]]:
    """(path, schema, whether it may only narrow) of all levels directly below."""
    for name, entry in schema.get("properties", {}).items():
        yield f"{at}.properties[{name}]", entry, logical
    if isinstance(schema.get("items"), dict):
        yield f"{at}.items", schema["items"], logical
    if isinstance(schema.get("additionalProperties"), dict):
        yield f"{at}.additionalProperties", schema["additionalProperties"], logical
    for field in ("allOf", "anyOf", "oneOf"):
        for index, entry in enumerate(schema.get(field, ())):
            yield f"{at}.{field}[{index}]", entry, True
    if "not" in schema:
        yield f"{at}.not", schema["not"], True


def _logical_level(schema: Object, at: str) -> Causes:
    for field in _STRUCTURE:
        if schema.get(field) and not (field == "type" and schema["type"] in ("integer", "string")):
            yield forbidden(f"{at}.{field}", "must be empty to be structural")


def _structural_level(schema: Object, at: str, *, root: bool) -> Causes:
    kind = schema.get("type")
    loose = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not kind and not loose:
        noun = "at the root" if root else "for specified object fields"
        yield required(f"{at}.type", f"must not be empty {noun}")
    elif kind and kind not in _TYPES:
        yield not_supported(f"{at}.type", kind, _TYPES)
    if kind and schema.get("x-kubernetes-int-or-string"):
        yield invalid(f"{at}.type", kind, "must be empty if x-kubernetes-int-or-string is true")
    if kind == "array" and "items" not in schema:
        yield required(f"{at}.items", "must be specified")
    if isinstance(schema.get("items"), list):
        yield forbidden(f"{at}.items", "items must be a schema object and not an array")
    if schema.get("properties") and schema.get("additionalProperties"):
        yield forbidden(f"{at}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if root and isinstance(schema.get("properties", {}).get("metadata"), dict):
        yield from _metadata(schema["properties"]["metadata"], f"{at}.properties[metadata]")
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        yield invalid(f"{at}.type", kind, "must be object if x-kubernetes-embedded-resource is true")
    if "default" in schema:
        yield from _default(schema, at)


def _metadata(schema: Object, at: str) -> Causes:
    """A schema may restrict only the names of its objects."""
    for name in schema.get("properties", {}):
        if name not in ("name", "generateName"):
            words = "metadata may only specify restrictions on metadata.name and metadata.generateName"
            yield forbidden(f"{at}.properties[{name}]", words)


def _default(schema: Object, at: str) -> Causes:
    try:
        yield from default_causes(schema, f"{at}.default")
    except (ValueError, TypeError, AttributeError, KeyError):
        yield invalid(f"{at}.default", schema["default"], "cannot be judged: the schema itself is wrong")


def _own_keywords(schema: Object, at: str) -> Causes:
    """Patterns, list types and their keys."""
    if schema.get("pattern"):
        try:
            compile_pattern(schema["pattern"])
        except ValueError as error:
            yield invalid(f"{at}.pattern", schema["pattern"], f"must be a valid regular expression, but isn't: {error}")
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", ())
    if kind is not None and kind not in ("atomic", "set", "map"):
        yield not_supported(f"{at}.x-kubernetes-list-type", kind, ("atomic", "set", "map"))
    if kind is not None and schema.get("type") != "array":
        yield invalid(f"{at}.type", schema.get("type"), "must be array if x-kubernetes-list-type is specified")
    if (kind == "map") != bool(keys):
        words = "must be set if and only if x-kubernetes-list-type is map"
        yield required(f"{at}.x-kubernetes-list-map-keys", words)
    properties: Any = schema.get("items") or {}
    for index, key in enumerate(keys):
        if not isinstance(properties, dict) or key not in properties.get("properties", {}):
            yield invalid(
                f"{at}.x-kubernetes-list-map-keys[{index}]", key, "entries must all be names of item properties"
            )
    choice = schema.get("x-kubernetes-map-type")
    if choice is not None and choice not in ("atomic", "granular"):
        yield not_supported(f"{at}.x-kubernetes-map-type", choice, ("atomic", "granular"))


def check_definition_update(new: Object, old: Object) -> Causes:
    """Objects of an established kind are there: its names and scope stay, and stored versions cannot go."""
    spec, before = new.get("spec", {}), old.get("spec", {})
    established = any(
        condition.get("type") == "Established" and condition.get("status") == "True"
        for condition in old.get("status", {}).get("conditions", ())
    )
    if established:
        yield from unchanged(spec.get("group"), before.get("group"), "spec.group")
        yield from unchanged(spec.get("scope"), before.get("scope"), "spec.scope")
        for field in ("kind", "plural"):
            yield from unchanged(
                spec.get("names", {}).get(field), before.get("names", {}).get(field), f"spec.names.{field}"
            )
    known = {version.get("name") for version in spec.get("versions", ())}
    for index, version in enumerate(old.get("status", {}).get("storedVersions", ())):
        if version not in known:
            yield invalid(f"status.storedVersions[{index}]", version, "must appear in spec.versions")
