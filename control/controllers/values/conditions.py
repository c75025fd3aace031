"""Conditions in lists: those of a status that is still being made.

Source: API conventions, "Typical status properties".
Invariant: lists and conditions given in are never changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from control.api.meta import set_condition, without_condition

__all__ = ["Condition", "find", "is_true", "says", "set_condition", "without_condition"]

Condition = dict[str, Any]


def find(conditions: Iterable[Condition] | None, kind: str) -> Condition | None:
    """The condition of that type."""
    return next((c for c in conditions or () if c.get("type") == kind), None)


def is_true(conditions: Iterable[Condition] | None, kind: str) -> bool:
    found = find(conditions, kind)
    return found is not None and found.get("status") == "True"


def says(conditions: Iterable[Condition] | None, kind: str, status: str, reason: str) -> bool:
    """Whether the condition stands with that status for that reason."""
    found = find(conditions, kind)
    return found is not None and found.get("status") == status and found.get("reason", "") == reason
