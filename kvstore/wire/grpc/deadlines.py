"""Deadlines of many calls at a coarse grain: a call that is answered within a grain costs next to nothing, any other
one a dictionary operation, and none a timer.

The client keeps the exact deadline; ours only ends work that nobody waits for. So a call may run up to one grain
longer, never shorter. One timer serves them all, and only while there is something to wait for: a server that ticked
for calls that are not there would wake an idle machine fifty times a second.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kvstore.wire.grpc.call import Call

# Seconds.
GRAIN = 0.02
_NEVER: Final = float("inf")


class Deadlines:
    """Invariants: a call with a deadline is either new, that is, has come within the last grain, or in the one bucket
    that its `deadline_bucket` names; every bucket's number is in the heap once; with calls there is an announced time,
    and nothing is to be done before it."""

    def __init__(self, earlier: Callable[[float], None] | None = None) -> None:
        """earlier: called with a time (seconds, monotonic) before all announced ones, at which `expired` and then
        `next_at` are to be called."""
        self._buckets: dict[int, dict[Call, None]] = {}
        self._numbers: list[int] = []
        # Calls that came together, and when: most are over before anybody looks.
        self._new: list[tuple[float, list[Call]]] = []
        self._announced: float = _NEVER
        self._earlier = earlier

    def __len__(self) -> int:
        new = sum(not call.closed for _, calls in self._new for call in calls)
        return new + sum(map(len, self._buckets.values()))

    def watch(self, calls: list[Call], now: float) -> None:
        """Watch these calls, which came now (seconds, monotonic) with a timeout each."""
        if not self._new and (now + GRAIN) / GRAIN < self._announced and self._earlier is not None:
            self._announced = (now + GRAIN) / GRAIN
            self._earlier(now + GRAIN)
        self._new.append((now, calls))

    def _sort_in(self) -> None:
        new, self._new = self._new, []
        for now, calls in new:
            for call in calls:
                if not call.closed and call.timeout is not None:
                    self.add(call, now + call.timeout)

    def add(self, call: Call, at: float) -> None:
        """Watch the call until the time `at` (seconds, monotonic)."""
        number = int(at / GRAIN) + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            heappush(self._numbers, number)
        bucket[call] = None
        call.deadline_bucket = bucket
        if number < self._announced and self._earlier is not None:
            self._announced = number
            self._earlier(number * GRAIN)

    def expired(self, now: float) -> list[Call]:
        """The calls whose time is over, removed."""
        self._sort_in()
        late: list[Call] = []
        while self._numbers and self._numbers[0] <= int(now / GRAIN):
            late.extend(self._buckets.pop(heappop(self._numbers)))
        return late

    def next_at(self) -> float | None:
        """When the next call's time is over (seconds, monotonic), which is announced by that; None without calls."""
        while self._numbers and not self._buckets[self._numbers[0]]:
            del self._buckets[heappop(self._numbers)]
        times = [float(self._numbers[0])] if self._numbers else []
        times += [now / GRAIN + 1 for now, _ in self._new[:1]]
        self._announced = min(times, default=_NEVER)
        return self._announced * GRAIN if times else None
