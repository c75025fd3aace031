"""Which pod is next: by priority and age; who failed waits, longer every time, and until something has changed.

Three places: *active* (to be tried now), *backoff* (to be tried at a time), *unschedulable* (nothing that could help
has happened). Pure: the clock is an argument. Invariant: a pod is in one place, or in hand.
Source: kube-scheduler's queue, as Kubernetes' documentation describes it: backoff 1 s doubling to 10 s, five minutes
after which a pod is tried anyway.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from control.scheduler.pod import Pod

FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 10.0
ANYWAY_AFTER: Final = 300.0
# Stale items that a heap may hold besides one for each pod.
_STALE: Final = 1000


@dataclass(slots=True)
class _Entry:
    pod: Pod
    since: float
    attempts: int = 0
    place: str = "active"
    tried_at: float = 0.0
    blocked_by: frozenset[str] = frozenset()
    # Something that may help happened while it was in hand.
    news: bool = False
    # Of its last move: heaps hold stale items, too, and an item counts if its number is still this one.
    number: int = 0


class SchedulingQueue:
    """Pods without a node, by uid."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._active: list[tuple[int, float, int, str]] = []
        # Both of (when to try, number, uid).
        self._backoff: list[tuple[float, int, str]] = []
        self._anyway: list[tuple[float, int, str]] = []
        # By what blocks them: of ten thousand that wait, most wait for the same few things. No group is empty.
        self._unschedulable: dict[frozenset[str], dict[str, _Entry]] = {}
        self._in_hand: dict[str, _Entry] = {}
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._entries)

    def count(self, place: str) -> int:
        """How many are in a place: active, backoff, unschedulable, gated, hand."""
        return sum(entry.place == place for entry in self._entries.values())

    def put(self, pod: Pod, now: float) -> None:
        """A pod that is new or has changed. A change of its own may make it schedulable."""
        entry = self._entries.get(pod.uid)
        if entry is None:
            entry = self._entries[pod.uid] = _Entry(pod, now)
            self._place(entry, "gated" if pod.gated else "active", now)
            return
        changed = _spec(entry.pod) != _spec(pod) or entry.pod.labels != pod.labels
        entry.pod = pod
        if entry.place == "gated" and not pod.gated:
            self._place(entry, "active", now)
        elif changed and entry.place == "unschedulable":
            self._retry(entry, now)
        elif changed and entry.place == "hand":
            entry.news = True

    def remove(self, uid: str) -> None:
        """The pod is gone, or has a node."""
        entry = self._entries.pop(uid, None)
        if entry is not None:
            self._no_longer_unschedulable(entry)
            self._in_hand.pop(uid, None)

    def holds(self, uid: str) -> bool:
        """Whether the pod still waits for a node, or is in hand."""
        return uid in self._entries

    def take(self, now: float) -> Pod | None:
        """The next pod to try, into the hand; None: none is due."""
        self._wake(now)
        while self._active:
            _, _, number, uid = heapq.heappop(self._active)
            entry = self._entries.get(uid)
            if entry is not None and entry.number == number:
                self._place(entry, "hand", now)
                entry.attempts += 1
                entry.tried_at = now
                entry.news = False
                return entry.pod
        return None

    def failed(self, uid: str, blocked_by: Collection[str], now: float) -> None:
        """The pod in hand found no node because of these filters; () after an error: try again after its backoff."""
        entry = self._entries.get(uid)
        if entry is None:
            return
        self._no_longer_unschedulable(entry)
        entry.blocked_by = frozenset(blocked_by)
        if entry.news or not blocked_by:
            self._retry(entry, now)
        else:
            self._place(entry, "unschedulable", now)

    def retry(self, uid: str, now: float) -> bool:
        """A pod that waits for news is tried again after its backoff; False: it does not wait for any."""
        entry = self._entries.get(uid)
        if entry is None or entry.place != "unschedulable":
            return False
        self._retry(entry, now)
        return True

    def later(self, uid: str, at: float) -> None:
        """The pod in hand is tried again at that time, whatever happens."""
        entry = self._entries.get(uid)
        if entry is not None:
            self._place(entry, "backoff", at)

    def in_hand(self) -> list[Pod]:
        """Pods that were taken, and of which nobody has said what became of them."""
        return [entry.pod for entry in self._in_hand.values()]

    def happened(
        self,
        helps: Callable[[frozenset[str]], bool],
        now: float,
        concerns: Callable[[Pod], bool] = lambda pod: True,
    ) -> None:
        """Something changed. helps(the filters a pod failed): whether that may make such a pod schedulable; concerns:
        which of those pods it is about.
        """
        for entry in self._in_hand.values():
            entry.news = entry.news or concerns(entry.pod)
        for blocked_by in [group for group in self._unschedulable if helps(group)]:
            for entry in list(self._unschedulable[blocked_by].values()):
                if concerns(entry.pod):
                    self._retry(entry, now)

    def next_at(self, now: float) -> float | None:
        """When take() may have something new without further news; None: never."""
        self._wake(now)
        self._drop_stale(self._active)
        if self._active:
            return now
        self._drop_stale(self._backoff)
        self._drop_stale(self._anyway)
        return min((heap[0][0] for heap in (self._backoff, self._anyway) if heap), default=None)

    def _wake(self, now: float) -> None:
        for heap in (self._backoff, self._anyway):
            while heap and heap[0][0] <= now:
                _, number, uid = heapq.heappop(heap)
                entry = self._entries.get(uid)
                if entry is not None and entry.number == number:
                    self._place(entry, "active", now)

    def _drop_stale(self, heap: list[Any]) -> None:
        while heap and not self._is_current(*heap[0][-2:]):
            heapq.heappop(heap)

    def _is_current(self, number: int, uid: str) -> bool:
        entry = self._entries.get(uid)
        return entry is not None and entry.number == number

    def _retry(self, entry: _Entry, now: float) -> None:
        due = entry.tried_at + backoff_of(entry.attempts)
        self._place(entry, "active" if due <= now else "backoff", max(due, now))

    def _place(self, entry: _Entry, place: str, at: float) -> None:
        """at: the time, or when to try it for who backs off."""
        self._numbers += 1
        uid = entry.pod.uid
        entry.place, entry.number = place, self._numbers
        self._no_longer_unschedulable(entry)
        self._in_hand.pop(uid, None)
        match place:
            case "active":
                heapq.heappush(self._active, (-entry.pod.priority, entry.since, entry.number, uid))
                self._thin_out(self._active)
            case "backoff":
                heapq.heappush(self._backoff, (at, entry.number, uid))
                self._thin_out(self._backoff)
            case "unschedulable":
                self._unschedulable.setdefault(entry.blocked_by, {})[uid] = entry
                heapq.heappush(self._anyway, (at + ANYWAY_AFTER, entry.number, uid))
                self._thin_out(self._anyway)
            case "hand":
                self._in_hand[uid] = entry

    def _thin_out(self, heap: list[Any]) -> None:
        """Who is tried again every ten seconds for want of room leaves thirty items before the first is due; and where
        nobody takes, in a process that stands by, every pod that ever was would leave one.
        """
        if len(heap) > 2 * len(self._entries) + _STALE:
            heap[:] = [item for item in heap if self._is_current(*item[-2:])]
            heapq.heapify(heap)

    def _no_longer_unschedulable(self, entry: _Entry) -> None:
        group = self._unschedulable.get(entry.blocked_by)
        if group is not None:
            group.pop(entry.pod.uid, None)
            if not group:
                del self._unschedulable[entry.blocked_by]


def backoff_of(attempts: int) -> float:
    """Seconds between a pod's attempts."""
    return float(min(FIRST_BACKOFF * 2.0 ** max(attempts - 1, 0), LONGEST_BACKOFF))


def _spec(pod: Pod) -> object:
    return pod.object["spec"]
