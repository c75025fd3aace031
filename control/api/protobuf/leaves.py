"""Values that are one thing in JSON and a small message in protobuf: times, quantities, int-or-string, raw objects.

Each reader takes a message's bytes and gives the JSON value, or None where Go would write null (a zero time). Each
writer is its inverse.

Source: generated.proto of k8s.io/apimachinery (meta/v1, api/resource, util/intstr, runtime) and of
k8s.io/apiextensions-apiserver; the JSON forms are those of the API conventions.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from control.api.protobuf.wire import WireError, fields, number_field, signed, tagged

Json = Any

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1000,
    "µs": 1000,
    "ns": 1,
}
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)")


def _members(data: bytes) -> dict[int, Any]:
    return {number: value for number, _, value in fields(data)}


def text(data: bytes) -> str:
    """A string's bytes as text. WireError: no UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise WireError(f"a string is not UTF-8: {e}") from None


def _instant(data: bytes) -> datetime | None:
    if not data:
        return None
    members = _members(data)
    try:
        return _EPOCH + timedelta(seconds=signed(members.get(1, 0)), microseconds=signed(members.get(2, 0)) // 1000)
    except (OverflowError, TypeError):
        raise WireError("a time is out of range or malformed") from None


def read_time(data: bytes) -> Json:
    at = _instant(data)
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def read_micro_time(data: bytes) -> Json:
    at = _instant(data)
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def write_time(value: Json) -> bytes:
    at = datetime.fromisoformat(str(value).replace("Z", "+00:00")).astimezone(UTC) - _EPOCH
    return number_field(1, at.days * 86400 + at.seconds) + number_field(2, at.microseconds * 1000)


def read_quantity(data: bytes) -> Json:
    return text(_bytes(_members(data).get(1, b"")))


def write_quantity(value: Json) -> bytes:
    return tagged(1, str(value).encode())


def read_int_or_string(data: bytes) -> Json:
    members = _members(data)
    if members.get(1, 0) == 1:
        return text(_bytes(members.get(3, b"")))
    return _signed32(members.get(2, 0))


def write_int_or_string(value: Json) -> bytes:
    if isinstance(value, int):
        return number_field(1, 0) + number_field(2, value) + tagged(3, b"")
    return number_field(1, 1) + number_field(2, 0) + tagged(3, str(value).encode())


def read_raw(data: bytes) -> Json:
    """RawExtension, FieldsV1 and JSON: a message whose field 1 is JSON text."""
    content = _bytes(_members(data).get(1, b""))
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as e:
        raise WireError(f"an embedded object is no JSON: {e}") from None


def write_raw(value: Json) -> bytes:
    return tagged(1, json.dumps(value, separators=(",", ":")).encode())


def read_duration(data: bytes) -> Json:
    value = _members(data).get(1, 0)
    if not isinstance(value, int):
        raise WireError("a duration is no number")
    return go_duration(signed(value))


def write_duration(value: Json) -> bytes:
    return number_field(1, sum(int(float(n) * _UNITS[unit]) for n, unit in _DURATION.findall(str(value))))


def go_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: "1m30s", "1.5ms", "0s"."""
    if nanoseconds < 0:
        return "-" + go_duration(-nanoseconds)
    for limit, unit in ((1000, "ns"), (1_000_000, "µs"), (1_000_000_000, "ms")):
        if 0 < nanoseconds < limit:
            return _decimal(nanoseconds, _UNITS[unit]) + unit
    minutes, rest = divmod(nanoseconds, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, _UNITS["s"]) + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise WireError("a text field holds a number")
    return value


def _signed32(value: Any) -> int:
    if not isinstance(value, int):
        raise WireError("a number field holds text")
    return signed(value)


def read_bytes(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write_bytes(value: Json) -> bytes:
    return base64.b64decode(str(value))


READERS: Final[dict[str, Callable[[bytes], Json]]] = {
    "string": text,
    "bytes": read_bytes,
    "time": read_time,
    "microTime": read_micro_time,
    "quantity": read_quantity,
    "intOrString": read_int_or_string,
    "raw": read_raw,
    "json": read_raw,
    "fields": read_raw,
    "duration": read_duration,
}

WRITERS: Final[dict[str, Callable[[Json], bytes]]] = {
    "string": lambda value: str(value).encode(),
    "bytes": write_bytes,
    "time": write_time,
    "microTime": write_time,
    "quantity": write_quantity,
    "intOrString": write_int_or_string,
    "raw": write_raw,
    "json": write_raw,
    "fields": write_raw,
    "duration": write_duration,
}
