"""A JSON object as a protobuf message, driven by the schema tables: the inverse of decode.py.

Only what the object has is written: readers take an absent scalar for its zero. Keys the tables do not know have no
number and are left out.
"""

from __future__ import annotations

from typing import Any

from control.api.protobuf.decode import _UNIONS, _WRAPPED
from control.api.protobuf.leaves import WRITERS
from control.api.protobuf.wire import double_field, number_field, tagged
from control.api.schema import ObjectType, Type, lookup


def message(value: dict[str, Any], of: ObjectType) -> bytes:
    """The bytes of an object of that type. ValueError, TypeError: a value does not have its type."""
    out = bytearray()
    for number, field in sorted(of.numbers().items()):
        if value.get(field.name) is not None:
            out += _field(number, value[field.name], field.type, (of.name, field.name) in _WRAPPED)
    for number, inlined in sorted(of.embedded.items()):
        out += tagged(number, message(value, inlined))
    return bytes(out)


def _field(number: int, value: Any, of: Type, wrapped: bool) -> bytes:
    if of.list is not None:
        if wrapped:
            return tagged(number, _wrap(value, of.list))
        return b"".join(_single(number, element, of.list) for element in value)
    if of.map is not None:
        entries = ((key, value[key]) for key in sorted(value))
        return b"".join(tagged(number, tagged(1, key.encode()) + _single(2, v, of.map)) for key, v in entries)
    return _single(number, value, of)


def _wrap(value: list[Any], of: Type) -> bytes:
    return b"".join(_single(1, element, of) for element in value)


def _single(number: int, value: Any, of: Type) -> bytes:
    if of.list is not None:
        return tagged(number, _wrap(value, of.list))
    if of.ref in _UNIONS:
        return tagged(number, _union(of.ref, value))
    if of.ref:
        return tagged(number, message(value, lookup(of.ref)))
    if of.scalar in WRITERS:
        return tagged(number, WRITERS[of.scalar](value))
    return double_field(number, value) if of.scalar == "float64" else number_field(number, int(value))


def _union(name: str, value: Any) -> bytes:
    schema = lookup("apiextensions.v1.JSONSchemaProps")
    if name.endswith("Bool"):
        if isinstance(value, bool):
            return number_field(1, value)
        return number_field(1, 1) + tagged(2, message(value, schema))
    if isinstance(value, dict):
        return tagged(1, message(value, schema))
    return b"".join(tagged(2, v.encode() if isinstance(v, str) else message(v, schema)) for v in value)
