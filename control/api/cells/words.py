"""Small texts that many columns are made of: ages, label lists, shortened lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from control.api.meta import parse_time
from control.api.selectors import label_selector_of
from control.api.status import StatusError

NONE: Final = "<none>"
UNSET: Final = "<unset>"
UNKNOWN: Final = "<unknown>"

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400
_SPANS: Final = (
    # up to this many seconds: (unit, its letter, the finer unit, its letter); None: whole units only
    (2 * _MINUTE, (1, "s", None, "")),
    (10 * _MINUTE, (_MINUTE, "m", 1, "s")),
    (3 * _HOUR, (_MINUTE, "m", None, "")),
    (8 * _HOUR, (_HOUR, "h", _MINUTE, "m")),
    (2 * _DAY, (_HOUR, "h", None, "")),
    (8 * _DAY, (_DAY, "d", _HOUR, "h")),
    (2 * _YEAR, (_DAY, "d", None, "")),
    (8 * _YEAR, (_YEAR, "y", _DAY, "d")),
)


def human_duration(seconds: float) -> str:
    """As kubectl says it: "45s", "5m30s", "3h12m", "2d4h", "400d"."""
    if seconds < -1:
        return "<invalid>"
    whole = max(0, int(seconds))
    for limit, (unit, letter, finer, finer_letter) in _SPANS:
        if whole < limit:
            rest = whole % unit // finer if finer else 0
            return f"{whole // unit}{letter}" + (f"{rest}{finer_letter}" if rest else "")
    return f"{whole // _YEAR}y"


def since(time: str | None, now: datetime) -> str:
    """The time since a timestamp; "<unknown>" where there is none."""
    if not time:
        return UNKNOWN
    try:
        return human_duration((now - parse_time(time)).total_seconds())
    except ValueError:
        return "<invalid>"


def age(obj: Mapping[str, Any], now: datetime) -> str:
    return since((obj.get("metadata") or {}).get("creationTimestamp"), now)


def label_text(labels: Mapping[str, str] | None) -> str:
    """ "a=b,c=d", or "<none>"."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) if labels else NONE


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A label selector as text, or "<none>"."""
    try:
        return str(label_selector_of(selector)) or NONE
    except StatusError:
        return "<error>"


def some(entries: Sequence[str], most: int = 3, separator: str = ",", empty: str = NONE) -> str:
    """The first entries, and how many more there are."""
    if not entries:
        return empty
    more = f" + {len(entries) - most} more..." if len(entries) > most else ""
    return separator.join(entries[:most]) + more


def dig(obj: Mapping[str, Any], *path: str) -> Any:
    """The value some fields down; None: one is not there."""
    at: Any = obj
    for field in path:
        if not isinstance(at, Mapping):
            return None
        at = at.get(field)
    return at
