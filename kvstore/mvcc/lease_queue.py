"""A queue of moments: which leases have something due by now.

Entries are lazy: a lease that is renewed keeps the entry it has, and its true moment is looked up when the entry comes
up. So a renewal costs nothing here, and the heap holds one entry a lease however often it is renewed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable


class LeaseQueue:
    """Moments (seconds of the caller's monotonic clock) with one entry a lease."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._entry: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._entry)

    def schedule(self, lease: int, moment: float) -> None:
        """Look at the lease at `moment`, or at the moment it already has if that is earlier."""
        earlier = self._entry.get(lease)
        if earlier is None or moment < earlier:
            self._entry[lease] = moment
            heapq.heappush(self._heap, (moment, lease))

    def forget(self, lease: int) -> None:
        """Nothing is due for the lease any more."""
        self._entry.pop(lease, None)

    def due(self, now: float, limit: int, moment_of: Callable[[int], float | None]) -> list[int]:
        """At most `limit` leases whose true moment has come, earliest first; they leave the queue.

        moment_of: the true moment of a lease, never before the scheduled one; None if it has none any more.
        """
        found: list[int] = []
        while self._heap and len(found) < limit and self._heap[0][0] <= now:
            moment, lease = heapq.heappop(self._heap)
            if self._entry.get(lease) != moment:
                continue
            del self._entry[lease]
            true = moment_of(lease)
            if true is None:
                continue
            if true > moment:
                self.schedule(lease, true)
            else:
                found.append(lease)
        return found
