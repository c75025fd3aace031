"""A client's JSON becomes an object of its kind: fields known, values of the right type, one form for each value.

For each type of the schema tables a checker is made once; it walks the value, drops nulls and what Go clients would
not write (zeros of fields that are no pointers), brings quantities and times into their canonical form, and notes
unknown fields. Field names are compared exactly: "Replicas" is unknown where "replicas" is meant.

Invariant: decode(decode(x)) == decode(x), and the input is left as it was.

Source: "Field validation" in Kubernetes' API concepts; the messages follow what kube-apiserver says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from control.api.copying import copied
from control.api.decode_scalars import INTEGERS, SCALAR_CHECKS, Check, WrongType, got
from control.api.kind import Kind
from control.api.schema import Field, Json, Object, ObjectType, Type, lookup
from control.api.status import bad_request, quoted

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
VALIDATIONS: Final = (STRICT, WARN, IGNORE)

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Decoded:
    """object: as the server works with it; warnings: what was passed over, as `unknown field "spec.replcas"`."""

    object: Object
    warnings: tuple[str, ...] = ()


def decode(kind: Kind, value: Json, *, duplicates: Sequence[str] = (), validation: str = WARN) -> Decoded:
    """Check a body against its kind. duplicates: paths of keys that came twice (control/api/body.py).

    StatusError (400): it is no object, a type is wrong, or validation is STRICT and a field is unknown or came twice.
    Custom kinds are pruned by their schema and checked for metadata here; types come with validation.
    """
    check_validation(validation)
    if not isinstance(value, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind.name}): it is {got(value)}")
    unknown: list[str] = []
    try:
        found = _custom(kind, value, unknown) if kind.custom else checker(kind.type)(value, unknown)
    except WrongType as wrong:
        raise bad_request(f"{_heading(kind)}: {wrong}") from None
    complaints = [f"unknown field {quoted(path)}" for path in unknown]
    complaints += [f"duplicate field {quoted(path)}" for path in duplicates]
    if complaints and validation == STRICT:
        raise bad_request(f"{_heading(kind)}: strict decoding error: {', '.join(complaints)}")
    return Decoded(found, tuple(complaints) if validation == WARN else ())


def check_validation(validation: str) -> None:
    """StatusError (400) unless it is a value of the parameter fieldValidation."""
    if validation not in VALIDATIONS:
        raise bad_request(f"fieldValidation must be one of {', '.join(VALIDATIONS)}, not {quoted(validation)}")


def _heading(kind: Kind) -> str:
    return f"{kind.name} in version {quoted(kind.version)} cannot be handled as a {kind.name}"


def _custom(kind: Kind, value: Object, unknown: list[str]) -> Object:
    found = copied(value)
    kind.structural.prune(found, unknown)
    if value.get("metadata") is None:
        found.pop("metadata", None)
        return found
    start = len(unknown)
    try:
        found["metadata"] = checker("meta.v1.ObjectMeta")(value["metadata"], unknown)
    except WrongType as wrong:
        raise wrong.within("metadata", "") from None
    _prefix(unknown, start, "metadata")
    return found


def check_type(name: str, value: Json) -> tuple[Json, list[str]]:
    """(value in canonical form, unknown paths) for any type of the tables, as "core.v1.PodSpec". WrongType."""
    unknown: list[str] = []
    return checker(name)(value, unknown), unknown


@cache
def checker(name: str) -> Check:
    """The checker of an object type."""
    return _SPECIAL.get(name) or _ObjectCheck(lookup(name))


class _ObjectCheck:
    """Checks objects of one type. Its table is made at the first use, because types refer to each other."""

    __slots__ = ("name", "of", "table")

    def __init__(self, of: ObjectType) -> None:
        self.of = of
        self.name = of.short_name
        self.table: dict[str, tuple[Check, Json]] | None = None

    def __call__(self, value: Json, unknown: list[str]) -> Json:
        if type(value) is not dict:
            raise WrongType(got(value), f"{self.of.name.rsplit('.', 2)[-2]}.{self.name}")
        table = self.table
        if table is None:
            table = self.table = {name: (_check(of.type), _dropped(of)) for name, of in self.of.fields.items()}
        result = {}
        for key, entry in value.items():
            if entry is None:
                continue
            found = table.get(key)
            if found is None:
                unknown.append(key)
                continue
            check, zero = found
            noted = len(unknown)
            try:
                entry = check(entry, unknown)
            except WrongType as wrong:
                raise wrong.within(key, self.name) from None
            if len(unknown) > noted:
                _prefix(unknown, noted, key)
            if zero is _MISSING or entry != zero:
                result[key] = entry
        return result


def _prefix(unknown: list[str], start: int, step: str) -> None:
    for index in range(start, len(unknown)):
        rest = unknown[index]
        unknown[index] = f"{step}{rest}" if rest.startswith("[") else f"{step}.{rest}"


def _dropped(of: Field) -> Json:
    """The value that means the same as an absent field, so that objects have one form; _MISSING: none does."""
    if of.type.pointer or of.required:
        return _MISSING
    zero = _zero_of(of.type)
    return _MISSING if zero is _MISSING or zero == of.default else zero


def _zero_of(kind: Type) -> Json:
    """What Go clients leave out of a field of that type."""
    if kind.list is not None:
        return []
    if kind.map is not None:
        return {}
    if kind.scalar in ("string", "bytes"):
        return ""
    if kind.scalar == "bool":
        return False
    return 0 if kind.scalar in INTEGERS or kind.scalar == "float64" else _MISSING


def _check(kind: Type) -> Check:
    if kind.list is not None:
        return _list_check(_check(kind.list), _zero(kind.list), kind)
    if kind.map is not None:
        return _map_check(_check(kind.map), _zero(kind.map), kind)
    return checker(kind.ref) if kind.ref else SCALAR_CHECKS[kind.scalar]


def _zero(kind: Type) -> Json:
    """What Go makes of a null within a list or a map."""
    if kind.scalar in ("json", "raw", "fields"):
        return None
    if kind.list is not None or kind.map is not None:
        return _MISSING
    if kind.ref:
        return {}
    return {"bool": False, "string": "", "bytes": ""}.get(kind.scalar, 0 if kind.scalar in INTEGERS else _MISSING)


def _list_check(check: Check, zero: Json, kind: Type) -> Check:
    def checked(value: Json, unknown: list[str]) -> Json:
        if type(value) is not list:
            raise WrongType(got(value), type_text(kind))
        result = []
        for index, entry in enumerate(value):
            noted = len(unknown)
            try:
                result.append(_element(check, entry, zero, unknown))
            except WrongType as wrong:
                raise wrong.within(f"[{index}]", "") from None
            if len(unknown) > noted:
                _prefix(unknown, noted, f"[{index}]")
        return result

    return checked


def _map_check(check: Check, zero: Json, kind: Type) -> Check:
    def checked(value: Json, unknown: list[str]) -> Json:
        if type(value) is not dict:
            raise WrongType(got(value), type_text(kind))
        result = {}
        for key, entry in value.items():
            noted = len(unknown)
            try:
                result[key] = _element(check, entry, zero, unknown)
            except WrongType as wrong:
                raise wrong.within(key, "") from None
            if len(unknown) > noted:
                _prefix(unknown, noted, key)
        return result

    return checked


def _element(check: Check, entry: Json, zero: Json, unknown: list[str]) -> Json:
    if entry is not None:
        return check(entry, unknown)
    if zero is _MISSING:
        raise WrongType("null", "an element")
    return zero


def type_text(kind: Type) -> str:
    """A type as messages name it: "[]Container", "map[string]string", "int32"."""
    if kind.list is not None:
        return f"[]{type_text(kind.list)}"
    if kind.map is not None:
        return f"map[string]{type_text(kind.map)}"
    return kind.ref.rsplit(".", 1)[-1] or kind.scalar


def _schema(value: Json, unknown: list[str]) -> Json:
    return checker("apiextensions.v1.JSONSchemaProps")(value, unknown)


def _schema_or_list(value: Json, unknown: list[str]) -> Json:
    return _list_check(_schema, {}, Type())(value, unknown) if type(value) is list else _schema(value, unknown)


def _schema_or_bool(value: Json, unknown: list[str]) -> Json:
    return value if type(value) is bool else _schema(value, unknown)


def _schema_or_strings(value: Json, unknown: list[str]) -> Json:
    return (
        _list_check(SCALAR_CHECKS["string"], "", Type())(value, unknown)
        if type(value) is list
        else _schema(value, unknown)
    )


_SPECIAL: Final[dict[str, Check]] = {
    "apiextensions.v1.JSON": SCALAR_CHECKS["json"],
    "apiextensions.v1.JSONSchemaPropsOrArray": _schema_or_list,
    "apiextensions.v1.JSONSchemaPropsOrBool": _schema_or_bool,
    "apiextensions.v1.JSONSchemaPropsOrStringArray": _schema_or_strings,
}

__all__ = ["IGNORE", "STRICT", "WARN", "Decoded", "WrongType", "check_type", "check_validation", "checker", "decode"]
