"""Validation as the handlers use it: what is wrong becomes one refusal, 422 with all causes."""

from __future__ import annotations

from control.api.kind import Kind
from control.api.schema import Object


def check_create(kind: Kind, obj: Object) -> None:
    """StatusError 422 when a new object is not valid."""


def check_update(kind: Kind, new: Object, old: Object, subresource: str = "") -> None:
    """StatusError 422 when the new state is not valid, or may not follow the old one."""
