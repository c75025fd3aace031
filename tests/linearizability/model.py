"""What one store that does one thing at a time would answer: the specification that histories are held to.

A state is a tuple with one place for each key of a sorted list: (value, version), or None where the key does not exist.
Values and versions only, no revisions: those count every write of the whole store, so a check of some keys alone could
not know them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from linearizability.operations import ONE, Compare, Op, Request, Response

Cell = tuple[bytes, int] | None
State = tuple[Cell, ...]
# What one operation showed: (key, value, version) of what it read, replaced or deleted.
Shown = tuple[tuple[bytes, bytes, int], ...]
Outcome = tuple[bool, tuple[Shown, ...]]


@dataclass(frozen=True, slots=True)
class Model:
    """The store restricted to some keys, in their order."""

    keys: tuple[bytes, ...]

    def initial(self) -> State:
        """No key exists."""
        return (None,) * len(self.keys)

    def step(self, state: State, request: Request) -> tuple[State, Outcome]:
        """Run the request: the next state, and what its client is told."""
        succeeded = all(holds(compare, state[self._place(compare.key)]) for compare in request.compares)
        cells = list(state)
        shown = tuple(self._run(cells, op) for op in (request.success if succeeded else request.failure))
        return tuple(cells), (succeeded, shown)

    def _run(self, cells: list[Cell], op: Op) -> Shown:
        places = self._places(op)
        shown = tuple((self.keys[i], *cell) for i in places if (cell := cells[i]) is not None)
        if op.kind == "put":
            before = cells[places[0]]
            cells[places[0]] = (op.value, (before[1] if before else 0) + 1)
        elif op.kind == "delete":
            for i in places:
                cells[i] = None
        return shown

    def _places(self, op: Op) -> Sequence[int]:
        if op.end == ONE:
            return (self._place(op.key),)
        return range(bisect_left(self.keys, op.key), bisect_left(self.keys, op.end))

    def _place(self, key: bytes) -> int:
        place = bisect_left(self.keys, key)
        if place == len(self.keys) or self.keys[place] != key:
            raise KeyError(f"{key!r} is not among the keys of this model")
        return place


def holds(compare: Compare, cell: Cell) -> bool:
    """Whether a condition is true of its key."""
    if compare.target == "version":
        return _related(cell[1] if cell else 0, compare.relation, compare.operand)
    return cell is not None and _related(cell[0], compare.relation, compare.operand)


def outcome(response: Response) -> Outcome:
    """The part of an answer that the model speaks of."""
    return response.succeeded, tuple(
        tuple((kv.key, kv.value, kv.version) for kv in result) for result in response.results
    )


def _related(left: int | bytes, relation: str, right: int | bytes) -> bool:
    if relation == "=":
        return left == right
    if relation == "!=":
        return left != right
    if isinstance(left, int) and isinstance(right, int):
        return left < right if relation == "<" else left > right
    if isinstance(left, bytes) and isinstance(right, bytes):
        return left < right if relation == "<" else left > right
    raise TypeError(f"{left!r} and {right!r} cannot be compared")
