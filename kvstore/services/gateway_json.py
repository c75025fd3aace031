"""JSON and protobuf, one into the other, as etcd's gateway writes and reads them.

Field names as in the .proto files (lowerCamelCase is read, too), 64-bit integers as strings, bytes as base64, zero
fields left out, unknown fields ignored. protobuf's json_format does the work, but it silently
drops what is no base64 (a key that was sent as plain text would be another key), enum values that it does not know, and
what stands where a message is to be; all three are checked here.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kvstore.errors import Code, EtcdError

# gRPC's status as HTTP's (grpc-gateway, runtime.HTTPStatusFromCode).
HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELED: 408,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
_DECODER = json.JSONDecoder()
_WHITE = " \t\r\n"


class Failure(NamedTuple):
    """How a call failed."""

    code: int
    message: str

    @property
    def http_status(self) -> int:
        """The status of a response that has not begun."""
        return HTTP_STATUS.get(Code(self.code), 500)

    def body(self) -> bytes:
        """Of a unary call: fields of etcd 3.5's gateway and of 3.6's."""
        return _dump({"error": self.message, "code": int(self.code), "message": self.message, "details": []})

    def chunk(self, phrase: str) -> bytes:
        """The last object of a stream. phrase: the HTTP status in words."""
        fields = {"grpc_code": int(self.code), "http_code": self.http_status, "message": self.message}
        return _dump({"error": {**fields, "http_status": phrase, "code": int(self.code), "details": []}}) + b"\n"


def requests(kind: type[Message], body: bytes) -> Iterator[Message]:
    """The messages in a body: JSON objects one after another. Raises INVALID_ARGUMENT."""
    try:
        text = body.decode()
    except UnicodeDecodeError as problem:
        raise EtcdError(Code.INVALID_ARGUMENT, f"body is not UTF-8: {problem.reason} at byte {problem.start}") from None
    at = _skip_white(text, 0)
    while at < len(text):
        try:
            value, at = _DECODER.raw_decode(text, at)
            yield _message(kind, value)
        except (ValueError, RecursionError, json_format.ParseError) as problem:
            raise EtcdError(Code.INVALID_ARGUMENT, str(problem) or type(problem).__name__) from None
        at = _skip_white(text, at)


def first_request(kind: type[Message], body: bytes) -> Message:
    """The one message of a unary call; no body is an empty one. Raises INVALID_ARGUMENT."""
    return next(requests(kind, body), kind())


def response(kind: type[Message], encoded: bytes) -> bytes:
    """A unary answer."""
    return _dump(_plain(kind, encoded))


def result(kind: type[Message], encoded: bytes) -> bytes:
    """An answer of a stream, with the line end that separates it from the next."""
    return _dump({"result": _plain(kind, encoded)}) + b"\n"


def _plain(kind: type[Message], encoded: bytes) -> dict[str, Any]:
    return json_format.MessageToDict(kind.FromString(encoded), preserving_proto_field_name=True)


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _message(kind: type[Message], value: Any) -> Message:
    message = kind()
    if value is None:
        return message
    if not isinstance(value, dict):
        raise ValueError(f"cannot read a {type(value).__name__} as {kind.DESCRIPTOR.name}: an object is expected")
    _check_values(cast("Descriptor", kind.DESCRIPTOR), value)
    json_format.ParseDict(value, message, ignore_unknown_fields=True)
    return message


def _check_values(descriptor: Descriptor, value: dict[str, Any]) -> None:
    """ValueError for a bytes field that is no base64, an enum value that is none, or a message that is no object."""
    for name, field in descriptor.fields_by_name.items():
        for spelling in {name, field.json_name}:
            inner = value.get(spelling)
            for item in inner if isinstance(inner, list) and not field.has_presence else (inner,):
                _check_field(field, item)


def _check_field(field: FieldDescriptor, item: Any) -> None:
    if field.message_type is not None:
        if isinstance(item, dict):
            _check_values(field.message_type, item)
        elif item is not None:
            # json_format would go through what it takes for field names, know none, and make an empty message.
            raise ValueError(f"{field.name}: an object is expected")
    elif field.enum_type is not None:
        if isinstance(item, str) and item not in field.enum_type.values_by_name:
            raise ValueError(f"{field.name}: unknown value {item!r} for enum {field.enum_type.name}")
    elif field.type == FieldDescriptor.TYPE_BYTES and item is not None:
        if not isinstance(item, str):
            raise ValueError(f"{field.name}: a base64 string is expected")
        try:
            b64decode(item, validate=True)
        except (binascii.Error, ValueError) as problem:
            raise ValueError(f"{field.name}: illegal base64 data: {problem}") from None


def _skip_white(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITE:
        at += 1
    return at
