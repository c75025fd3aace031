"""The values of many keys of a table, read with few calls.

LMDB looks each key up from the root, and py-lmdb gives up the interpreter for each. Keys that are neighbours in the
table are read by going from one to the next, which costs half; what was written in the order of its keys lies so.
Nobody knows a value's size before it is read. Values too large for a leaf stand on pages of their own, which LMDB
counts: while those are few in the whole table, a group of keys may be large; else groups grow from one key on.
"""

from __future__ import annotations

from itertools import islice
from operator import itemgetter
from typing import Any, Final

from kvstore.invariant import invariant

# Octets of all large values of a table, up to which their sizes are not looked at.
_FEW_LARGE: Final = 8 << 20
# Keys read together: in a table of small values, and in one of large values.
_GROUP: Final = 512
_LARGE_GROUP: Final = 32
# Keys that are tried as neighbours: at first, and once some were.
_FIRST_RUN: Final = 8
_RUN: Final = 128

_key, _value = itemgetter(0), itemgetter(1)


def values_of(transaction: Any, db: Any, keys: list[bytes], max_bytes: int) -> list[bytes]:
    """The values of the first keys, up to the one that makes them `max_bytes`, in order. All of them must be there."""
    cursor = transaction.cursor(db)
    stat = transaction.stat(db)
    if stat["overflow_pages"] * stat["psize"] <= _FEW_LARGE:
        most = group = _GROUP
    else:
        most, group = _LARGE_GROUP, 1
    values: list[bytes] = []
    at = 0
    while at < len(keys) and max_bytes > 0:
        found = _group(cursor, keys[at : at + group])
        at += group
        sizes = list(map(len, found))
        size = sum(sizes)
        values += found if size < max_bytes else found[: _needed(sizes, max_bytes)]
        max_bytes -= size
        group = max(1, min(most, 2 * group, max_bytes // max(*sizes, 1, 1)))
    return values


def _needed(sizes: list[int], max_bytes: int) -> int:
    """How many of the first of them are at least `max_bytes`."""
    for count, size in enumerate(sizes, 1):
        max_bytes -= size
        if max_bytes <= 0:
            return count
    return len(sizes)


def _group(cursor: Any, keys: list[bytes]) -> list[bytes]:
    """The values of all keys."""
    values: list[bytes] = []
    at, run = 0, _FIRST_RUN
    while at < len(keys):
        wanted = keys[at : at + run]
        if run > 1 and cursor.set_key(wanted[0]):
            pairs = list(islice(cursor.iternext(True, True), len(wanted)))
            matched = _matched(list(map(_key, pairs)), wanted)
            values += map(_value, pairs[:matched])
            at += matched
            run = _RUN if matched >= _FIRST_RUN else 1
        else:
            # No neighbours here: the next ones are not either.
            wanted = keys[at : at + _RUN]
            values += map(_value, cursor.getmulti(wanted))
            at += len(wanted)
            run = _FIRST_RUN
    invariant(len(values) == len(keys), "a key that must be there is not in its table")
    return values


def _matched(found: list[bytes], wanted: list[bytes]) -> int:
    """How many keys, from the first on, are the wanted ones."""
    if found == wanted:
        return len(wanted)
    return next((n for n, (one, other) in enumerate(zip(found, wanted, strict=False)) if one != other), len(found))
