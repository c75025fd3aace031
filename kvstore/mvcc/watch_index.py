"""Which of many ranges contain a key: the look-up that every published event pays.

The ends of all ranges cut the key space into segments; each segment knows the items whose range covers it, so a look-up
is one bisection whatever the number of ranges. Ranges that would cover very many segments, or lie on very many others,
are kept in a plain list beside it: nested ranges cannot make the segments grow with the square of their number.

Invariants: `cover[i]` belongs to keys in [bounds[i-1], bounds[i]); an item is in every segment of its range, or in
`wide`; the items of a segment stand in the order in which they were added.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

from kvstore.invariant import invariant

T = TypeVar("T")

# Ranges on more segments, or over more other ranges, than this are looked at one by one.
MAX_COVER = 256


class RangeIndex(Generic[T]):
    """Items by the exact key or the range [start, end) that they want.

    The attributes are public to be read by the loop over published events, which cannot afford a call for each.
    """

    __slots__ = ("_uses", "bounds", "cover", "exact", "wide")

    def __init__(self) -> None:
        self.exact: dict[bytes, tuple[T, ...]] = {}
        self.bounds: list[bytes] = []
        self.cover: list[tuple[T, ...]] = [()]
        self.wide: tuple[tuple[bytes, bytes | None, T], ...] = ()
        # How many ranges begin or end at a bound.
        self._uses: dict[bytes, int] = {}

    def add_key(self, key: bytes, item: T) -> None:
        """The item wants this one key."""
        self.exact[key] = (*self.exact.get(key, ()), item)

    def remove_key(self, key: bytes, item: T) -> None:
        """Undo add_key."""
        left = tuple(other for other in self.exact[key] if other is not item)
        if left:
            self.exact[key] = left
        else:
            del self.exact[key]

    def add_range(self, start: bytes, end: bytes | None, item: T) -> None:
        """The item wants start <= key, and key < end unless end is None. start < end."""
        if self._too_wide(start, end):
            self.wide = (*self.wide, (start, end, item))
            return
        self._use(start)
        if end is not None:
            self._use(end)
        for i in self._segments(start, end):
            self.cover[i] = (*self.cover[i], item)

    def remove_range(self, start: bytes, end: bytes | None, item: T) -> None:
        """Undo add_range."""
        wide = tuple(entry for entry in self.wide if entry[2] is not item)
        if len(wide) < len(self.wide):
            self.wide = wide
            return
        for i in self._segments(start, end):
            self.cover[i] = tuple(other for other in self.cover[i] if other is not item)
        self._release(start)
        if end is not None:
            self._release(end)

    def match(self, key: bytes) -> list[T]:
        """Every item that wants the key; the loop over published events does the same in line."""
        found = [*self.exact.get(key, ()), *self.cover[bisect_right(self.bounds, key)]]
        found.extend(item for start, end, item in self.wide if start <= key and (end is None or key < end))
        return found

    def _segments(self, start: bytes, end: bytes | None) -> range:
        last = len(self.bounds) if end is None else bisect_left(self.bounds, end)
        return range(bisect_left(self.bounds, start) + 1, last + 1)

    def _too_wide(self, start: bytes, end: bytes | None) -> bool:
        first = bisect_right(self.bounds, start)
        last = len(self.bounds) if end is None else bisect_left(self.bounds, end)
        if last - first >= MAX_COVER:
            return True
        return any(len(self.cover[i]) >= MAX_COVER for i in range(first, last + 1))

    def _use(self, bound: bytes) -> None:
        uses = self._uses.get(bound, 0)
        self._uses[bound] = uses + 1
        if not uses:
            i = bisect_left(self.bounds, bound)
            self.bounds.insert(i, bound)
            # The segment is cut in two with the same cover.
            self.cover.insert(i, self.cover[i])

    def _release(self, bound: bytes) -> None:
        self._uses[bound] -= 1
        if not self._uses[bound]:
            del self._uses[bound]
            i = bisect_left(self.bounds, bound)
            invariant(self.cover[i] == self.cover[i + 1], "a range still ends at a bound that is taken away")
            del self.bounds[i], self.cover[i]
