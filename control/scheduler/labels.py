"""The labels of all nodes as columns: one array of value numbers a label key, so that a selector is a few array
operations whatever the number of nodes.

Invariant: column[row] is the number of the row's value for that key, 0 where it has none or there is no node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.bool_]
Numbers = NDArray[np.int64]
NAME: Final = "metadata.name"


class NodeLabels:
    """Labels and names of nodes by row."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._columns: dict[str, Numbers] = {}
        self._values: dict[str, dict[str, int]] = {}
        self._rows: dict[int, Mapping[str, str]] = {}

    def grow(self, capacity: int) -> None:
        """Room for more rows."""
        more = capacity - self._capacity
        self._capacity = capacity
        self._columns = {key: np.concatenate([c, np.zeros(more, np.int64)]) for key, c in self._columns.items()}

    def put(self, row: int, labels: Mapping[str, str]) -> None:
        """The row's labels from now on; {} when its node is gone."""
        before = self._rows.get(row, {})
        if before == labels:
            return
        for key in before.keys() - labels.keys():
            self._columns[key][row] = 0
        for key, value in labels.items():
            column = self.column(key)
            column[row] = self._number(key, value)
        self._rows[row] = dict(labels)

    def of(self, row: int) -> Mapping[str, str]:
        """The labels of a row."""
        return self._rows.get(row, {})

    def column(self, key: str) -> Numbers:
        """Value numbers of a key by row; 0: the node has no such label. Not to be changed."""
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = np.zeros(self._capacity, np.int64)
            self._values[key] = {}
        return column

    def domains(self, key: str) -> int:
        """One more than the greatest value number of a key."""
        self.column(key)
        return len(self._values[key]) + 1

    def _number(self, key: str, value: str) -> int:
        numbers = self._values[key]
        return numbers.setdefault(value, len(numbers) + 1)

    def has(self, key: str, values: Sequence[str]) -> Rows:
        """Rows whose value for the key is one of these."""
        column, known = self.column(key), self._values[key]
        numbers = [known[value] for value in values if value in known]
        if len(numbers) == 1:
            return np.equal(column, numbers[0])
        return np.isin(column, numbers)

    def match(self, key: str, operator: str, values: Sequence[str]) -> Rows:
        """Rows that one requirement of a node selector allows; Gt and Lt compare whole numbers."""
        match operator:
            case "In":
                return self.has(key, values)
            case "NotIn":
                return ~self.has(key, values)
            case "Exists":
                return np.not_equal(self.column(key), 0)
            case "DoesNotExist":
                return np.equal(self.column(key), 0)
            case "Gt" | "Lt":
                return self.has(key, [v for v in self._values.get(key, {}) if _compares(v, operator, values)])
        return np.zeros(self._capacity, np.bool_)

    def match_all(self, wanted: Mapping[str, str]) -> Rows:
        """Rows that have all these labels."""
        found = np.ones(self._capacity, np.bool_)
        for key, value in wanted.items():
            found &= self.has(key, (value,))
        return found


def _compares(value: str, operator: str, bounds: Sequence[str]) -> bool:
    try:
        number, bound = int(value), int(bounds[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound


def term_rows(labels: NodeLabels, names: Mapping[str, int], term: Mapping[str, Any], capacity: int) -> Rows:
    """Rows that one term of a node selector allows; a term without requirements allows none."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return np.zeros(capacity, np.bool_)
    found = np.ones(capacity, np.bool_)
    for entry in expressions:
        found &= labels.match(entry["key"], entry["operator"], entry.get("values") or ())
    for entry in fields:
        found &= _field_rows(names, entry, capacity)
    return found


def _field_rows(names: Mapping[str, int], entry: Mapping[str, Any], capacity: int) -> Rows:
    found = np.zeros(capacity, np.bool_)
    if entry["key"] == NAME:
        found[[names[value] for value in entry.get("values") or () if value in names]] = True
    return ~found if entry["operator"] == "NotIn" else found
