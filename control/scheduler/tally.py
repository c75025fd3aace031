"""How many pods of a sort there are on which row: what the scheduler counts by group instead of pod by pod.

A cluster of 50,000 pods has a few hundred sorts of them (pods of one owner, pods with the same labels, pods that want
the same company), and every question about them has the same answer for a whole sort. Invariant: no sort and no row
with a count of zero is kept.
"""

from __future__ import annotations

from collections.abc import Hashable, ItemsView, Iterable, Mapping
from typing import Generic, TypeVar

import numpy as np

from control.scheduler.labels import Numbers

K = TypeVar("K", bound=Hashable)

# Pods by row.
ByRow = Mapping[int, int]


class Tally(Generic[K]):
    """Pods by sort and row."""

    def __init__(self) -> None:
        self._sorts: dict[K, dict[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._sorts)

    def __contains__(self, sort: K) -> bool:
        return sort in self._sorts

    def __getitem__(self, sort: K) -> ByRow:
        """KeyError: there is none of that sort."""
        return self._sorts[sort]

    def items(self) -> ItemsView[K, dict[int, int]]:
        """Every sort, with its pods by row."""
        return self._sorts.items()

    def change(self, sort: K, row: int, number: int) -> None:
        """So many more, or fewer, on a row."""
        rows = self._sorts.setdefault(sort, {})
        rows[row] = rows.get(row, 0) + number
        if not rows[row]:
            del rows[row]
        if not rows:
            del self._sorts[sort]


def together(found: Iterable[ByRow]) -> tuple[Numbers, Numbers]:
    """Rows and how many are there, of several sorts one after the other: a row may stand there more than once."""
    rows: list[int] = []
    numbers: list[int] = []
    for by_row in found:
        rows.extend(by_row)
        numbers.extend(by_row.values())
    return np.array(rows, np.int64), np.array(numbers, np.int64)
