"""The last few megabytes of published events, so that a watcher that is only a little behind does not read the disk.

The events are the very objects that were published: what their first watchers encoded is there for the late ones too.

Invariant: what it holds is consecutive; after a gap (nothing was published while there were no watchers, or a snapshot
was installed) it begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from kvstore.mvcc.types import StoredEvent


class RecentEvents:
    """Published revisions, the oldest dropped first."""

    __slots__ = ("_entries", "_first", "_limit", "_size")

    def __init__(self, limit: int) -> None:
        """limit: bytes of key-values to hold."""
        self._limit = limit
        self._entries: list[list[StoredEvent]] = []
        self._first = 0  # main revision of the first entry
        self._size = 0

    def add(self, main: int, events: list[StoredEvent]) -> None:
        """The events of a revision that was published."""
        if main != self._first + len(self._entries):
            self._entries, self._first, self._size = [], main, 0
        self._entries.append(events)
        for event in events:
            self._size += len(event.kv)
        if self._size > self._limit:
            self._trim()

    def since(self, start: int, end: int) -> Iterator[StoredEvent] | None:
        """Every event with start <= main revision <= end; None if not all of them are held."""
        if not self._first <= start <= end < self._first + len(self._entries):
            return None
        return chain.from_iterable(self._entries[start - self._first : end - self._first + 1])

    def _trim(self) -> None:
        # To half, so that taking from the front of a list costs nothing on average.
        dropped = 0
        while self._size > self._limit // 2:
            self._size -= sum(len(event.kv) for event in self._entries[dropped])
            dropped += 1
        del self._entries[:dropped]
        self._first += dropped
