"""A delete of very many keys, in slices: one revision for whoever reads, many turns for whoever applies.

Keys go in order, so sub-revisions, history and the revision are those of a delete in one go, on every member and
however it was sliced. How far it is stands in the tables after every slice (`Keyspace.unfinished`), in the transaction
of that slice: the slices may be committed one by one, and after a crash the same request, applied again, goes on where
the tables stop.

Invariants: while one is unfinished nothing else writes keys, and the current revision is the one before it; reads of
the present wait (index and revision disagree), reads pinned to an older revision do not.
Faults assumed: a crash between two slices; then the log gives the same request again, before any other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from heapq import merge
from itertools import islice

from .keyspace import Keyspace
from .results import DeleteResult
from .types import EventSink, main_of, pack

Slices = Iterator[list[bytes]]

LargeDelete = Generator[None, None, DeleteResult]
"""Applies a slice whenever it is advanced; returns the result."""


def large_delete(keyspace: Keyspace, sink: EventSink, slices: Slices, *, prev_kv: bool = False) -> LargeDelete:
    """Delete the keys of all slices, in order, or what an interrupted delete has left of them.

    slices: live keys, sorted; each is taken right before it is deleted, an empty one is a turn without a delete.
    """
    resumed = keyspace.unfinished
    at = resumed or pack(keyspace.revision + 1)
    first, last = b"", None
    previous: list[bytes] = []
    for keys in slices:
        if keys:
            if prev_kv:
                previous += [keyspace.kv(keyspace.index.revisions[key]) for key in keys]
            keyspace.delete_part(at, keys)
            at += len(keys)
            first, last = first or keys[0], keys[-1]
        yield
    if keyspace.unfinished:
        keyspace.finish_delete()
        # What was deleted before a restart is not known any more: that could be keys on either side.
        sink.publish_unread(main_of(at), *((b"", None) if resumed else (first, last)))
    return DeleteResult(keyspace.revision, at & 0xFFFFFFFF, previous)


def range_slices(keyspace: Keyspace, key: bytes, range_end: bytes, size: int) -> Slices:
    """The live keys of etcd's (key, range_end), `size` at a time; those of the last slice must be gone by the next."""
    index = keyspace.index
    while True:
        low, high = index.span(key, range_end)
        if low == high:
            return
        yield list(index.slice(low, min(low + size, high)))


def sorted_slices(keys: list[bytes], size: int) -> Slices:
    """Keys in any order, sorted, `size` at a time; sorting them takes slices, too, which are empty."""
    runs: list[list[bytes]] = []
    for start in range(0, len(keys), 8 * size):
        runs.append(sorted(keys[start : start + 8 * size]))
        yield []
    ordered = merge(*runs)
    while found := list(islice(ordered, size)):
        yield found
