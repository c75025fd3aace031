"""Loading a history gives the tables that applying it gave; after compactions, the same answers and hashes."""

from __future__ import annotations

import contextlib

import pytest
from harness.memory_tables import MemoryTables
from harness.plan import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from mvcc_lease_book import Leases, Recorder
from mvcc_requests import LEASES, deletes, puts

from kvstore.errors import EtcdError
from kvstore.mvcc.encoding import HEADER, HEADER_SIZE, TOMBSTONE
from kvstore.mvcc.lease import Lessor
from kvstore.mvcc.loading import HistoryLoader
from kvstore.mvcc.meta import COMPACT_FINISHED, COMPACT_SCHEDULED
from kvstore.mvcc.store import Store
from kvstore.mvcc.types import from_bytes
from kvstore.pb import etcd_pb2 as pb

requests = st.lists(st.one_of(puts(), puts(), deletes), max_size=40)
EVERYTHING = pb.RangeRequest(key=b"\0", range_end=b"\0")


def apply(tables: MemoryTables, story: list[pb.PutRequest | pb.DeleteRangeRequest]) -> Store:
    """A store that went through it; requests that are refused are passed over."""
    store = Store(tables, Leases(set(LEASES)), Recorder())
    for request in story:
        with contextlib.suppress(EtcdError):
            if isinstance(request, pb.PutRequest):
                store.put(request)
            else:
                store.delete_range(request)
    return store


def load(source: MemoryTables, store: Store, known: set[int] | None = None) -> MemoryTables:
    """New tables, filled with the history in those of a store."""
    tables = MemoryTables()
    loader = HistoryLoader(tables, (set(LEASES) if known is None else known).__contains__)
    for name, record in source.table("history").scan():
        take = loader.delete if HEADER.unpack_from(record)[5] & TOMBSTONE else loader.put
        take(from_bytes(name), record[HEADER_SIZE:])
    loader.finish(store.meta.get(COMPACT_SCHEDULED, -1), store.meta.get(COMPACT_FINISHED, -1))
    return tables


@settings(max_examples=examples(150), deadline=None)
@given(story=requests)
def test_the_same_tables(story: list[pb.PutRequest | pb.DeleteRangeRequest]) -> None:
    tables = MemoryTables()
    store = apply(tables, story)
    loaded = load(tables, store)
    for name in ("history", "keys", "versions"):
        assert dict(loaded.table(name).data) == dict(tables.table(name).data), name


@settings(max_examples=examples(150), deadline=None)
@given(before=requests, after=requests, steps=st.integers(0, 3), share=st.floats(0.1, 1), more=requests)
def test_the_same_answers_after_compactions(
    before: list[pb.PutRequest | pb.DeleteRangeRequest],
    after: list[pb.PutRequest | pb.DeleteRangeRequest],
    steps: int,
    share: float,
    more: list[pb.PutRequest | pb.DeleteRangeRequest],
) -> None:
    """steps: of a compaction that is not always finished when the history is taken."""
    tables = MemoryTables()
    store = apply(tables, before + after)
    compacted = max(int(store.revision * share), 1)
    store.compact(compacted)
    for _ in range(steps):
        store.compact_step(5)
    copy_tables = load(tables, store)
    copy = Store(copy_tables, Leases(set(LEASES)), Recorder())
    for one in (store, copy):
        for request in more:
            with contextlib.suppress(EtcdError):
                if isinstance(request, pb.PutRequest):
                    one.put(request)
                else:
                    one.delete_range(request)
    for _ in range(2):
        assert (copy.revision, copy.compacted_revision) == (store.revision, store.compacted_revision)
        for revision in range(compacted, store.revision + 1):
            at = pb.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
            assert copy.range(at).kvs == store.range(at).kvs
            if revision > compacted:
                assert copy.hash_kv(revision).hash == store.hash_kv(revision).hash
        for one in (store, copy):  # and once more when nothing is left to remove
            while not one.compact_step(7):
                pass
    assert dict(copy_tables.table("history").data).keys() == dict(tables.table("history").data).keys()


def test_a_key_is_not_attached_to_a_lease_that_does_not_exist() -> None:
    tables = MemoryTables()
    store = apply(tables, [pb.PutRequest(key=b"k", value=b"v", lease=7)])
    loaded = load(tables, store, known=set())
    copy = Store(loaded, Lessor(loaded), Recorder())
    assert copy.range(EVERYTHING).kvs == store.range(EVERYTHING).kvs
    copy.delete_range(pb.DeleteRangeRequest(key=b"k"))


def started(tables: MemoryTables) -> tuple[Store, Lessor]:
    """A store and its leases, as after a start."""
    lessor = Lessor(tables)
    return Store(tables, lessor, Recorder()), lessor


def loaded_without_the_lease() -> MemoryTables:
    """A key `k` that names the lease 7, which is not there."""
    tables = MemoryTables()
    return load(tables, apply(tables, [pb.PutRequest(key=b"k", value=b"v", lease=7)]), known=set())


def test_a_put_that_keeps_a_lease_that_does_not_exist_can_be_loaded_again() -> None:
    tables = loaded_without_the_lease()
    started(tables)[0].put(pb.PutRequest(key=b"k", value=b"w", ignore_lease=True))
    (kv,) = started(tables)[0].range(EVERYTHING).kvs
    assert pb.KeyValue.FromString(kv).value == b"w"


def test_a_lease_granted_after_its_key_was_loaded_has_the_keys_put_with_it() -> None:
    """On a member that went on as on one that was started again."""
    tables = loaded_without_the_lease()
    store, lessor = started(tables)
    lessor.grant(7, 100, 0.0)
    store.put(pb.PutRequest(key=b"k", value=b"w", lease=7))
    assert list(lessor.keys(7)) == [b"k"]
    assert list(started(tables)[1].keys(7)) == [b"k"]


@pytest.mark.parametrize(
    "kv",
    [
        pb.KeyValue(key=b"k", mod_revision=3, create_revision=2, version=1),
        pb.KeyValue(key=b"k", mod_revision=2, create_revision=3, version=1),
        pb.KeyValue(key=b"k", mod_revision=2, version=1),
    ],
)
def test_a_put_that_contradicts_its_revision_is_refused(kv: pb.KeyValue) -> None:
    loader = HistoryLoader(MemoryTables(), lambda lease: True)
    with pytest.raises(ValueError, match="says that it is of"):
        loader.put(2 << 32, kv.SerializeToString())
