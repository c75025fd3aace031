"""Who runs next, when more requests come than may run at once: pure.

A *flow* is a user. Each flow has a queue of its own, and free seats go round the flows that wait, one each: one with a
thousand requests waits as long for its next seat as one with a single request.

Invariants: running <= seats; ordinary flows hold at most 4/5 of the seats together, and one flow at most 3/4 of those,
so that neither one client keeps the others out nor all of them the system's own parts (nodes, scheduler, controllers);
a waiter is granted or cancelled once.
Source of the idea: API Priority and Fairness of Kubernetes, and fair queuing (Nagle 1987).
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from kvstore.invariant import invariant

Waiter = TypeVar("Waiter")


@dataclass(frozen=True, slots=True)
class Flow:
    """Whose requests wait in line together. system: a part of the cluster itself."""

    name: str
    system: bool = False


class FairQueue(Generic[Waiter]):
    """Seats and lines. Waiter: whatever the shell waits with."""

    def __init__(self, seats: int, queue_length: int = 100, total: int = 2000) -> None:
        """queue_length: how many may wait in one flow; total: in all flows."""
        self.seats = seats
        self._for_all = max(1, seats * 4 // 5)
        self._for_one = max(1, self._for_all * 3 // 4)
        self._queue_length = queue_length
        self._total = total
        self._running: Counter[Flow] = Counter()
        self._lines: dict[bool, OrderedDict[Flow, deque[Waiter]]] = {True: OrderedDict(), False: OrderedDict()}
        self._system_next = True
        self.running = 0
        self.waiting = 0
        self._ordinary = 0

    def ask(self, flow: Flow, waiter: Waiter) -> bool | None:
        """True: it runs now, and must be followed by release. False: it waits. None: the line is full, refuse it."""
        if self._may_run(flow) and not self._lines[flow.system].get(flow):
            self._start(flow)
            return True
        line = self._lines[flow.system].get(flow)
        if self.waiting >= self._total or (line is not None and len(line) >= self._queue_length):
            return None
        self._lines[flow.system].setdefault(flow, deque()).append(waiter)
        self.waiting += 1
        return False

    def cancel(self, flow: Flow, waiter: Waiter) -> bool:
        """The waiter gives up. False: it was granted already, and its seat must be released."""
        line = self._lines[flow.system].get(flow)
        if line is None or waiter not in line:
            return False
        line.remove(waiter)
        self.waiting -= 1
        if not line:
            del self._lines[flow.system][flow]
        return True

    def release(self, flow: Flow) -> list[Waiter]:
        """A request of the flow has ended. Returns the waiters who run now."""
        invariant(self._running[flow] > 0, "a seat is released that nobody of the flow holds")
        self._running[flow] -= 1
        if not self._running[flow]:
            del self._running[flow]
        self.running -= 1
        self._ordinary -= not flow.system
        return list(self._grant())

    def _grant(self) -> Iterator[Waiter]:
        while self.running < self.seats:
            flow = self._next()
            if flow is None:
                return
            line = self._lines[flow.system]
            waiter = line[flow].popleft()
            self.waiting -= 1
            if line[flow]:
                line.move_to_end(flow)
            else:
                del line[flow]
            self._start(flow)
            yield waiter

    def _next(self) -> Flow | None:
        """Turn about between the system's flows and the others; within them, round the flows."""
        for system in (self._system_next, not self._system_next):
            for flow in self._lines[system]:
                if self._may_run(flow):
                    self._system_next = not system
                    return flow
        return None

    def _start(self, flow: Flow) -> None:
        self._running[flow] += 1
        self.running += 1
        self._ordinary += not flow.system
        invariant(self.running <= self.seats, "more requests run than there are seats")

    def _may_run(self, flow: Flow) -> bool:
        if self.running >= self.seats or self._running[flow] >= self._for_one:
            return False
        return flow.system or self._ordinary < self._for_all
