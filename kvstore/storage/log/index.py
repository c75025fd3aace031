"""Where each entry of the log is: 16 bytes an entry, whatever its size.

Invariants: `base < first == base + 1 <= last + 1`; the entry at `base` is gone but its term is known, because Raft
compares it; places grow with the index, because an entry that overrides another one is written after it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

from kvstore.invariant import InvariantViolation, invariant

# A place is `segment sequence << _SHIFT | offset of the batch's record`.
_SHIFT = 40
_OFFSET = (1 << _SHIFT) - 1


def place_of(sequence: int, offset: int) -> int:
    """A segment's sequence number and an offset in it as one int."""
    return sequence << _SHIFT | offset


def split(place: int) -> tuple[int, int]:
    """Sequence number and offset of a place."""
    return place >> _SHIFT, place & _OFFSET


class EntryIndex:
    """Terms and places of the entries base + 1 … last."""

    __slots__ = ("_places", "_terms", "base", "base_term", "last")

    def __init__(self, base: int = 0, base_term: int = 0) -> None:
        self.restart(base, base_term)

    def restart(self, base: int, base_term: int) -> None:
        """Forget every entry; the next one is base + 1."""
        self.base = base
        self.base_term = base_term
        self.last = base
        self._terms = array("Q")
        self._places = array("Q")

    def extend(self, first: int, terms: Sequence[int], place: int) -> None:
        """The entries from `first` on are in the batch at `place`; what was there from `first` on is overridden."""
        if not self.base < first <= self.last + 1:
            raise InvariantViolation(f"entries from {first} do not join {self.base}..{self.last}")
        if first <= self.last:
            keep = first - self.base - 1
            del self._terms[keep:]
            del self._places[keep:]
        self._terms.extend(terms)
        self._places.extend([place] * len(terms))
        self.last = first + len(terms) - 1

    def term(self, index: int) -> int:
        """Term of base <= index <= last."""
        return self._terms[index - self.base - 1] if index > self.base else self.base_term

    def place(self, index: int) -> int:
        """Place of base < index <= last."""
        return self._places[index - self.base - 1]

    def last_in(self, sequence: int) -> int:
        """The last index whose entry is in that segment or an older one; base if there is none."""
        return self.base + bisect_left(self._places, place_of(sequence + 1, 0))

    def drop_to(self, index: int) -> None:
        """Forget the entries up to index, which must be known."""
        invariant(self.base <= index <= self.last, f"can't drop to {index} of {self.base}..{self.last}")
        self.base_term = self.term(index)
        count = index - self.base
        del self._terms[:count]
        del self._places[:count]
        self.base = index
