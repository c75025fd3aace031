"""Checks of single values: strings, numbers, quantities, times. Each gives the value in its one form, or WrongType.

Source: the scalar types of Kubernetes' API reference, as Go's JSON reader takes them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from control.api.meta import micro_timestamp, parse_time, timestamp
from control.api.quantity import canonical
from control.api.schema import Json
from control.api.status import StatusError, quoted

Check = Callable[[Json, list[str]], Json]

_DURATION = re.compile(r"[+-]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+", re.ASCII)
INTEGERS: Final = {
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


def got(value: Json) -> str:
    """A value as messages name it."""
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
    raise WrongType(got(value).split()[0], "string")


def _bool(value: Json, _: list[str]) -> Json:
    if type(value) is bool:
        return value
    raise WrongType(got(value).split()[0], "bool")


def _integer(name: str) -> Check:
    low, high = INTEGERS[name]

    def check(value: Json, _: list[str]) -> Json:
        if type(value) is int and low <= value <= high:
            return value
        raise WrongType(got(value), name)

    return check


def _float(value: Json, _: list[str]) -> Json:
    if type(value) is int or type(value) is float:
        return value
    raise WrongType(got(value), "float64")


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
        raise WrongType(got(value), "resource.Quantity")
    try:
        return canonical(value)
    except StatusError as error:
        raise WrongType(error.message) from None


def _int_or_string(value: Json, _: list[str]) -> Json:
    if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31):
        return value
    raise WrongType(got(value), "intstr.IntOrString")


def _time(value: Json, _: list[str]) -> Json:
    return timestamp(_moment(value))


def _micro_time(value: Json, _: list[str]) -> Json:
    return micro_timestamp(_moment(value))


def _moment(value: Json) -> datetime:
    if type(value) is not str:
        raise WrongType(got(value), "Time")
    try:
        return parse_time(value)
    except (ValueError, OverflowError):
        raise WrongType(f"parsing time {quoted(value)}: it must look like 2026-01-02T03:04:05Z (RFC 3339)") from None


def _duration(value: Json, _: list[str]) -> Json:
    if type(value) is str and _DURATION.fullmatch(value):
        return value
    raise WrongType(f"{got(value)} is no duration, as 1h30m or 10s")


def _any(value: Json, _: list[str]) -> Json:
    return value


def _object(value: Json, _: list[str]) -> Json:
    if type(value) is dict:
        return value
    raise WrongType(got(value), "object")


SCALAR_CHECKS: Final[dict[str, Check]] = {
    "string": _string, "bool": _bool, "float64": _float, "bytes": _bytes, "quantity": _quantity,
    "intOrString": _int_or_string, "time": _time, "microTime": _micro_time, "duration": _duration, "raw": _any,
    "json": _any, "fields": _object, **{name: _integer(name) for name in INTEGERS},
}  # fmt: skip
