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
# Which rows are asked about; a slice is a view, so one row costs what one row should.
At = slice | Numbers
ALL: Final = slice(None)
NAME: Final = "metadata.name"


class NodeLabels:
    """Labels and names of nodes by row."""

    def __init__(self, capacity: int) -> None:
        # Every row's own number.
        self.numbers: Numbers = np.arange(capacity)
        self._columns: dict[str, Numbers] = {}
        self._values: dict[str, dict[str, int]] = {}
        self._rows: dict[int, Mapping[str, str]] = {}

    def grow(self, capacity: int) -> None:
        """Room for more rows."""
        more = capacity - len(self.numbers)
        self.numbers = np.arange(capacity)
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
            column = self._columns[key] = np.zeros_like(self.numbers)
            self._values[key] = {}
        return column

    def domains(self, key: str) -> int:
        """One more than the greatest value number of a key."""
        self.column(key)
        return len(self._values[key]) + 1

    def _number(self, key: str, value: str) -> int:
        numbers = self._values[key]
        return numbers.setdefault(value, len(numbers) + 1)

    def has(self, key: str, values: Sequence[str], at: At = ALL) -> Rows:
        """Rows whose value for the key is one of these."""
        column, known = self.column(key)[at], self._values[key]
        numbers = [known[value] for value in values if value in known]
        if len(numbers) == 1:
            return np.equal(column, numbers[0])
        return np.isin(column, numbers)

    def match(self, key: str, operator: str, values: Sequence[str], at: At = ALL) -> Rows:
        """Rows that one requirement of a node selector allows; Gt and Lt compare whole numbers."""
        match operator:
            case "In":
                return self.has(key, values, at)
            case "NotIn":
                return ~self.has(key, values, at)
            case "Exists":
                return np.not_equal(self.column(key)[at], 0)
            case "DoesNotExist":
                return np.equal(self.column(key)[at], 0)
            case "Gt" | "Lt":
                return self.has(key, [v for v in self._values.get(key, {}) if _compares(v, operator, values)], at)
        return np.zeros_like(self.numbers[at], np.bool_)

    def match_all(self, wanted: Mapping[str, str], at: At = ALL) -> Rows:
        """Rows that have all these labels."""
        found = np.ones_like(self.numbers[at], np.bool_)
        for key, value in wanted.items():
            found &= self.has(key, (value,), at)
        return found


def _compares(value: str, operator: str, bounds: Sequence[str]) -> bool:
    try:
        number, bound = int(value), int(bounds[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound


def term_rows(labels: NodeLabels, names: Mapping[str, int], term: Mapping[str, Any], at: At = ALL) -> Rows:
    """Rows that one term of a node selector allows; a term without requirements allows none."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return np.zeros_like(labels.numbers[at], np.bool_)
    found = np.ones_like(labels.numbers[at], np.bool_)
    for entry in expressions:
        found &= labels.match(entry["key"], entry["operator"], entry.get("values") or (), at)
    for entry in fields:
        found &= _field_rows(labels.numbers[at], names, entry)
    return found


def _field_rows(rows: Numbers, names: Mapping[str, int], entry: Mapping[str, Any]) -> Rows:
    found = np.zeros_like(rows, np.bool_)
    if entry["key"] == NAME:
        found = np.isin(rows, [names[value] for value in entry.get("values") or () if value in names])
    return ~found if entry["operator"] == "NotIn" else found
