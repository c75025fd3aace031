"""What a work queue decides, with the clock passed in. Pure.

Invariants: a key is handed out to one worker at a time; added while it is worked on, it is handed out once more
afterwards; added several times before that, once. A delayed key is ready at the earliest of its times.
Limits are those of Kubernetes' default controller rate limiter: per key 5 ms, doubling with each failure in a row to
1,000 s; over all keys a bucket of 100 that fills by 10 a second; the longer of both counts.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_DELAY: Final = 0.005
LONGEST_DELAY: Final = 1000.0
BUCKET: Final = 100.0
REFILL: Final = 10.0


class QueueCore(Generic[K]):
    """Keys to be worked on."""

    def __init__(self, now: float) -> None:
        self._ready: deque[K] = deque()
        self._wanted: set[K] = set()
        self._at_work: set[K] = set()
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._count = 0
        self._failures: dict[K, int] = {}
        self._tokens, self._filled = BUCKET, now

    def __len__(self) -> int:
        """Keys that are ready; neither those at work nor the delayed ones."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Whether nothing is ready, at work or delayed."""
        return not (self._ready or self._at_work or self._due)

    def add(self, key: K) -> None:
        """Have the key worked on as soon as possible."""
        if key in self._wanted:
            return
        self._wanted.add(key)
        if key not in self._at_work:
            self._ready.append(key)

    def add_after(self, key: K, seconds: float, now: float) -> None:
        """Have the key worked on in that many seconds, or earlier if that was asked for."""
        if seconds <= 0:
            self.add(key)
            return
        due = now + seconds
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, key))

    def add_rate_limited(self, key: K, now: float) -> float:
        """Have the key worked on later, the later the more often this was called since forget(). The delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(min(FIRST_DELAY * 2.0 ** min(failures, 64), LONGEST_DELAY), self._reserve(now))
        self.add_after(key, delay, now)
        return delay

    def _reserve(self, now: float) -> float:
        """Take a token, from the future if need be; seconds until it is there."""
        self._tokens = min(BUCKET, self._tokens + max(now - self._filled, 0.0) * REFILL) - 1
        self._filled = max(now, self._filled)
        return max(-self._tokens / REFILL, 0.0)

    def failures(self, key: K) -> int:
        """How often add_rate_limited was called since forget()."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key was dealt with: its next failure is its first."""
        self._failures.pop(key, None)

    def advance(self, now: float) -> None:
        """Make ready what is due."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    def next_due(self) -> float | None:
        """When to call advance() next; None while nothing is delayed."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self) -> K | None:
        """A key to work on, until done(key); None when none is ready."""
        if not self._ready:
            return None
        key = self._ready.popleft()
        self._wanted.discard(key)
        self._at_work.add(key)
        return key

    def done(self, key: K) -> None:
        """The worker has finished; what was added meanwhile is ready now."""
        self._at_work.discard(key)
        if key in self._wanted:
            self._ready.append(key)
