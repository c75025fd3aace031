"""The newest entries, kept in memory up to a number of bytes.

Followers and the apply loop nearly always read what was appended a moment ago; a follower that fell behind is served
from the segments and does not push the new entries out.
Invariant: the cached indexes are contiguous and end at the log's last one, or nothing is cached.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.raft.types import Entry

# What an Entry, its bytes object and its slot in the dict cost beside the data.
_OVERHEAD = 200


class EntryCache:
    """index → Entry for the last entries."""

    __slots__ = ("_bytes", "_entries", "_first", "_last", "_limit", "get")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[int, Entry] = {}
        # The dict's own method: one lookup an entry on the way to each follower.
        self.get = self._entries.get
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0
        self._first = 1
        self._last = 0

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add contiguous entries; those cached from the first one's index on are overridden."""
        first = entries[0].index
        if first <= self._last:
            self._cut_from(first)
        if not self._entries:
            self._first = first
        for entry in entries:
            self._entries[entry.index] = entry
            self._bytes += len(entry.data) + _OVERHEAD
        self._last = entries[-1].index
        while self._bytes > self._limit:
            self._drop(self._first)
            self._first += 1

    def drop_to(self, index: int) -> None:
        """Forget the entries up to index."""
        for old in range(self._first, min(index, self._last) + 1):
            self._drop(old)
        self._first = max(self._first, index + 1)

    def _cut_from(self, first: int) -> None:
        for index in range(max(first, self._first), self._last + 1):
            self._drop(index)
        self._last = min(self._last, first - 1)

    def _drop(self, index: int) -> None:
        self._bytes -= len(self._entries.pop(index).data) + _OVERHEAD
