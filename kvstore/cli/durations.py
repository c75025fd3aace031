"""Durations as Go writes them: "5s", "1m30s", "500ms", and back."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"[+-]?(?:{_PART.pattern})+")


def parse(text: str) -> float:
    """Seconds. ValueError for what is no duration; a bare number is none but 0, as in Go."""
    if text in ("0", "+0", "-0"):
        return 0.0
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"invalid duration {text!r}: expected for example 5s, 500ms or 1m30s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def show(seconds: float) -> str:
    """As Go prints a duration below a minute: the largest unit that leaves a whole part, up to nine decimals."""
    nanoseconds = round(seconds * 1e9)
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if nanoseconds >= size:
            whole, rest = divmod(nanoseconds, size)
            decimals = f"{rest:0{len(str(size)) - 1}d}".rstrip("0")
            return f"{whole}.{decimals}{unit}" if decimals else f"{whole}{unit}"
    return f"{nanoseconds}ns" if nanoseconds else "0s"
