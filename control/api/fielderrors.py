"""What is wrong with a field, in Kubernetes' words. Each function gives one cause for status.invalid.

A field is a path as people write it: "spec.containers[0].image", "data[key]", "metadata.labels".

Source: k8s.io/apimachinery's field errors (types and wording).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from control.api.status import Cause, quoted


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _cause(reason: str, words: str, field: str, detail: str) -> Cause:
    return Cause(reason, f"{words}: {detail}" if detail else words, field)


def required(field: str, detail: str = "") -> Cause:
    """It is absent or empty and must not be."""
    return _cause("FieldValueRequired", "Required value", field, detail)


def invalid(field: str, value: Any, detail: str = "") -> Cause:
    """The value does not do; detail says why."""
    return _cause("FieldValueInvalid", f"Invalid value: {_shown(value)}", field, detail)


def type_invalid(field: str, value: Any, detail: str) -> Cause:
    """The value has another type than the schema says."""
    return _cause("FieldValueTypeInvalid", f"Invalid value: {_shown(value)}", field, detail)


def not_supported(field: str, value: Any, choices: Iterable[str]) -> Cause:
    """The value is none of the choices."""
    listed = ", ".join(quoted(choice) for choice in sorted(choices))
    detail = f"supported values: {listed}" if listed else ""
    return _cause("FieldValueNotSupported", f"Unsupported value: {_shown(value)}", field, detail)


def forbidden(field: str, detail: str) -> Cause:
    """The field may not be set, or not be changed, here."""
    return _cause("FieldValueForbidden", "Forbidden", field, detail)


def duplicate(field: str, value: Any) -> Cause:
    """The value must be unique and is there twice."""
    return _cause("FieldValueDuplicate", f"Duplicate value: {_shown(value)}", field, "")


def not_found(field: str, value: Any) -> Cause:
    """The value names something that is not there."""
    return _cause("FieldValueNotFound", f"Not found: {_shown(value)}", field, "")


def too_long(field: str, limit: int) -> Cause:
    """More bytes than allowed."""
    return _cause("FieldValueTooLong", "Too long", field, f"may not be more than {limit} bytes")


def too_many(field: str, count: int, limit: int) -> Cause:
    """More entries than allowed."""
    noun = "item" if limit == 1 else "items"
    return _cause("FieldValueTooMany", f"Too many: {count}", field, f"must have at most {limit} {noun}")
