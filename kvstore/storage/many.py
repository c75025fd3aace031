"""The values of many keys of a table, read with few calls.

LMDB looks each key up from the root, and py-lmdb gives up the interpreter for each. Keys that are neighbours in the
table are read by going from one to the next, which costs half; what was written in the order of its keys lies so.
Keys that are numbers show by themselves where they may be neighbours: of those only the first and the last are made,
and no key is read on the way. As many steps as there are numbers, from the first to the last, can meet no others.
Nobody knows a value's size before it is read. Values too large for a leaf stand on pages of their own, which LMDB
counts: while those are few in the whole table, a group of keys may be large; else groups grow from one key on.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, repeat
from operator import itemgetter
from typing import Any, Final, TypeVar, cast

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
_bytes_of: Final = cast(Callable[[int, int, str], bytes], int.to_bytes)

Key = TypeVar("Key", bytes, int)


def values_of(transaction: Any, db: Any, keys: list[bytes], max_bytes: int) -> list[bytes]:
    """The values of the first keys, up to the one that makes them `max_bytes`, in order. All of them must be there."""
    return _collect(transaction, db, keys, max_bytes, _group)


def numbered_values_of(transaction: Any, db: Any, numbers: list[int], width: int, max_bytes: int) -> list[bytes]:
    """values_of() keys that are numbers of `width` bytes, the highest first; others may be in the table, too."""

    def read(cursor: Any, some: list[int]) -> list[bytes]:
        return _numbered_group(cursor, some, width)

    return _collect(transaction, db, numbers, max_bytes, read)


def _collect(
    transaction: Any, db: Any, keys: list[Key], max_bytes: int, read: Callable[[Any, list[Key]], list[bytes]]
) -> list[bytes]:
    cursor = transaction.cursor(db)
    stat = transaction.stat(db)
    few_large = stat["overflow_pages"] * stat["psize"] <= _FEW_LARGE
    most, group = (_GROUP, _GROUP) if few_large else (_LARGE_GROUP, 1)
    values: list[bytes] = []
    at = 0
    while at < len(keys) and max_bytes > 0:
        found = read(cursor, keys[at : at + group])
        at += group
        size = sum(map(len, found))
        values += found if size < max_bytes else found[: _needed(list(map(len, found)), max_bytes)]
        max_bytes -= size
        # As many as fit if they are like these: like the mean where a mistake is cheap, else like the largest of them.
        likely = size // len(found) if few_large else max(map(len, found))
        group = max(1, min(most, 2 * group, max_bytes // max(likely, 1)))
    return values


def _needed(sizes: list[int], max_bytes: int) -> int:
    """How many of the first of them are at least `max_bytes`."""
    for count, size in enumerate(sizes, 1):
        max_bytes -= size
        if max_bytes <= 0:
            return count
    return len(sizes)


def _numbered_group(cursor: Any, numbers: list[int], width: int) -> list[bytes]:
    """The values of all numbers."""
    values: list[bytes] = []
    at = 0
    while at < len(numbers):
        count = _steady(numbers, at)
        run = _walked(cursor, numbers[at : at + count], width) if count >= _FIRST_RUN else []
        if not run:
            count = _RUN
            run = _group(cursor, list(map(_bytes_of, numbers[at : at + count], repeat(width), repeat("big"))))
        values += run
        at += count
    return values


def _steady(numbers: list[int], at: int) -> int:
    """How many of them, from that one on, seem to follow one another at one distance; some may not. At most."""
    low, high = 1, len(numbers) - at
    if high < _FIRST_RUN:
        return 1
    first = numbers[at]
    step = numbers[at + 1] - first
    if step <= 0 or numbers[at + _FIRST_RUN - 1] - first != step * (_FIRST_RUN - 1):
        return 1
    if numbers[at + high - 1] - first == step * (high - 1):
        return high
    while high - low > 1:  # `low` of them do, `high` do not
        middle = (low + high) // 2
        if numbers[at + middle - 1] - first == step * (middle - 1):
            low = middle
        else:
            high = middle
    return low


def _walked(cursor: Any, numbers: list[int], width: int) -> list[bytes]:
    """The values of all numbers if they follow one another at one distance, and in the table with nothing between.

    There are _FIRST_RUN of them or more.
    """
    first, last = numbers[0], numbers[-1]
    if numbers != list(range(first, last + 1, numbers[1] - first)):
        return []
    if not cursor.set_key(first.to_bytes(width, "big")):
        return []
    steps = cursor.iternext(False, True)
    values = list(islice(steps, _FIRST_RUN))
    if cursor.key() != numbers[_FIRST_RUN - 1].to_bytes(width, "big"):
        return []  # others stand between: little was lost
    values += islice(steps, len(numbers) - _FIRST_RUN)
    return values if cursor.key() == last.to_bytes(width, "big") else []


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
