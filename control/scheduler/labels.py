"""The labels of all nodes as columns: one array of value numbers a label key, so that a selector is a few array
operations whatever the number of nodes.

Invariant: there is a column (values.py) for the keys that some row has, and for no others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from control.scheduler.values import Numbers as Numbers
from control.scheduler.values import Rows as Rows
from control.scheduler.values import Values

# Which rows are asked about; a slice is a view, so one row costs what one row should.
At = slice | Numbers
ALL: Final = slice(None)
NAME: Final = "metadata.name"
# Not longer than a label's value may be.
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,63}")


class NodeLabels:
    """Labels and names of nodes by row."""

    def __init__(self, capacity: int) -> None:
        # Every row's own number.
        self.numbers: Numbers = np.arange(capacity)
        self._columns: dict[str, Values[str]] = {}
        self._rows: dict[int, Mapping[str, str]] = {}
        self._none: Values[str] = Values(capacity)

    def grow(self, capacity: int) -> None:
        """Room for more rows."""
        self.numbers = np.arange(capacity)
        for column in (self._none, *self._columns.values()):
            column.grow(capacity)

    def put(self, row: int, labels: Mapping[str, str]) -> None:
        """The row's labels from now on; {} when its node is gone."""
        before = self._rows.pop(row, {})
        for key in before.keys() - labels.keys():
            self._columns[key].drop(row)
            if not self._columns[key].known:
                del self._columns[key]
        for key, value in labels.items() - before.items():
            if key not in self._columns:
                self._columns[key] = Values(len(self.numbers))
            self._columns[key].put(row, value)
        if labels:
            self._rows[row] = dict(labels)

    def of(self, row: int) -> Mapping[str, str]:
        """The labels of a row."""
        return self._rows.get(row, {})

    def column(self, key: str) -> Numbers:
        """Value numbers of a key by row; 0: the node has no such label. Not to be changed."""
        return self._columns.get(key, self._none).numbers

    def domains(self, key: str) -> int:
        """One more than the greatest value number of a key that was ever given."""
        return self._columns.get(key, self._none).size

    def has(self, key: str, values: Sequence[str], at: At = ALL) -> Rows:
        """Rows whose value for the key is one of these."""
        column = self._columns.get(key, self._none)
        numbers = [column.known[value] for value in values if value in column.known]
        if len(numbers) == 1:
            return np.equal(column.numbers[at], numbers[0])
        return np.isin(column.numbers[at], numbers)

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
                known = self._columns.get(key, self._none).known
                return self.has(key, [value for value in known if _compares(value, operator, values)], at)
        return np.zeros_like(self.numbers[at], np.bool_)

    def match_all(self, wanted: Mapping[str, str], at: At = ALL) -> Rows:
        """Rows that have all these labels."""
        found = np.ones_like(self.numbers[at], np.bool_)
        for key, value in wanted.items():
            found &= self.has(key, (value,), at)
        return found


def _compares(value: str, operator: str, bounds: Sequence[str]) -> bool:
    number, bound = _whole(value), _whole(bounds[0] if bounds else "")
    if number is None or bound is None:
        return False
    return number > bound if operator == "Gt" else number < bound


def _whole(text: str) -> int | None:
    """A number of 64 bits with its sign, in the digits 0 to 9 alone; None: it is none."""
    if not _WHOLE.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


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
