"""The state as it was at one main revision, while writes go on.

What changed since is undone: history is walked from the pinned revision on, and for each key the first change found
names, as its `previous`, what the key was then. The walk costs as much as has been written since, so a paged list of
a moment ago is nearly free; it goes in slices and picks up from where it stopped.

Invariants: `_then` holds every key changed in (pinned, seen], with its packed revision at the pinned one, 0 if it was
not alive; `_changed` holds the same keys in order.
Faults assumed: compaction passes the pinned revision; then `refresh` raises COMPACTED.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import islice

from sortedcontainers import SortedList

from kvstore.errors import error

from .encoding import HEADER, record_key
from .index import TO_THE_END
from .keyspace import END_OF_HISTORY, Keyspace
from .types import pack


class PinnedView:
    """Keys and revisions of `keyspace` at main revision `revision`. Refresh it before every use, but of the present."""

    __slots__ = ("_changed", "_keyspace", "_next", "_then", "revision")

    def __init__(self, keyspace: Keyspace, revision: int) -> None:
        self.revision = revision
        self._keyspace = keyspace
        self._next = pack(revision + 1)
        self._then: dict[bytes, int] = {}
        self._changed = SortedList()

    def refresh(self, budget: int) -> bool:
        """Look at no more than `budget` changes; True once all are seen. Raises COMPACTED."""
        if self.revision < self._keyspace.compacted:
            raise error("COMPACTED")
        records = self._keyspace.records(self._next, END_OF_HISTORY, budget)
        for revision, record in records:
            self._undo(record)
            self._next = revision + 1
        return len(records) < budget

    def _undo(self, record: bytes) -> None:
        key = record_key(record)
        if key in self._then:
            return
        main, sub = HEADER.unpack_from(record)[:2]
        self._then[key] = pack(main, sub)
        self._changed.add(key)

    def count(self, key: bytes, range_end: bytes) -> int:
        """Number of keys in the range."""
        live = self._keyspace.index.revisions
        count = self._keyspace.index.count(key, range_end)
        for changed in self._changed_in(key, range_end):
            count += (self._then[changed] != 0) - (changed in live)
        return count

    def page(self, key: bytes, range_end: bytes, most: int, *, reverse: bool = False) -> tuple[list[bytes], list[int]]:
        """The first `most` keys of the range in either order, and the packed revision of each."""
        if self._then:
            pairs = list(islice(self.pairs(key, range_end, reverse=reverse), most))
            return [name for name, _ in pairs], [revision for _, revision in pairs]
        index = self._keyspace.index  # hot: a call for all keys at once
        low, high = index.span(key, range_end)
        if reverse:
            low = max(low, high - most)
        keys: list[bytes] = index.order[low : min(high, low + most)]  # copies pieces of lists, unlike islice
        if reverse:
            keys.reverse()
        return keys, self._keyspace.revisions_of(keys)

    def pairs(self, key: bytes, range_end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, int]]:
        """The range's keys with their packed revisions, in order or from the end down; good until the next write."""
        index, then = self._keyspace.index, self._then
        revisions = index.revisions
        unchanged = ((k, revisions[k]) for k in index.slice(*index.span(key, range_end), reverse=reverse))
        if not then:
            return unchanged
        changed = ((k, then[k]) for k in self._changed_in(key, range_end, reverse=reverse) if then[k])
        return merge((pair for pair in unchanged if pair[0] not in then), changed, reverse=reverse)

    def _changed_in(self, key: bytes, range_end: bytes, *, reverse: bool = False) -> Iterator[bytes]:
        if not range_end:
            return iter([key] if key in self._then else [])
        end = None if range_end == TO_THE_END else range_end
        if end is not None and end <= key:
            return iter(())
        changed: Iterator[bytes] = self._changed.irange(key, end, inclusive=(True, False), reverse=reverse)
        return changed
