"""Columns of certificate signing requests."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from control.api.cells.words import NONE, dig, human_duration
from control.api.schema import Object


def _duration(request: Object, now: datetime) -> str:
    seconds = dig(request, "spec", "expirationSeconds")
    return NONE if seconds is None else human_duration(seconds)


def _condition(request: Object, now: datetime) -> str:
    types = {condition.get("type") for condition in dig(request, "status", "conditions") or ()}
    word = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    word += ",Failed" if "Failed" in types else ""
    return word + (",Issued" if dig(request, "status", "certificate") else "")


CELLS: Final[dict[str, Any]] = {"requested_duration": _duration, "request_condition": _condition}
