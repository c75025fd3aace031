"""Strategic merge patch: a merge patch whose lists merge by key where the schema says so, and that holds directives.

    $patch: replace | merge | delete         in an object, or in an element of a list that merges
    $retainKeys: [names]                     all other keys of this object go
    $deleteFromPrimitiveList/name: [values]  these go out of the list of scalars `name`
    $setElementOrder/name: [...]             the order of the list `name` afterwards

Source: "Update API Objects in Place Using kubectl patch" in the documentation of Kubernetes, and its design proposals
"strategic-merge-patch" and "preserve-order-in-strategic-merge-patch".
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from control.api import status
from control.api.patches import lists
from control.api.patches.values import check, token
from control.api.schema import Field, ObjectType, Type

Json = Any
Map = dict[str, Json]

DIRECTIVE: Final = "$patch"
RETAIN: Final = "$retainKeys"
DELETE_FROM: Final = "$deleteFromPrimitiveList/"
ORDER: Final = "$setElementOrder/"


def apply(document: Map, patch: Json, of: ObjectType | None) -> Map:
    """The document after the patch. of: its type; None for custom resources, whose lists have no merge keys.

    StatusError 415: of is None; 400: malformed patch or directive; 422: an element without its merge key.
    """
    if of is None:
        raise status.unsupported_media_type(
            ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
        )
    if not isinstance(patch, dict):
        raise status.bad_request("a strategic merge patch must be a JSON object")
    check(patch, "patch")
    return _merge_map(document, patch, Type(ref=of.name))


def _merge_map(original: Map, patch: Map, of: Type) -> Map:
    directive = patch.get(DIRECTIVE)
    if directive == "replace":
        return {key: _clean(value) for key, value in patch.items() if key != DIRECTIVE and value is not None}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise status.bad_request(f"unknown patch type {directive!r}: $patch is one of replace, merge, delete")
    result = _retained(original, patch)
    for key, value in patch.items():
        if key.startswith(DELETE_FROM):
            _delete_values(result, key.removeprefix(DELETE_FROM), value)
    for key, value in patch.items():
        if not _is_directive(key):
            _merge_key(result, original, key, value, patch, _field(of, key))
    for key in patch:
        if key.startswith(ORDER) and key.removeprefix(ORDER) not in patch:
            _reorder(result, key.removeprefix(ORDER), patch[key], _field(of, key.removeprefix(ORDER)))
    return result


def _retained(original: Map, patch: Map) -> Map:
    keep = patch.get(RETAIN)
    if keep is None:
        return dict(original)
    if not isinstance(keep, list) or not all(isinstance(key, str) for key in keep):
        raise status.bad_request("invalid patch format of retainKeys: it must be a list of field names")
    for key, value in patch.items():
        if value is not None and not key.startswith("$") and key not in keep:
            raise status.bad_request(
                f"invalid patch format of retainKeys: the patch sets {key}, which it does not retain"
            )
    return {key: value for key, value in original.items() if key in keep}


def _delete_values(result: Map, key: str, values: Json) -> None:
    if not isinstance(values, list):
        raise status.bad_request(f"invalid patch format of primitive list: {DELETE_FROM}{key} must be a list")
    if isinstance(result.get(key), list):
        gone = {token(value) for value in values}
        result[key] = [element for element in result[key] if token(element) not in gone]


def _merge_key(result: Map, original: Map, key: str, value: Json, patch: Map, field: Field | None) -> None:
    current = result.get(key)
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict) and isinstance(current, dict):
        result[key] = _merge_map(current, value, field.type if field else Type())
    elif isinstance(value, list) and isinstance(current, list) and field is not None and field.patch_merge:
        merged = _merge_list(current, value, field)
        order = lists.order_of(patch[ORDER + key], value, field) if ORDER + key in patch else None
        result[key] = lists.ordered(merged, order or lists.identities(value, field), original.get(key) or [], field)
    elif isinstance(value, dict) and value.get(DIRECTIVE) == "replace":
        result[key] = _merge_map({}, value, Type())
    elif not _deletes(value):
        result[key] = _clean(value)


def _merge_list(current: list[Json], patch: list[Json], field: Field) -> list[Json]:
    if not field.merge_key:
        return lists.union(current, patch)
    plain = [element for element in patch if DIRECTIVE not in lists.element(element, field)]
    special = [element for element in patch if DIRECTIVE in element]
    if any(element[DIRECTIVE] == "replace" for element in special):
        return [_clean(element) for element in plain]
    gone = {_deleted(element, field) for element in special}
    rest = [other for other in current if not isinstance(other, dict) or lists.identity(other, field) not in gone]
    of = field.type.list or Type()
    return lists.merge_by_key(rest, plain, field, lambda old, new: _merge_map(old, new, of))


def _deleted(element: Map, field: Field) -> Hashable:
    if element[DIRECTIVE] != "delete":
        why = "lists merge by themselves" if element[DIRECTIVE] == "merge" else "it is one of replace, delete"
        raise status.bad_request(f"unknown patch type {element[DIRECTIVE]!r} in the list {field.name}: {why}")
    return lists.identity(element, field)


def _reorder(result: Map, key: str, order: Json, field: Field | None) -> None:
    if isinstance(result.get(key), list) and field is not None:
        result[key] = lists.ordered(result[key], lists.order_of(order, [], field), result[key], field)


def _clean(value: Json) -> Json:
    """What a patch's new value is without its nulls and directives."""
    if isinstance(value, dict):
        plain = {k: v for k, v in value.items() if v is not None and not _is_directive(k)}
        return {k: _clean(v) for k, v in plain.items() if not _deletes(v)}
    if isinstance(value, list):
        return [_clean(v) for v in value if not _deletes(v) and not (isinstance(v, dict) and set(v) == {DIRECTIVE})]
    return value


def _deletes(value: Json) -> bool:
    return isinstance(value, dict) and value.get(DIRECTIVE) == "delete"


def _is_directive(key: str) -> bool:
    return key in (DIRECTIVE, RETAIN) or key.startswith((DELETE_FROM, ORDER))


def _field(of: Type, key: str) -> Field | None:
    """The field of that name in an object of type `of`; for maps: a field of the elements' type; None: unknown."""
    if of.map is not None:
        return Field(key, 0, of.map)
    found = of.object
    return found.fields.get(key) if found is not None else None
