"""An OpenAPI 2 document as protobuf, which kubectl up to 1.26 asks for.

Each message is a table: JSON key → (field number, how its value is written). Keys that begin with x- are written as
vendor extensions, whose values are YAML text; JSON is YAML.

Source: the messages of package openapi.v2 (OpenAPIv2.proto of the gnostic project).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from control.api.protobuf.wire import double_field, number_field, tagged

Json = Any
Writer = Callable[[int, Json], bytes]
Table = Mapping[str, tuple[int, Writer]]

# What clients ask for; the first form is no media type by Go's rules, so the answer is named by the second.
ACCEPTED: Final = (
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
)
CONTENT_TYPE: Final = ACCEPTED[1]


def encode(document: Json) -> bytes:
    """The protobuf message of an OpenAPI 2 document."""
    return _message(document, _DOCUMENT, 16)


def _message(value: Mapping[str, Json], table: Table, extensions: int) -> bytes:
    out = bytearray()
    for key, part in value.items():
        if key in table:
            number, write = table[key]
            out += write(number, part)
        elif key.startswith("x-"):
            out += tagged(extensions, tagged(1, key.encode()) + tagged(2, _any(part)))
    return bytes(out)


def _any(value: Json) -> bytes:
    return tagged(2, json.dumps(value, ensure_ascii=False).encode() + b"\n")


def _text(number: int, value: Json) -> bytes:
    return tagged(number, value.encode())


def _texts(number: int, value: Json) -> bytes:
    return b"".join(tagged(number, text.encode()) for text in value)


def _integer(number: int, value: Json) -> bytes:
    return number_field(number, int(value))


def _value(number: int, value: Json) -> bytes:
    return tagged(number, _any(value))


def _values(number: int, value: Json) -> bytes:
    return b"".join(tagged(number, _any(part)) for part in value)


def _schema(number: int, value: Json) -> bytes:
    return tagged(number, _message(value, _SCHEMA, 31))


def _schemas(number: int, value: Json) -> bytes:
    return b"".join(_schema(number, part) for part in value)


def _named_schemas(number: int, value: Json) -> bytes:
    return tagged(number, b"".join(tagged(1, tagged(1, name.encode()) + _schema(2, of)) for name, of in value.items()))


def _additional(number: int, value: Json) -> bytes:
    return tagged(number, number_field(2, value) if isinstance(value, bool) else _schema(1, value))


def _type(number: int, value: Json) -> bytes:
    return tagged(number, _texts(1, [value] if isinstance(value, str) else value))


def _items(number: int, value: Json) -> bytes:
    return tagged(number, _schema(1, value))


def _info(number: int, value: Json) -> bytes:
    return tagged(number, _message(value, {"title": (1, _text), "version": (2, _text)}, 7))


def _paths(number: int, value: Json) -> bytes:
    items = (tagged(1, p.encode()) + tagged(2, _message(item, _PATH_ITEM, 10)) for p, item in value.items())
    return tagged(number, b"".join(tagged(2, item) for item in items))


def _operation(number: int, value: Json) -> bytes:
    return tagged(number, _message(value, _OPERATION, 13))


def _parameters(number: int, value: Json) -> bytes:
    return b"".join(tagged(number, tagged(1, _parameter(part))) for part in value)


def _parameter(value: Json) -> bytes:
    if value["in"] == "body":
        return tagged(1, _message(value, _BODY_PARAMETER, 6))
    if value["in"] == "query":
        return tagged(2, tagged(3, _message(value, _QUERY_PARAMETER, 23)))
    return tagged(2, tagged(4, _message(value, _PATH_PARAMETER, 22)))


def _responses(number: int, value: Json) -> bytes:
    codes = (tagged(1, code.encode()) + tagged(2, tagged(1, _response(of))) for code, of in value.items())
    return tagged(number, b"".join(tagged(1, code) for code in codes))


def _response(value: Json) -> bytes:
    return _message(value, {"description": (1, _text), "schema": (2, _items)}, 5)


_SCHEMA: Final[Table] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _value),
    "multipleOf": (6, double_field),
    "maximum": (7, double_field),
    "exclusiveMaximum": (8, _integer),
    "minimum": (9, double_field),
    "exclusiveMinimum": (10, _integer),
    "maxLength": (11, _integer),
    "minLength": (12, _integer),
    "pattern": (13, _text),
    "maxItems": (14, _integer),
    "minItems": (15, _integer),
    "uniqueItems": (16, _integer),
    "maxProperties": (17, _integer),
    "minProperties": (18, _integer),
    "required": (19, _texts),
    "enum": (20, _values),
    "additionalProperties": (21, _additional),
    "type": (22, _type),
    "items": (23, _items),
    "allOf": (24, _schemas),
    "properties": (25, _named_schemas),
    "example": (30, _value),
}
_DOCUMENT: Final[Table] = {
    "swagger": (1, _text),
    "info": (2, _info),
    "paths": (8, _paths),
    "definitions": (9, _named_schemas),
}
_PATH_ITEM: Final[Table] = {
    "get": (2, _operation),
    "put": (3, _operation),
    "post": (4, _operation),
    "delete": (5, _operation),
    "patch": (8, _operation),
    "parameters": (9, _parameters),
}
_OPERATION: Final[Table] = {
    "tags": (1, _texts),
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _texts),
    "consumes": (7, _texts),
    "parameters": (8, _parameters),
    "responses": (9, _responses),
    "schemes": (10, _texts),
}
_BODY_PARAMETER: Final[Table] = {
    "description": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "required": (4, _integer),
    "schema": (5, _schema),
}
_QUERY_PARAMETER: Final[Table] = {
    "required": (1, _integer),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (6, _text),
    "uniqueItems": (20, _integer),
}
_PATH_PARAMETER: Final[Table] = {
    "required": (1, _integer),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (5, _text),
    "uniqueItems": (19, _integer),
}
