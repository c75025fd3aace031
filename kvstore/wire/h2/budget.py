"""Token buckets for the frames that ordinary peers send seldom. The time is passed in."""

from __future__ import annotations

from kvstore.wire.limits import Rate


class Budget:
    """0 <= left <= burst; one event costs one token."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left = float(rate.burst)
        self._at = 0.0

    def spend(self, now: float) -> bool:
        """Take one token at time `now` (seconds, monotonic); False if there is none."""
        left = min(self._rate.burst, self._left + max(0.0, now - self._at) * self._rate.per_second)
        self._at = now
        self._left = left - 1 if left >= 1 else left
        return left >= 1
