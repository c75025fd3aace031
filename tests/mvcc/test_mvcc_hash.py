"""HashKV: numbers that etcd 3.5.1 gave for the same requests, and a slow reference for the rest."""

from __future__ import annotations

import google_crc32c
import pytest
from harness.memory_tables import MemoryTables
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mvcc_lease_book import Leases, Recorder

from kvstore.errors import EtcdError
from kvstore.mvcc.store import Store
from kvstore.mvcc.types import DELETE
from kvstore.pb import etcd_pb2 as pb


def new_store() -> Store:
    return Store(MemoryTables(), Leases({7}), Recorder())


def put(key: bytes, value: bytes = b"", lease: int = 0) -> pb.PutRequest:
    return pb.PutRequest(key=key, value=value, lease=lease)


def compact(store: Store, revision: int, *, physically: bool = True) -> None:
    store.compact(revision)
    while physically and not store.compact_step(2):
        pass


@pytest.mark.parametrize("physically", [True, False], ids=["removed", "only scheduled"])
def test_the_numbers_are_etcds(physically: bool) -> None:
    store = new_store()
    seen = []

    def note(revision: int = 0) -> None:
        result = store.hash_kv(revision)
        seen.append((result.hash, result.compact_revision))

    note()
    store.put(put(b"a", b"1"))
    store.put(put(b"b", b"2", 7))
    note()
    store.put(put(b"a", b"3"))
    ops = [pb.RequestOp(request_put=put(b"c")), pb.RequestOp(request_put=put(b"d", b"x" * 300))]
    store.txn(pb.TxnRequest(success=ops))
    note()
    note(3)
    store.delete_range(pb.DeleteRangeRequest(key=b"b"))
    store.delete_range(pb.DeleteRangeRequest(key=b"a", range_end=b"c"))
    note()
    compact(store, 5, physically=physically)
    note()
    note(6)
    from_c = pb.DeleteRangeRequest(key=b"c", range_end=b"\0")
    again = pb.RequestOp(request_put=put(b"d", b"again"))
    store.txn(pb.TxnRequest(success=[pb.RequestOp(request_delete_range=from_c), again]))
    note()
    store.delete_range(pb.DeleteRangeRequest(key=b"a", range_end=b"\0"))
    note()
    compact(store, 8, physically=physically)
    note()
    store.put(put(b"z"))
    note()
    store.delete_range(pb.DeleteRangeRequest(key=b"z"))
    note()
    note(9)
    compact(store, 10, physically=physically)
    note()
    store.put(put(b"y"))
    note()
    note(11)
    assert seen == [
        (1084519789, -1),
        (1848723582, -1),
        (1783300832, -1),
        (1848723582, -1),
        (1192417614, -1),
        (341024391, 5),
        (338084099, 5),
        (2122531517, 5),
        (999504614, 5),
        (2113162642, 8),
        (141756871, 8),
        (526923623, 8),
        (2113162642, 8),
        (3352841385, 10),
        (496001120, 10),
        (3352841385, 10),
    ]


def test_bounds() -> None:
    store = new_store()
    for value in range(5):
        store.put(put(b"a", bytes([value])))
    with pytest.raises(EtcdError, match="future revision"):
        store.hash_kv(7)
    compact(store, 4)
    with pytest.raises(EtcdError, match="compacted"):
        store.hash_kv(4)
    assert store.hash_kv(5).hash_revision == 5
    assert store.hash_kv().hash_revision == 6


def reference(events: list, compacted: int, target: int) -> int:
    """The rows that etcd's bucket would hold after a finished compaction, filtered as its HashByRev does."""
    alive: dict[int, dict[bytes, int]] = {}
    for bound in (compacted, target):
        alive[bound] = {}
        for event in events:
            if event.revision >> 32 <= bound:
                alive[bound][event.key] = event.revision
                if event.type == DELETE:
                    del alive[bound][event.key]
    keep = set(alive[target].values())
    crc = google_crc32c.value(b"key")
    for event in events:
        main, sub = event.revision >> 32, event.revision & 0xFFFFFFFF
        if main > target:
            continue
        if main <= compacted and alive[compacted].get(event.key) != event.revision:
            continue
        if main <= compacted and keep and event.revision not in keep:
            continue
        row = main.to_bytes(8, "big") + b"_" + sub.to_bytes(8, "big")
        row += b"t" + pb.KeyValue(key=event.key).SerializeToString() if event.type == DELETE else event.kv
        crc = google_crc32c.extend(crc, row)
    return crc


key = st.sampled_from([b"a", b"b", b"c", b"d" * 500])
change = st.tuples(st.sampled_from(["put", "put", "delete", "delete all"]), key, st.binary(max_size=2))


@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(change, max_size=12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 3), st.integers(1, 4))
def test_any_history(changes: list, compact_at: int, hash_at: int, steps: int, budget: int) -> None:
    sink = Recorder()
    store = Store(MemoryTables(), Leases(), sink)
    for kind, name, value in changes:
        if kind == "put":
            store.put(put(name, value))
        else:
            store.delete_range(pb.DeleteRangeRequest(key=name, range_end=b"\0" if kind == "delete all" else b""))
    if 0 < compact_at <= store.revision:
        store.compact(compact_at)
        for _ in range(steps):
            store.compact_step(2)
    events = [event for _, published in sink.published for event in published]
    target = hash_at if store.compacted_revision < hash_at <= store.revision else 0
    parts = list(store.hash_kv_slices(target, budget))
    assert parts[:-1] == [None] * (len(parts) - 1)
    assert parts[-1].hash == reference(events, store.compacted_revision, target or store.revision)


def test_writes_and_compactions_between_slices_do_not_change_what_is_hashed() -> None:
    store = new_store()
    for number in range(40):
        store.put(put(b"k%d" % (number % 7), bytes([number])))
    target = store.revision
    slices = store.hash_kv_slices(target, 3)
    for _ in range(5):
        assert next(slices) is None
        store.put(put(b"k1", b"later"))
    compact(store, target - 10)
    store.delete_range(pb.DeleteRangeRequest(key=b"k", range_end=b"l"))
    *_, result = slices
    assert (result.compact_revision, result.hash_revision) == (target - 10, target)
    assert result.hash == store.hash_kv(target).hash


def test_a_compaction_that_passes_the_revision_ends_the_hash() -> None:
    store = new_store()
    for number in range(20):
        store.put(put(b"k", bytes([number])))
    slices = store.hash_kv_slices(10, 3)
    assert next(slices) is None
    store.compact(12)
    with pytest.raises(EtcdError, match="compacted"):
        list(slices)
