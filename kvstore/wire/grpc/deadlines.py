"""Deadlines of many calls at a coarse grain: adding and removing one costs a dictionary operation, no timer.

The client keeps the exact deadline; ours only ends work that nobody waits for. So a call may run up to one grain
longer, never shorter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvstore.wire.grpc.call import Call

# Seconds.
GRAIN = 0.02


class Deadlines:
    """Invariant: a call with a deadline is in exactly the bucket its `deadline_bucket` names."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Call, None]] = {}
        self._next = 0

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, call: Call, at: float) -> None:
        """Watch the call until the time `at` (seconds, monotonic)."""
        number = max(int(at / GRAIN) + 1, self._next)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
        bucket[call] = None
        call.deadline_bucket = bucket

    def expired(self, now: float) -> list[Call]:
        """The calls whose time is over, removed."""
        current = int(now / GRAIN)
        late: list[Call] = []
        if len(self._buckets) < current - self._next:
            due = sorted(number for number in self._buckets if number <= current)
        else:
            due = [number for number in range(self._next, current + 1) if number in self._buckets]
        for number in due:
            late.extend(self._buckets.pop(number))
        self._next = current + 1
        return late
