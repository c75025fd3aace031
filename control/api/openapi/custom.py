"""The schema of a custom kind, as its CustomResourceDefinition states it, in either version of OpenAPI.

Version 2 knows less: what it has no words for is left out, and below a schema that clients of version 2 would read
wrongly (nullable values, unknown fields kept) nothing is claimed.
"""

from __future__ import annotations

from typing import Any, Final

from control.api.kind import Kind
from control.api.openapi.dialect import Dialect

Json = dict[str, Any]

_ONLY_V3: Final = frozenset({"oneOf", "anyOf", "allOf", "not", "nullable", "default", "x-kubernetes-validations"})


def custom_schema(kind: Kind, dialect: Dialect, base: Json) -> Json:
    """The schema of a custom kind. base: apiVersion, kind and metadata, which every object has."""
    raw = kind.structural.schema if kind.structural is not None else {}
    schema = _v2(raw) if dialect.version == 2 else dict(raw)
    properties = {**schema.get("properties", {}), **base}
    return {**schema, "type": "object", "properties": dict(sorted(properties.items()))}


def _v2(schema: Json) -> Json:
    if schema.get("nullable") or schema.get("x-kubernetes-preserve-unknown-fields"):
        kept = {"description", "x-kubernetes-preserve-unknown-fields"}
        return {key: value for key, value in schema.items() if key in kept}
    return {key: _v2_member(key, value) for key, value in schema.items() if key not in _ONLY_V3}


def _v2_member(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: _v2(part) for name, part in value.items()}
    return _v2(value) if key in ("items", "additionalProperties") and isinstance(value, dict) else value
