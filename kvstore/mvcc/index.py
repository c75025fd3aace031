"""Live keys in memory: key → packed revision, and their order.

A dict answers for one key, a sorted list for ranges; positions in the list make counts and limits cost O(log n).
Nothing here grows with values or history.

After a start only the order is there: revisions are learned bit by bit, or when one is asked for (UnlearnedRevisions),
so that a member with many keys serves in half the time.

Invariants: the dict and the list hold the same keys, once the dict is complete; until then the table knows the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from sortedcontainers import SortedList

TO_THE_END: Final = b"\0"
"""etcd's range_end for "every key from `key` on"."""


class UnlearnedRevisions:
    """Stands for the dict of revisions while not all are known: what is not known is looked up.

    known: the dict that is to become complete.
    """

    __slots__ = ("_find", "known")

    def __init__(self, find: Callable[[bytes], int]) -> None:
        """find: the packed revision of a key as the tables have it now, 0 for one that is not alive."""
        self._find = find
        self.known: dict[bytes, int] = {}

    def get(self, key: bytes, default: int) -> int:
        """As a dict's."""
        found = self.known.get(key, 0)
        if not found:
            found = self._find(key)
            if not found:
                return default
            self.known[key] = found
        return found

    def __getitem__(self, key: bytes) -> int:
        found = self.get(key, 0)
        if not found:
            raise KeyError(key)
        return found

    def __contains__(self, key: bytes) -> bool:
        return self.get(key, 0) != 0

    def __setitem__(self, key: bytes, revision: int) -> None:
        self.known[key] = revision

    def __delitem__(self, key: bytes) -> None:
        self.known.pop(key, None)


class KeyIndex:
    """Every live key and its current packed revision.

    revisions: key → packed revision; read it directly, write it through the methods. It is another object once
    everything is learned: nobody keeps it.
    order: the same keys, sorted.
    """

    __slots__ = ("_learned_to", "order", "revisions")

    def __init__(self, keys: Iterable[bytes] = (), find: Callable[[bytes], int] | None = None) -> None:
        """find: as of UnlearnedRevisions; None only without keys."""
        self.order = SortedList(keys)
        self.revisions: dict[bytes, int] | UnlearnedRevisions = {}
        if self.order and find is not None:
            self.revisions = UnlearnedRevisions(find)
        self._learned_to = b""

    def __len__(self) -> int:
        return len(self.order)

    def unlearned(self, most: int) -> list[bytes]:
        """The next keys, at most so many (one or more), whose revisions may be unknown; none once all are known."""
        if isinstance(self.revisions, dict):
            return []
        low: int = self.order.bisect_left(self._learned_to)
        if low == len(self.order):
            self.revisions = self.revisions.known
            return []
        keys = list(self.order.islice(low, low + most))
        self._learned_to = keys[-1] + b"\0"
        return keys

    def learn(self, keys: list[bytes], revisions: Iterable[int]) -> None:
        """The current revisions of these live keys. What unlearned() gave must be told before anything is written."""
        if isinstance(self.revisions, UnlearnedRevisions):
            self.revisions.known.update(zip(keys, revisions, strict=True))

    def add(self, key: bytes, revision: int) -> None:
        """The key, which was not alive, is so at this revision."""
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
