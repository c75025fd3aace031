"""A run of plain puts (put_run.py) of one key and of one size, while nobody watches: clients that write a counter, a
heartbeat or a status again and again.

Each put supersedes the one before it, and versions count up with revisions. So the parts of all records are made as
columns, by iterators, and no line of Python is run for each of them.

Invariants: rows, index and heads are those of the same puts one by one.
Faults assumed: as for Keyspace; the rows of a run are in one transaction of the tables' owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, Final

from kvstore.varint import SPLIT, split_varint

from .keyspace import Head, Keyspace
from .put_run import VALUE_TAGS, key_end
from .types import EventSink, numbers_to_bytes

_FEWEST: Final = 6
"""Fewer are written as quickly one by one."""

_kind_of, _body_of = itemgetter(0), itemgetter(1)


def one_key_run(
    keyspace: Keyspace, sink: EventSink, requests: Sequence[Sequence[Any]], start: int, end: int, kind: int
) -> int:
    """Apply requests[start:end], or the first of them, if they are such puts; how many were applied.

    requests: as for `put_run`. Hot.
    """
    if end - start < _FEWEST or sink.watched:
        return 0
    first, last = requests[start][1], requests[end - 1][1]
    at = key_end(first)
    if not at or not last.startswith(first[:at]):
        return 0
    run = requests[start:end]
    bodies: list[bytes] = list(map(_body_of, run))
    same = first[:at] + VALUE_TAGS[len(first) - at]
    if not all(map(bytes.startswith, bodies, repeat(same))) or set(map(len, bodies)) != {len(first)}:
        return 0
    key = first[2:at]
    previous = keyspace.index.revisions.get(key, 0)
    head = keyspace.head(key, previous) if previous else None
    if head is None or set(map(_kind_of, run)) != {kind}:
        return 0
    return _write(keyspace, key, head, list(map(itemgetter(slice(at + 1, None)), bodies)))


def _write(keyspace: Keyspace, key: bytes, head: Head, values: list[bytes]) -> int:
    """Put these values, encoded with their lengths, or the first of them; how many."""
    _, old, create, version, opening, created, prefix = head
    main = keyspace.revision
    numbers, rest, turn = split_varint(main + 1)
    counts, more, last_turn = split_varint(version + 1)
    # No further than where another part of a varint would change.
    count = min(len(values), turn - main - 1, last_turn - version - 1)
    low, small = main + 1 & SPLIT, version + 1 & SPLIT
    revisions = range(main + 1 << 32, main + 1 + count << 32, 1 << 32)
    names = list(numbers_to_bytes(revisions, 12))
    superseded = [old, *names[:-1]]
    records = map(
        b"".join,
        zip(
            superseded,
            repeat(create),
            numbers_to_bytes(range(version + 1, version + 1 + count), 8),
            repeat(opening),
            numbers[low : low + count],
            repeat(rest + b"\x20"),
            counts[small : small + count],
            repeat(more + b"\x2a"),
            values,
            strict=False,
        ),
    )
    keyspace.unwritten = dict(zip(names, records, strict=False))
    versions = dict(zip(map(prefix.__add__, superseded), names, strict=True))
    keyspace.index.revisions[key] = revisions[-1]
    keyspace.heads[key] = (revisions[-1], names[-1], create, version + count, opening, created, prefix)
    keyspace.write_run(main + count, versions, {key: names[-1]})
    return count
