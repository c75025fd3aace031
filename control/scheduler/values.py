"""One value a row, as numbers in an array: a label of nodes, or their taints.

Invariants: numbers[row] is the number of the row's value, 0 where it has none; a value that no row has any more has no
number, and its number is given to the next that comes: labels and taints that carry a name or a time come without end.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.bool_]
Numbers = NDArray[np.int64]

V = TypeVar("V", bound=Hashable)


class Values(Generic[V]):
    """numbers: by row. known: value → its number, of those that some row has."""

    def __init__(self, capacity: int) -> None:
        self.numbers: Numbers = np.zeros(capacity, np.int64)
        self.known: dict[V, int] = {}
        self._values: dict[int, V] = {}
        # By number: how many rows have it.
        self._rows: list[int] = [0]
        self._free: list[int] = []

    @property
    def size(self) -> int:
        """One more than the greatest number that was ever given."""
        return len(self._rows)

    def grow(self, capacity: int) -> None:
        """Room for more rows."""
        self.numbers = np.concatenate([self.numbers, np.zeros(capacity - len(self.numbers), np.int64)])

    def put(self, row: int, value: V) -> None:
        """The row's value from now on."""
        self.drop(row)
        number = self.known.get(value)
        if number is None:
            number = self.known[value] = self._new_number()
            self._values[number] = value
        self._rows[number] += 1
        self.numbers[row] = number

    def drop(self, row: int) -> None:
        """The row has no value from now on."""
        number = int(self.numbers[row])
        if number:
            self.numbers[row] = 0
            self._rows[number] -= 1
            if not self._rows[number]:
                del self.known[self._values.pop(number)]
                self._free.append(number)

    def _new_number(self) -> int:
        if self._free:
            return self._free.pop()
        self._rows.append(0)
        return len(self._rows) - 1
