"""What a schema refuses of a value: types, required fields, bounds, patterns, formats, enumerations, logic.

Source: the validation of custom objects by kube-apiserver; its words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from control.api.fielderrors import duplicate, invalid, not_supported, required, type_invalid
from control.api.formats import FORMATS
from control.api.schema import Json, Object
from control.api.status import Cause
from control.api.structural_node import MISSING, ROOT_KEPT, Node

_BOUNDS: Final[tuple[tuple[str, Callable[[Any], int], type, bool, str], ...]] = (
    ("minLength", len, str, True, "{at} in body should be at least {limit} chars long"),
    ("maxLength", len, str, False, "{at} in body should be at most {limit} chars long"),
    ("minItems", len, list, True, "{at} in body should have at least {limit} items"),
    ("maxItems", len, list, False, "{at} in body should have at most {limit} items"),
    ("minProperties", len, dict, True, "{at} in body should have at least {limit} properties"),
    ("maxProperties", len, dict, False, "{at} in body should have at most {limit} properties"),
)


def root_causes(obj: Object, root: Node) -> Iterator[Cause]:
    """All that is wrong with a whole object."""
    yield from _object_causes(obj, root, "", root=True)
    yield from _value_causes(obj, root, "")


def causes(value: Json, node: Node, at: str) -> Iterator[Cause]:
    """All that is wrong with a value below the root."""
    if value is None:
        if not node.nullable and node.types:
            yield _wrong_type(at, "null", node.types)
        return
    if node.types and not any(_is_type(value, name) for name in node.types):
        yield _wrong_type(at, _type_name(value), node.types)
        return
    if isinstance(value, dict):
        yield from _object_causes(value, node, at)
    elif isinstance(value, list):
        yield from _list_causes(value, node, at)
    yield from _value_causes(value, node, at)


def _wrong_type(at: str, found: str, wanted: tuple[str, ...]) -> Cause:
    return type_invalid(at, found, f'{at} in body must be of type {",".join(wanted)}: "{found}"')


def _is_type(value: Json, name: str) -> bool:
    match name:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def _type_name(value: Json) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "null")


def _object_causes(value: Object, node: Node, at: str, *, root: bool = False) -> Iterator[Cause]:
    start = f"{at}." if at else ""
    for name in node.raw.get("required", ()):
        if name not in value:
            yield required(start + name)
    if node.embedded:
        yield from _embedded(value, start)
    for name, entry in value.items():
        if root and name in ROOT_KEPT:
            continue
        below = node.properties.get(name, node.additional)
        if isinstance(below, Node):
            yield from causes(entry, below, start + name)


def _embedded(value: Object, start: str) -> Iterator[Cause]:
    """A whole object within an object says what it is."""
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            yield required(start + name, "must not be empty")
    if "metadata" in value and not isinstance(value["metadata"], dict):
        yield _wrong_type(f"{start}metadata", _type_name(value["metadata"]), ("object",))


def _list_causes(value: list[Json], node: Node, at: str) -> Iterator[Cause]:
    if node.items is not None:
        for index, entry in enumerate(value):
            yield from causes(entry, node.items, f"{at}[{index}]")
    kind = node.raw.get("x-kubernetes-list-type")
    if kind in ("set", "map") or node.raw.get("uniqueItems"):
        keys = node.raw.get("x-kubernetes-list-map-keys", ()) if kind == "map" else ()
        yield from _unique(value, keys, node.items, at)


def _unique(value: list[Json], keys: tuple[str, ...], items: Node | None, at: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, entry in enumerate(value):
        shown = entry
        if keys and isinstance(entry, dict):
            shown = {key: entry.get(key, _default_of(items, key)) for key in keys}
        text = repr(shown)
        if text in seen:
            yield duplicate(f"{at}[{index}]", shown)
        seen.add(text)


def _default_of(items: Node | None, key: str) -> Json:
    found = items.properties.get(key) if items is not None else None
    return None if found is None or found.default is MISSING else found.default


def _value_causes(value: Json, node: Node, at: str) -> Iterator[Cause]:
    """Enumerations, bounds, patterns, formats, and the logical keywords."""
    raw = node.raw
    choices = raw.get("enum")
    if choices and not any(value == choice and type(value) is type(choice) for choice in choices):
        yield _not_in(at, value, choices)
    yield from _bounds(value, raw, at)
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, raw, at)
    if isinstance(value, str):
        if node.pattern is not None and not node.pattern.matches(value):
            yield invalid(at, value, f"{at} in body should match '{raw['pattern']}'")
        check = FORMATS.get(raw.get("format", ""))
        if check is not None and not check(value):
            yield invalid(at, value, f'{at} in body must be of type {raw["format"]}: "{value}"')
    yield from _logic(value, node, at)


def _not_in(at: str, value: Json, choices: list[Json]) -> Cause:
    return not_supported(at, value, [choice if isinstance(choice, str) else str(choice) for choice in choices])


def _bounds(value: Json, raw: Object, at: str) -> Iterator[Cause]:
    for keyword, measure, kind, is_lower, words in _BOUNDS:
        limit = raw.get(keyword)
        if limit is None or not isinstance(value, kind):
            continue
        size = measure(value)
        if size < limit if is_lower else size > limit:
            yield invalid(at, value, words.format(at=at, limit=limit))


def _number(value: float, raw: Object, at: str) -> Iterator[Cause]:
    low, high, factor = raw.get("minimum"), raw.get("maximum"), raw.get("multipleOf")
    if low is not None and (value <= low if raw.get("exclusiveMinimum") else value < low):
        words = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(at, value, f"{at} in body should be {words} {_plain(low)}")
    if high is not None and (value >= high if raw.get("exclusiveMaximum") else value > high):
        words = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(at, value, f"{at} in body should be {words} {_plain(high)}")
    if factor and abs(value / factor - round(value / factor)) > 1e-9:
        yield invalid(at, value, f"{at} in body should be a multiple of {_plain(factor)}")
    bits = {"int32": 31, "int64": 63}.get(raw.get("format", ""))
    if bits and not -(2**bits) <= value < 2**bits:
        yield invalid(at, value, f"{at} in body must be of type {raw['format']}")


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _logic(value: Json, node: Node, at: str) -> Iterator[Cause]:
    for part in node.all_of:
        yield from causes(value, part, at)
    if node.any_of and not any(_is_valid(value, part, at) for part in node.any_of):
        yield invalid(at, "", f'"{at}" must validate at least one schema (anyOf)')
        yield from causes(value, node.any_of[0], at)
    if node.one_of:
        matching = sum(_is_valid(value, part, at) for part in node.one_of)
        if matching != 1:
            found = "Found none valid" if not matching else f"Found {matching} valid alternatives"
            yield invalid(at, "", f'"{at}" must validate one and only one schema (oneOf). {found}')
    if node.negated is not None and _is_valid(value, node.negated, at):
        yield invalid(at, "", f'"{at}" must not validate the schema (not)')


def _is_valid(value: Json, node: Node, at: str) -> bool:
    return next(causes(value, node, at), None) is None
