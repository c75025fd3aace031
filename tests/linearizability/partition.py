"""A history taken apart into histories that have no key in common.

Linearizability is local (Herlihy and Wing, 1990, theorem 1): a history is linearizable if and only if its parts are.
A transaction or a range over several keys keeps those keys in one part.
"""

from __future__ import annotations

from collections.abc import Sequence

from linearizability.operations import ONE, Operation


def partition(history: Sequence[Operation]) -> list[tuple[tuple[bytes, ...], list[Operation]]]:
    """(sorted keys, their operations in the order of the history), one pair a part."""
    known = {op.key for each in history for op in each.request.ops if op.end == ONE}
    known |= {compare.key for each in history for compare in each.request.compares}
    touched = [sorted(each.keys(known)) for each in history]
    groups = _Groups(known)
    for keys in touched:
        for key in keys[1:]:
            groups.join(keys[0], key)
    parts: dict[bytes, tuple[set[bytes], list[Operation]]] = {}
    for key in known:
        parts.setdefault(groups.root(key), (set(), []))[0].add(key)
    for each, keys in zip(history, touched, strict=True):
        if keys:
            parts[groups.root(keys[0])][1].append(each)
    return [(tuple(sorted(keys)), operations) for keys, operations in sorted(parts.values(), key=lambda p: min(p[0]))]


class _Groups:
    """Disjoint sets of keys."""

    def __init__(self, keys: set[bytes]) -> None:
        self._parent = {key: key for key in keys}

    def root(self, key: bytes) -> bytes:
        while (parent := self._parent[key]) != key:
            self._parent[key] = key = self._parent[parent]
        return key

    def join(self, one: bytes, other: bytes) -> None:
        self._parent[self.root(one)] = self.root(other)
