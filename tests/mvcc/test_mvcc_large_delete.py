"""Deletes in slices leave what a delete in one go leaves, wherever they stop and whoever looks meanwhile."""

from __future__ import annotations

import random

import pytest
from harness.memory_tables import MemoryTable, MemoryTables
from mvcc_lease_book import Leases, Recorder
from sortedcontainers import SortedDict

from kvstore.backup.writing import _history
from kvstore.mvcc.large_delete import LargeDelete
from kvstore.mvcc.meta import DELETE_UNFINISHED
from kvstore.mvcc.results import DeleteResult
from kvstore.mvcc.store import Store
from kvstore.mvcc.watch import WatchHub
from kvstore.pb import etcd_pb2 as pb

LEASE = 7


class World:
    """A store with keys of all lengths, some of them leased, some written twice, and neighbours of the range."""

    def __init__(self, seed: int, tables: MemoryTables | None = None) -> None:
        self.tables = tables or MemoryTables()
        self.leases = Leases({LEASE})
        self.sink = Recorder()
        self.store = Store(self.tables, self.leases, self.sink)
        if tables is None:
            self._fill(random.Random(seed))

    def _fill(self, dice: random.Random) -> None:
        names = [b"k/%03d" % number + b"x" * dice.choice((0, 0, 0, 500)) for number in range(40)]
        for name in (b"a", b"z", *dice.sample(names, 40), *dice.sample(names, 9)):
            lease = dice.choice((0, LEASE))
            self.store.put(pb.PutRequest(key=name, value=b"v", lease=lease))

    def copied(self) -> World:
        """What a member finds that is killed now."""
        tables = MemoryTables()
        for name, table in self.tables.tables.items():
            copy = tables.tables[name] = MemoryTable()
            copy.data = SortedDict(table.data)
        return World(0, tables)

    def dump(self) -> dict[str, dict[bytes, bytes]]:
        found = self.tables.dump()
        found["meta"].pop(DELETE_UNFINISHED, None)
        return found


def done(work: LargeDelete) -> DeleteResult:
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: DeleteResult = end.value
            return result


ALL_K = pb.DeleteRangeRequest(key=b"k/", range_end=b"k0", prev_kv=True)


@pytest.mark.parametrize("size", [1, 7, 40, 64])
def test_the_same_as_in_one_go(size: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    whole, sliced = World(seed), World(seed)
    expected, found = whole.store.delete_range(ALL_K), done(sliced.store.delete_range_slices(ALL_K, size))
    assert (found.revision, found.deleted, found.prev_kvs) == (expected.revision, expected.deleted, expected.prev_kvs)
    assert (sliced.dump(), sliced.leases.keys) == (whole.dump(), whole.leases.keys)
    assert sliced.sink.unread == [(found.revision, min(sliced_keys(whole)), max(sliced_keys(whole)))]
    assert done(sliced.store.delete_range_slices(ALL_K, size)).deleted == 0
    assert sliced.store.revision == found.revision
    assert len(sliced.sink.unread) == 1


def sliced_keys(world: World) -> list[bytes]:
    return [event.key for event in world.sink.published[-1][1]]


def test_keys_of_a_lease_in_any_order() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    whole, sliced = World(seed), World(seed)
    keys = list(whole.leases.keys[LEASE])
    whole.store.delete_keys(keys)
    done(sliced.store.delete_keys_slices(list(sliced.leases.keys[LEASE]), 2))
    assert sliced.dump() == whole.dump()


def test_killed_after_every_slice() -> None:
    """The tables are those of any commit in between; the request comes again, to what it has left."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    whole, sliced = World(seed), World(seed)
    whole.store.delete_range(ALL_K)
    before = sliced.store.revision
    for _ in sliced.store.delete_range_slices(ALL_K, 9):
        found = sliced.copied()
        assert found.store.unfinished
        assert found.store.revision == before
        result = done(found.store.delete_range_slices(ALL_K, 9))
        assert (result.revision, result.deleted) == (before + 1, 40)
        assert found.dump() == whole.dump()
        assert found.sink.unread == [(before + 1, b"", None)]
        assert not found.store.unfinished


def test_a_snapshot_for_clients_does_not_know_of_it() -> None:
    world = World(1)
    before = list(_history(world.tables))  # type: ignore[arg-type]
    work = world.store.delete_range_slices(ALL_K, 9)
    next(work)
    assert list(_history(world.tables)) == before  # type: ignore[arg-type]
    done(work)
    assert len(list(_history(world.tables))) == len(before) + 40  # type: ignore[arg-type]


def test_reads_of_the_past_and_hashes_go_on() -> None:
    world = World(2)
    store, everything = world.store, pb.RangeRequest(key=b"\0", range_end=b"\0")
    expected, value = store.range(everything).kvs, store.hash_kv(store.revision).hash
    pinned = store.range_slices(everything, 5)
    found = list(next(pinned).kvs)
    work = store.delete_range_slices(ALL_K, 3)
    for _ in work:
        found += [kv for part in [next(pinned, None)] if part is not None for kv in part.kvs]
        assert store.hash_kv(store.revision).hash == value
    found += [kv for part in pinned for kv in part.kvs]
    assert found == expected
    assert store.range(everything).count == 2


class Sink:
    """A watcher's events, one list a response."""

    buffered = 0

    def __init__(self) -> None:
        self.got: list[list[bytes]] = []

    def deliver(self, watcher: object, batch: object) -> None:
        self.got.append([event.key for event in batch.events])  # type: ignore[attr-defined]


def test_watchers_get_one_revision_and_others_nothing() -> None:
    hub = WatchHub()
    store = Store(MemoryTables(), Leases(), hub)
    hub.bind(store)
    names = [b"k/%05d" % number for number in range(4_500)]  # more than a walk reads in one go
    for name in names:
        store.put(pb.PutRequest(key=name))
    mine, one, other = Sink(), Sink(), Sink()
    hub.watch(mine, 1, b"k/", b"k0")  # type: ignore[arg-type]
    hub.watch(one, 1, names[-1], b"")  # type: ignore[arg-type]
    hub.watch(other, 1, b"l", b"\0")  # type: ignore[arg-type]
    done(store.delete_range_slices(ALL_K, 64))
    assert hub.slow_count == 2
    assert hub.catch_up(100), "a revision larger than a slice is not read in one go"
    while hub.catch_up(100):
        pass
    hub.flush()
    assert mine.got == [names]
    assert (one.got, other.got) == ([[names[-1]]], [])
    store.put(pb.PutRequest(key=names[0]))
    hub.flush()
    assert mine.got[1:] == [[names[0]]]
