"""One walk through history for all the watchers that need about the same part of it.

A walk starts at the oldest revision that one of its watchers needs and reads up to the present, slice by slice. It ends
a slice only between two revisions; of a revision larger than LARGE events it reads part after part and delivers when
it has the last one. A watcher whose sink is full leaves it at the first revision that it did not get.

Invariant: whoever is still in the walk has had all it wanted below `position`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kvstore.invariant import invariant
from kvstore.mvcc.types import EventSource, StoredEvent
from kvstore.mvcc.watch_group import GroupSet, Watcher
from kvstore.mvcc.watch_recent import RecentEvents

LARGE = 4_096
"""Events that may be read in one go because they are of one revision."""


class Walk:
    """A set of watchers on their way through history."""

    def __init__(self, source: EventSource, recent: RecentEvents, watchers: list[Watcher]) -> None:
        """recent: read instead of the source where it can be. watchers: sorted by `next`."""
        self._source = source
        self._recent = recent
        self.set = GroupSet()
        self.position = watchers[0].next
        self._resume = 0  # packed revision at which a large revision, the first from `position` on, is to be read on
        for watcher in watchers:
            self.set.add(watcher)

    def leave(self, watcher: Watcher) -> None:
        """The watcher goes on elsewhere, from what it still needs."""
        self.set.discard(watcher)
        watcher.next = max(watcher.next, self.position)

    def step(self, events: int, size: int, bound: int, slow: Callable[[Watcher, int], None]) -> bool:
        """Read and deliver one slice of at most about so many events and bytes. Returns whether the present is reached.

        bound, slow: as in GroupSet.deliver; slow must take the watcher out of the walk.
        """
        source = self._source
        current = source.revision
        found, end = self._read(current, events, size)
        if found:
            self.set.collect(found)
        if self._resume:
            return False
        self.set.deliver(current, bound, source.previous_kv, slow)
        self.position = end + 1
        return end == current

    def _read(self, current: int, count: int, size: int) -> tuple[list[StoredEvent], int]:
        # The events of the slice, and the last revision that it holds or that had none.
        found: list[StoredEvent] = []
        last = self.position - 1
        begin = 0  # where the events of revision `last` begin in `found`
        read = 0
        if last >= current:
            return found, current
        for event in self._events(current):
            main = event.revision >> 32
            if main != last:
                invariant(main > last, "history is not in order")
                if len(found) >= count or read >= size:
                    return found, last
                last, begin = main, len(found)
            elif len(found) - begin >= LARGE:
                if begin:
                    return found[:begin], main - 1  # it is large: the next slice begins with it
                self._resume = event.revision
                return found, main - 1
            found.append(event)
            read += len(event.kv)
        return found, current

    def _events(self, current: int) -> Iterable[StoredEvent]:
        resume, self._resume = self._resume, 0
        # Above the position if there is no record of the revisions from there on.
        if resume >> 32 >= self.position:
            return self._source.events(self.position, current, resume)
        return self._recent.since(self.position, current) or self._source.events(self.position, current)
