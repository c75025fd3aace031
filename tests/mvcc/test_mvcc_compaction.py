"""Compaction: what stays, what goes, in slices, with a restart after any of them."""

from __future__ import annotations

import pytest
from harness.memory_tables import MemoryTables
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mvcc_lease_book import Leases, Recorder
from mvcc_pair import Pair
from mvcc_requests import deletes, puts, txns

from kvstore.errors import EtcdError
from kvstore.mvcc.store import Store
from kvstore.mvcc.types import DELETE, from_bytes
from kvstore.pb import etcd_pb2 as pb


def new_store(tables: MemoryTables | None = None) -> Store:
    return Store(tables or MemoryTables(), Leases(), Recorder())


def put(store: Store, key: bytes, value: bytes = b"") -> None:
    store.put(pb.PutRequest(key=key, value=value))


def delete(store: Store, key: bytes) -> None:
    store.delete_range(pb.DeleteRangeRequest(key=key))


def revisions(tables: MemoryTables) -> list[int]:
    """Main revisions that history still holds."""
    return [from_bytes(name) >> 32 for name in tables.table("history").data]


def finish(store: Store, budget: int = 2) -> None:
    while not store.compact_step(budget):
        pass


def needed(pair: Pair) -> set[int]:
    """Packed revisions that a finished compaction leaves: alive at the compacted revision, its own, and later."""
    alive: dict[bytes, int] = {}
    keep = set()
    for main, events in pair.sink.published:
        for event in events:
            if main > pair.model.compacted or (main == pair.model.compacted and event.type == DELETE):
                keep.add(event.revision)
            elif event.type == DELETE:
                alive.pop(event.key, None)
            else:
                alive[event.key] = event.revision
            if main == pair.model.compacted and event.type == DELETE:
                alive.pop(event.key, None)
    return keep | set(alive.values())


@settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.one_of(puts(), puts(), deletes, txns), max_size=20),
    st.lists(st.tuples(st.integers(1, 15), st.integers(0, 3)), max_size=3),
    st.integers(1, 5),
)
def test_what_is_left_is_what_can_be_read(sequence: list, compactions: list[tuple[int, int]], budget: int) -> None:
    pair = Pair()
    for position, req in enumerate(sequence):
        pair.do(req)
        for at, steps in compactions:
            if at == position:
                pair.do(pb.CompactionRequest(revision=pair.model.revision - steps))
                for _ in range(steps):
                    pair.store.compact_step(budget)
    finish(pair.store, budget)
    history = {from_bytes(name) for name in pair.tables.table("history").data}
    assert history == needed(pair)
    superseding = {from_bytes(value) for value in pair.tables.table("versions").data.values()}
    assert superseding <= history
    pair.compare_state()
    pair.compare_events()


@pytest.mark.parametrize("budget", [1, 2, 3, 100])
def test_restart_after_every_slice(budget: int) -> None:
    pair = Pair()
    for number in range(12):
        pair.do(pb.PutRequest(key=b"ab"[number % 2 : number % 2 + 1], value=bytes([number])))
        if number % 5 == 4:
            pair.do(pb.DeleteRangeRequest(key=b"a"))
    pair.do(pb.CompactionRequest(revision=11))
    done = False
    while not done:
        pair.start()
        assert pair.store.compaction_pending
        done = pair.store.compact_step(budget)
        pair.compare_state()
        pair.compare_events()
    pair.start()
    assert not pair.store.compaction_pending
    assert {from_bytes(name) for name in pair.tables.table("history").data} == needed(pair)


def test_a_slice_looks_at_no_more_than_its_budget() -> None:
    tables = MemoryTables()
    store = new_store(tables)
    for number in range(30):
        put(store, b"k", bytes([number]))
    store.compact(31)
    gone = []
    while not store.compact_step(4):
        gone.append(30 - len(revisions(tables)))
    assert gone == [3, 7, 11, 15, 19, 23, 27]
    assert revisions(tables) == [31]


def test_only_what_came_since_the_last_compaction_is_walked() -> None:
    store = new_store()
    for number in range(50):
        put(store, b"k%d" % number)
    store.compact(51)
    finish(store)
    put(store, b"k0")
    store.compact(52)
    assert store.compact_step(3)  # the compacted revision itself, the new one, and the end


def test_a_tombstone_at_the_compacted_revision_waits_for_the_next_one() -> None:
    tables = MemoryTables()
    store = new_store(tables)
    put(store, b"a")
    delete(store, b"a")
    put(store, b"b")
    store.compact(3)
    finish(store)
    assert revisions(tables) == [3, 4]
    assert [event.type for event in store.events(3, 3)] == [DELETE]
    store.compact(4)
    finish(store)
    assert revisions(tables) == [4]


def test_a_second_compaction_before_the_first_is_done() -> None:
    tables = MemoryTables()
    store = new_store(tables)
    for _ in range(4):
        put(store, b"a")
        delete(store, b"a")
    store.compact(5)
    assert not store.compact_step(4)  # stands behind the tombstone at 5, which only the next one may take
    store.compact(9)
    finish(store)
    assert revisions(tables) == [9]


def test_refusals() -> None:
    store = new_store()
    with pytest.raises(EtcdError, match="compacted"):
        store.compact(-1)
    with pytest.raises(EtcdError, match="future revision"):
        store.compact(2)
    store.compact(0)
    store.compact(1)
    assert store.compacted_revision == 1
    for revision in (1, 0, -5):
        with pytest.raises(EtcdError, match="compacted"):
            store.compact(revision)
    finish(store)


def test_reads_fail_as_soon_as_it_is_scheduled() -> None:
    store = new_store()
    for number in range(5):
        put(store, b"a", bytes([number]))
    store.compact(4)
    assert store.range(pb.RangeRequest(key=b"a", revision=4)).count == 1
    for end in (b"", b"\0"):
        with pytest.raises(EtcdError, match="compacted"):
            store.range(pb.RangeRequest(key=b"a", range_end=end, revision=3))


def test_the_revision_survives_when_history_is_empty() -> None:
    tables = MemoryTables()
    store = new_store(tables)
    put(store, b"a")
    delete(store, b"a")
    store.compact(3)
    finish(store)
    assert new_store(tables).revision == 3
    put(store, b"b")
    delete(store, b"b")
    store.compact(5)
    finish(store)
    again = new_store(tables)
    assert (again.revision, again.compacted_revision, again.key_count) == (5, 5, 0)


def test_names_cut_out_of_records_are_those_that_were_written() -> None:
    tables = MemoryTables()
    store = new_store(tables)
    keys = [
        b"k",
        b"a\0b",
        b"\0",
        b"z\0",
        *(bytes((65 + n,)) * size for n, size in enumerate((127, 128, 440, 441, 9000))),
    ]
    keys.append(b"\0" * 500)
    for _ in range(3):
        for key in keys:
            put(store, key)
    delete(store, keys[0])
    put(store, b"last")
    store.compact(store.revision)
    finish(store, 5)
    assert not tables.table("versions").data
    assert len(tables.table("history").data) == len(keys), "one revision of each that is alive, and the last put's"


def test_a_step_reads_no_more_than_a_megabyte_of_large_values() -> None:
    tables = MemoryTables()
    store = new_store(tables)
    for _ in range(9):
        put(store, b"k", bytes(300_000))
    store.compact(store.revision)
    left = []
    while not store.compact_step(1000):
        left.append(len(revisions(tables)))
    assert left == [6, 2], "four records a step, each of which supersedes the one before it"
    assert len(revisions(tables)) == 1
