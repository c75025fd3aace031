"""JSON values: equality as JSON has it, and the bounds a value from outside must keep.

Invariant: after check(), recursion over the value is at most MAX_DEPTH deep.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any, Final

from control.api import status

Json = Any

MAX_DEPTH: Final = 100


def equal(left: Json, right: Json) -> bool:
    """Whether two values are one JSON value: True is not 1, but 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def size(value: Json) -> int:
    """About how many bytes the value is as JSON; cheap, and never less than the number of its parts."""
    if isinstance(value, dict):
        return 2 + sum(len(key) + 4 + size(element) for key, element in value.items())
    if isinstance(value, list):
        return 2 + sum(1 + size(element) for element in value)
    return len(value) + 2 if isinstance(value, str) else 5


def check(value: Json, what: str) -> None:
    """Raises StatusError 400 when the value is nested deeper than MAX_DEPTH. what: as "patch", for the message."""
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [part for outer in level for part in _parts(outer)]
        if not level:
            return
    raise status.bad_request(f"the {what} is nested deeper than {MAX_DEPTH} levels")


def _parts(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def token(value: Json) -> Hashable:
    """Something hashable that is the same for equal values and only for them."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | dict | list):
        return (json.dumps(value, sort_keys=True),)
    return (float(value), value) if isinstance(value, float) and not value.is_integer() else int(value)
