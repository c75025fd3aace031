"""Waiting for a condition, with a deadline and a reason; tests never sleep for a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], reason: str, timeout: float = 20.0, interval: float = 0.02) -> T:
    """Call `condition` until it returns something true, and return that.

    timeout and interval are in seconds. Raises TimeoutError naming `reason`.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout:g} s for: {reason}")
        time.sleep(interval)
