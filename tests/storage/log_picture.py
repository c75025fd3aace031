"""Entries for tests, and all that a log says of itself as one value that can be compared."""

from __future__ import annotations

import random
from dataclasses import dataclass

from kvstore.raft.types import ConfState, Entry, HardState, SnapshotMeta
from kvstore.storage import Log

EVERYTHING = 1 << 40


def entry(index: int, term: int = 1, data: bytes | None = None, kind: int = 0) -> Entry:
    """An entry whose data says where it belongs."""
    return Entry(term, index, kind, b"%d@%d" % (index, term) if data is None else data)


def entries(first: int, count: int, term: int = 1, size: int | None = None) -> list[Entry]:
    """`count` entries from `first` on, of `size` bytes each if it is given."""
    chance = random.Random(first * 1000 + term)
    return [entry(first + i, term, None if size is None else chance.randbytes(size)) for i in range(count)]


def meta(index: int, term: int = 1, voters: tuple[int, ...] = (1, 2, 3)) -> SnapshotMeta:
    """A snapshot's meta."""
    return SnapshotMeta(index, term, ConfState(voters))


@dataclass(frozen=True)
class Picture:
    """Everything a log promises to find again."""

    hard_state: HardState
    snapshot: SnapshotMeta
    first: int
    base_term: int
    entries: tuple[tuple[int, int, int, bytes], ...]


def picture(log: Log) -> Picture:
    """What the log says now, each entry read."""
    first, last = log.first_index(), log.last_index()
    found = log.entries(first, last + 1, EVERYTHING) if last >= first else []
    return Picture(
        log.initial_state()[0],
        log.snapshot_meta(),
        first,
        log.term(first - 1),
        tuple((one.index, one.term, one.kind, one.data) for one in found),
    )
