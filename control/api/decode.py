"""A client's JSON becomes an object of its kind: fields known, values of the right type, one form for each value.

For each type of the schema tables a checker is made once; it walks the value, drops nulls and what Go clients would
not write (zeros of fields that are no pointers), brings quantities and times into their canonical form, and notes
unknown fields. Field names are compared exactly: "Replicas" is unknown where "replicas" is meant.

Invariant: decode(decode(x)) == decode(x), and the input is left as it was.

Source: "Field validation" in Kubernetes' API concepts; the messages follow what kube-apiserver says.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from control.api.kind import Kind
from control.api.meta import micro_timestamp, parse_time, timestamp
from control.api.quantity import canonical
from control.api.schema import Field, Json, Object, ObjectType, Type, lookup
from control.api.status import StatusError, bad_request, quoted

Check = Callable[[Json, list[str]], Json]
STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
VALIDATIONS: Final = (STRICT, WARN, IGNORE)

_MISSING: Final = object()
_DURATION = re.compile(r"[+-]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+", re.ASCII)
_INTEGERS: Final = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "byte": (0, 255),
}


class WrongType(Exception):
    """A value that its field cannot hold. field is put together from the inside out as the exception rises."""

    def __init__(self, why: str, wanted: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.wanted = wanted
        self.field = ""
        self.holder = ""

    def within(self, step: str, holder: str) -> WrongType:
        """Note the step that led here; holder: the object type's name, for the innermost field."""
        self.holder = self.holder or holder
        self.field = step + ("" if not self.field or self.field.startswith("[") else ".") + self.field
        return self

    def __str__(self) -> str:
        if not self.wanted:
            return f"{self.field}: {self.why}" if self.field else self.why
        into = f"Go struct field {self.holder}.{self.field}" if self.holder else "Go value"
        return f"json: cannot unmarshal {self.why} into {into} of type {self.wanted}"


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
        raise bad_request(f"the object provided is unrecognized (must be of type {kind.name}): it is {_got(value)}")
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
    found = deepcopy(value)
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
            raise WrongType(_got(value), f"{self.of.name.rsplit('.', 2)[-2]}.{self.name}")
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
    return 0 if kind.scalar in _INTEGERS or kind.scalar == "float64" else _MISSING


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
    return {"bool": False, "string": "", "bytes": ""}.get(kind.scalar, 0 if kind.scalar in _INTEGERS else _MISSING)


def _list_check(check: Check, zero: Json, kind: Type) -> Check:
    def checked(value: Json, unknown: list[str]) -> Json:
        if type(value) is not list:
            raise WrongType(_got(value), type_text(kind))
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
            raise WrongType(_got(value), type_text(kind))
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


def _got(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return f"number {value}"
        case list():
            return "array"
    return "object"


def _string(value: Json, _: list[str]) -> Json:
    if type(value) is str:
        return value
    raise WrongType(_got(value).split()[0], "string")


def _bool(value: Json, _: list[str]) -> Json:
    if type(value) is bool:
        return value
    raise WrongType(_got(value).split()[0], "bool")


def _integer(name: str) -> Check:
    low, high = _INTEGERS[name]

    def check(value: Json, _: list[str]) -> Json:
        if type(value) is int and low <= value <= high:
            return value
        raise WrongType(_got(value), name)

    return check


def _float(value: Json, _: list[str]) -> Json:
    if type(value) is int or type(value) is float:
        return value
    raise WrongType(_got(value), "float64")


def _bytes(value: Json, _: list[str]) -> Json:
    text: str = _string(value, _)
    compact = text.translate(_LINE_BREAKS) if "\n" in text or "\r" in text else text
    try:
        base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        raise WrongType(f"illegal base64 data (of {len(text)} letters)") from None
    return compact


_LINE_BREAKS: Final = {10: None, 13: None}


def _quantity(value: Json, _: list[str]) -> Json:
    if type(value) is bool or not isinstance(value, str | int | float):
        raise WrongType(_got(value), "resource.Quantity")
    try:
        return canonical(value)
    except StatusError as error:
        raise WrongType(error.message) from None


def _int_or_string(value: Json, _: list[str]) -> Json:
    if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31):
        return value
    raise WrongType(_got(value), "intstr.IntOrString")


def _time(value: Json, _: list[str]) -> Json:
    return timestamp(_moment(value))


def _micro_time(value: Json, _: list[str]) -> Json:
    return micro_timestamp(_moment(value))


def _moment(value: Json) -> Any:
    if type(value) is not str:
        raise WrongType(_got(value), "Time")
    try:
        return parse_time(value)
    except (ValueError, OverflowError):
        raise WrongType(f"parsing time {quoted(value)}: it must look like 2026-01-02T03:04:05Z (RFC 3339)") from None


def _duration(value: Json, _: list[str]) -> Json:
    if type(value) is str and _DURATION.fullmatch(value):
        return value
    raise WrongType(f"{_got(value)} is no duration, as 1h30m or 10s")


def _any(value: Json, _: list[str]) -> Json:
    return value


def _object(value: Json, _: list[str]) -> Json:
    if type(value) is dict:
        return value
    raise WrongType(_got(value), "object")


SCALAR_CHECKS: Final[dict[str, Check]] = {
    "string": _string, "bool": _bool, "float64": _float, "bytes": _bytes, "quantity": _quantity,
    "intOrString": _int_or_string, "time": _time, "microTime": _micro_time, "duration": _duration, "raw": _any,
    "json": _any, "fields": _object, **{name: _integer(name) for name in _INTEGERS},
}  # fmt: skip


def _schema(value: Json, unknown: list[str]) -> Json:
    return checker("apiextensions.v1.JSONSchemaProps")(value, unknown)


def _schema_or_list(value: Json, unknown: list[str]) -> Json:
    return _list_check(_schema, {}, Type())(value, unknown) if type(value) is list else _schema(value, unknown)


def _schema_or_bool(value: Json, unknown: list[str]) -> Json:
    return value if type(value) is bool else _schema(value, unknown)


def _schema_or_strings(value: Json, unknown: list[str]) -> Json:
    return _list_check(_string, "", Type())(value, unknown) if type(value) is list else _schema(value, unknown)


_SPECIAL: Final[dict[str, Check]] = {
    "apiextensions.v1.JSON": _any,
    "apiextensions.v1.JSONSchemaPropsOrArray": _schema_or_list,
    "apiextensions.v1.JSONSchemaPropsOrBool": _schema_or_bool,
    "apiextensions.v1.JSONSchemaPropsOrStringArray": _schema_or_strings,
}
