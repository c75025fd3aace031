"""Live keys in memory: key → packed revision, and their order.

A dict answers for one key, a sorted list for ranges; positions in the list make counts and limits cost O(log n).
Nothing here grows with values or history.

Invariants: the dict and the list hold the same keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sortedcontainers import SortedList

TO_THE_END: Final = b"\0"
"""etcd's range_end for "every key from `key` on"."""


class KeyIndex:
    """Every live key and its current packed revision.

    revisions: key → packed revision; read it directly, write it through the methods.
    order: the same keys, sorted.
    """

    __slots__ = ("order", "revisions")

    def __init__(self, revisions: dict[bytes, int] | None = None) -> None:
        self.revisions: dict[bytes, int] = {} if revisions is None else revisions
        self.order = SortedList(self.revisions)

    def __len__(self) -> int:
        return len(self.revisions)

    def set(self, key: bytes, revision: int) -> None:
        """The key is alive at this revision."""
        if key not in self.revisions:
            self.order.add(key)
        self.revisions[key] = revision

    def remove(self, keys: list[bytes]) -> None:
        """These live keys, sorted, are dead."""
        for key in keys:
            del self.revisions[key]
        low = self.order.bisect_left(keys[0])
        high = self.order.bisect_right(keys[-1])
        if high - low == len(keys):
            del self.order[low:high]  # one cut instead of a search for each
        else:
            for key in keys:
                self.order.remove(key)

    def span(self, key: bytes, range_end: bytes) -> tuple[int, int]:
        """Positions [low, high) of the keys that etcd's (key, range_end) means."""
        if not range_end:
            if key not in self.revisions:
                return 0, 0
            low: int = self.order.bisect_left(key)
            return low, low + 1
        low = self.order.bisect_left(key)
        high = len(self.order) if range_end == TO_THE_END else self.order.bisect_left(range_end)
        return low, max(low, high)

    def count(self, key: bytes, range_end: bytes) -> int:
        """Number of live keys in the range."""
        if not range_end:
            return int(key in self.revisions)
        low, high = self.span(key, range_end)
        return high - low

    def keys(self, key: bytes, range_end: bytes) -> list[bytes]:
        """The live keys of the range, sorted."""
        if not range_end:
            return [key] if key in self.revisions else []
        low, high = self.span(key, range_end)
        return list(self.order.islice(low, high))

    def slice(self, low: int, high: int, *, reverse: bool = False) -> Iterator[bytes]:
        """The keys at positions [low, high); an unchanged index is presumed while it is in use."""
        keys: Iterable[bytes] = self.order.islice(low, high, reverse=reverse)
        return iter(keys)
