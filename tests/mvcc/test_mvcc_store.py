"""The store's own promises, one by one: start, leases, single requests, transactions whole or not at all."""

from __future__ import annotations

import pytest
from harness.memory_tables import MemoryTables
from mvcc_lease_book import Leases, Recorder
from mvcc_pair import plain

from kvstore.errors import EtcdError
from kvstore.invariant import InvariantViolation
from kvstore.mvcc.meta import Meta
from kvstore.mvcc.store import Store
from kvstore.mvcc.types import DELETE, PUT, from_bytes
from kvstore.pb import etcd_pb2 as pb

LONG = b"p" * 2000


class Setup:
    def __init__(self, *leases: int) -> None:
        self.tables, self.leases, self.sink = MemoryTables(), Leases(set(leases)), Recorder()
        self.store = Store(self.tables, self.leases, self.sink)

    def reopened(self, *leases: int) -> Setup:
        again = Setup(*leases)
        again.tables = self.tables
        again.store = Store(again.tables, again.leases, again.sink)
        return again


def op(req: object) -> pb.RequestOp:
    field = {
        pb.PutRequest: "request_put",
        pb.RangeRequest: "request_range",
        pb.DeleteRangeRequest: "request_delete_range",
        pb.TxnRequest: "request_txn",
    }[type(req)]
    return pb.RequestOp(**{field: req})


def txn(*then: object, otherwise: tuple = (), compare: tuple = ()) -> pb.TxnRequest:
    return pb.TxnRequest(compare=compare, success=[op(req) for req in then], failure=[op(req) for req in otherwise])


def get(store: Store, key: bytes, **options: object) -> list[pb.KeyValue]:
    return [pb.KeyValue.FromString(kv) for kv in store.range(pb.RangeRequest(key=key, **options)).kvs]


def test_a_new_store() -> None:
    setup = Setup()
    store = setup.store
    assert (store.revision, store.compacted_revision, store.key_count) == (1, -1, 0)
    assert store.compact_step(1)
    assert plain(store.delete_range(pb.DeleteRangeRequest(key=b"a"))) == ("delete", 1, 0, [])
    assert plain(store.txn(txn())) == ("txn", True, [], 1, False)
    assert setup.sink.published == []


@pytest.mark.parametrize("key", [b"a", b"\0", b"\xff\xff", LONG, LONG + b"\0", b"\0" * 700])
def test_keys_of_any_kind_live_die_and_are_found_in_the_past(key: bytes) -> None:
    setup = Setup(3)
    store = setup.store
    store.put(pb.PutRequest(key=key, value=b"1"))
    store.put(pb.PutRequest(key=key, value=b"2", lease=3))
    store.delete_range(pb.DeleteRangeRequest(key=key))
    store.put(pb.PutRequest(key=key, value=b"3", lease=3))
    for found in (store, setup.reopened(3).store):
        for revision, value in ((2, b"1"), (3, b"2"), (5, b"3")):
            assert [kv.value for kv in get(found, key, revision=revision)] == [value]
        assert get(found, key, revision=4) == []
        assert [(kv.create_revision, kv.version) for kv in get(found, key)] == [(5, 1)]


def test_the_first_byte_string_of_a_long_keys_prefix_is_another_key() -> None:
    setup = Setup()
    names = [LONG + bytes([n]) for n in range(5)]
    for name in reversed(names):
        setup.store.put(pb.PutRequest(key=name, value=name[-1:]))
    setup.store.delete_range(pb.DeleteRangeRequest(key=names[2]))
    for store in (setup.store, setup.reopened().store):
        assert [kv.key for kv in get(store, LONG, range_end=b"q")] == names[:2] + names[3:]
        assert [kv.key for kv in get(store, LONG, range_end=b"q", revision=6)] == names


def test_live_keys_are_attached_to_their_leases_at_start() -> None:
    setup = Setup(1, 2, -3)
    for key, lease in ((b"a", 1), (b"b", 1), (LONG, 2), (b"c", -3), (b"d", 0), (b"e", 1), (b"f", 1)):
        setup.store.put(pb.PutRequest(key=key, lease=lease))
    setup.store.put(pb.PutRequest(key=b"e"))
    setup.store.delete_range(pb.DeleteRangeRequest(key=b"f"))
    assert setup.leases.keys == {1: {b"a", b"b"}, 2: {LONG}, -3: {b"c"}}
    assert setup.reopened(1, 2, -3).leases.keys == setup.leases.keys


def test_reload_after_the_tables_were_replaced() -> None:
    setup, other = Setup(4), Setup(4)
    setup.store.put(pb.PutRequest(key=b"old"))
    for number in range(4):
        other.store.put(pb.PutRequest(key=b"new", value=bytes([number]), lease=4))
    other.store.compact(3)
    for name, table in other.tables.tables.items():
        setup.tables.table(name).data.clear()
        setup.tables.table(name).data.update(table.data)
    setup.store.reload()
    assert (setup.store.revision, setup.store.compacted_revision, setup.store.key_count) == (5, 3, 1)
    assert setup.store.compaction_pending
    assert setup.leases.keys == {4: {b"new"}}
    assert setup.store.hash_kv().hash == other.store.hash_kv().hash


def test_keys_of_a_revoked_lease_go_in_one_revision_in_order() -> None:
    setup = Setup(9)
    for key, lease in ((b"c", 9), (b"a", 9), (b"b", 9), (b"bb", 0)):
        setup.store.put(pb.PutRequest(key=key, lease=lease))
    result = setup.store.delete_keys([b"c", b"a", b"gone", b"b", b"a"])
    assert plain(result) == ("delete", 6, 3, [])
    main, events = setup.sink.published[-1]
    assert (main, [(event.type, event.key) for event in events]) == (
        6,
        [(DELETE, b"a"), (DELETE, b"b"), (DELETE, b"c")],
    )
    assert setup.leases.keys == {9: set()}
    assert [kv.key for kv in get(setup.store, b"\0", range_end=b"\0")] == [b"bb"]
    assert plain(setup.store.delete_keys([b"gone"])) == ("delete", 6, 0, [])
    assert len(setup.sink.published) == 5


def test_empty_keys_are_refused() -> None:
    store = Setup().store
    for call in (
        lambda: store.put(pb.PutRequest()),
        lambda: store.range(pb.RangeRequest()),
        lambda: store.delete_range(pb.DeleteRangeRequest()),
        lambda: store.check_txn(txn(pb.PutRequest())),
    ):
        with pytest.raises(EtcdError, match="key is not provided"):
            call()


def test_the_bound_on_operations_is_the_stores() -> None:
    store = Store(MemoryTables(), Leases(), Recorder(), max_txn_ops=1)
    store.check_txn(txn(pb.PutRequest(key=b"a")))
    with pytest.raises(EtcdError, match="too many operations"):
        store.check_txn(txn(pb.PutRequest(key=b"a"), pb.PutRequest(key=b"b")))


def test_reads_in_a_transaction_see_its_writes_and_its_revision() -> None:
    store = Setup().store
    store.put(pb.PutRequest(key=b"a", value=b"old"))
    result = store.txn(
        txn(
            pb.RangeRequest(key=b"a", range_end=b"z"),
            pb.PutRequest(key=b"b", value=b"new"),
            pb.RangeRequest(key=b"a", range_end=b"z"),
            pb.RangeRequest(key=b"a", range_end=b"z", revision=2),
            pb.DeleteRangeRequest(key=b"a", prev_kv=True),
            pb.RangeRequest(key=b"a", range_end=b"z", count_only=True),
        )
    )
    counts = [inner.count for inner in result.results if hasattr(inner, "count")]
    assert counts == [1, 2, 1, 1]
    assert [inner.revision for inner in result.results] == [2, 3, 3, 3, 3, 3]
    assert (result.revision, result.changed, store.revision) == (3, True, 3)


def test_nested_compares_look_at_the_state_before_the_transaction() -> None:
    store = Setup().store
    exists = (pb.Compare(key=b"a", target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=0),)
    inner = txn(pb.PutRequest(key=b"seen"), otherwise=(pb.PutRequest(key=b"unseen"),), compare=exists)
    result = store.txn(txn(pb.PutRequest(key=b"a"), inner))
    assert plain(result) == ("txn", True, [("put", 2, None), ("txn", False, [("put", 2, None)], 0, False)], 2, True)
    assert get(store, b"unseen")[0].create_revision == 2


def test_sub_revisions_count_over_nested_transactions() -> None:
    setup = Setup()
    setup.store.put(pb.PutRequest(key=b"d"))
    setup.store.txn(
        txn(
            pb.PutRequest(key=b"a"),
            txn(pb.PutRequest(key=b"b"), pb.DeleteRangeRequest(key=b"d")),
            pb.PutRequest(key=b"c"),
        )
    )
    main, events = setup.sink.published[-1]
    assert main == 3
    assert [(event.key, event.type, event.revision) for event in events] == [
        (b"a", PUT, 3 << 32),
        (b"b", PUT, 3 << 32 | 1),
        (b"d", DELETE, 3 << 32 | 2),
        (b"c", PUT, 3 << 32 | 3),
    ]


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (pb.PutRequest(key=b"x", lease=8), "lease not found"),
        (pb.PutRequest(key=b"x", ignore_value=True), "key not found"),
        (pb.PutRequest(key=b"x", ignore_lease=True), "key not found"),
        (pb.RangeRequest(key=b"x", revision=4), "future revision"),
        (pb.RangeRequest(key=b"x", revision=1), "compacted"),
        (pb.RangeRequest(key=b"x", revision=-7), "compacted"),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_what_fails_last_leaves_nothing_behind(last: object, message: str, depth: int) -> None:
    setup = Setup(5)
    setup.store.put(pb.PutRequest(key=b"a", value=b"1", lease=5))
    setup.store.put(pb.PutRequest(key=b"a", value=b"2", lease=5))
    setup.store.compact(2)
    before, published = setup.tables.dump(), len(setup.sink.published)
    for _ in range(depth):
        last = txn(last)
    with pytest.raises(EtcdError, match=message):
        setup.store.txn(txn(pb.PutRequest(key=b"a", value=b"3"), pb.PutRequest(key=b"b"), last))
    assert setup.tables.dump() == before
    assert (setup.store.revision, setup.store.key_count, len(setup.sink.published)) == (3, 1, published)
    assert setup.leases.keys == {5: {b"a"}}


def test_errors_on_the_branch_not_taken_do_not_count() -> None:
    store = Setup().store
    result = store.txn(txn(pb.PutRequest(key=b"a"), otherwise=(pb.PutRequest(key=b"b", lease=77),)))
    assert result.succeeded


def test_a_put_that_keeps_the_value_behind_a_delete_from_key_on_is_refused() -> None:
    setup = Setup()
    setup.store.put(pb.PutRequest(key=b"b", value=b"v"))
    req = txn(pb.DeleteRangeRequest(key=b"a", range_end=b"\0"), pb.PutRequest(key=b"b", ignore_value=True))
    setup.store.check_txn(req)
    before = setup.tables.dump()
    with pytest.raises(EtcdError, match="key not found"):
        setup.store.txn(req)
    assert setup.tables.dump() == before
    assert get(setup.store, b"b")[0].value == b"v"


def test_ignore_value_and_ignore_lease_keep_what_was_there() -> None:
    setup = Setup(5, 6)
    setup.store.put(pb.PutRequest(key=b"a", value=b"v", lease=5))
    setup.store.put(pb.PutRequest(key=b"a", ignore_value=True, lease=6))
    assert [(kv.value, kv.lease, kv.version) for kv in get(setup.store, b"a")] == [(b"v", 6, 2)]
    setup.store.put(pb.PutRequest(key=b"a", value=b"w", ignore_lease=True))
    assert [(kv.value, kv.lease, kv.version) for kv in get(setup.store, b"a")] == [(b"w", 6, 3)]
    setup.store.put(pb.PutRequest(key=b"a"))
    assert [(kv.value, kv.lease, kv.version) for kv in get(setup.store, b"a")] == [(b"", 0, 4)]
    assert setup.leases.keys == {5: set(), 6: set()}


def test_a_large_revision_is_encoded_as_any_other() -> None:
    setup = Setup()
    setup.store.put(pb.PutRequest(key=b"a"))
    for revision in (1 << 14, 1 << 28, 1 << 40):
        setup.store._keyspace.revision = revision
        setup.sink.published.clear()
        setup.store.put(pb.PutRequest(key=b"a", value=b"v"))
        assert get(setup.store, b"a")[0].mod_revision == revision + 1
    assert setup.reopened().store.revision == (1 << 40) + 1


def test_missing_history_stops_the_store() -> None:
    setup = Setup()
    setup.store.put(pb.PutRequest(key=b"a"))
    history = setup.tables.table("history").data
    assert [from_bytes(name) for name in history] == [2 << 32]
    history.clear()
    with pytest.raises(InvariantViolation):
        setup.store.put(pb.PutRequest(key=b"a"))
    with pytest.raises(InvariantViolation):
        setup.store.range(pb.RangeRequest(key=b"a"))


def test_meta_holds_named_integers() -> None:
    setup = Setup()
    meta = setup.store.meta
    assert meta.applied == (0, 0)
    meta.set_applied(1 << 62, 7)
    meta.set(b"anything", -5)
    again = Meta(setup.tables)
    assert again.applied == (1 << 62, 7)
    assert (again.get(b"anything"), again.get(b"other"), again.get(b"other", 3)) == (-5, 0, 3)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"min_mod_revision": 4}, [b"a", b"c"]),
        ({"min_mod_revision": 5}, [b"a"]),
        ({"max_mod_revision": 4}, [b"b", b"c"]),
        ({"max_mod_revision": 3}, [b"b"]),
        ({"min_create_revision": 3}, [b"b", b"c"]),
        ({"min_create_revision": 4}, [b"c"]),
        ({"max_create_revision": 3}, [b"a", b"b"]),
        ({"max_create_revision": 2}, [b"a"]),
        ({"max_mod_revision": -1}, []),
        ({"min_create_revision": -1}, [b"a", b"b", b"c"]),
        ({"min_mod_revision": 3, "limit": 2, "sort_order": 2}, [b"c", b"b"]),
        ({"sort_target": 3, "sort_order": 2, "limit": 1}, [b"a"]),
        ({"sort_target": 3, "limit": 1}, [b"b"]),
        ({"sort_target": 2, "sort_order": 2, "limit": 1}, [b"c"]),
        ({"sort_target": 1, "sort_order": 2, "limit": 1}, [b"a"]),
        ({"sort_target": 4, "sort_order": 1}, [b"c", b"b", b"a"]),
        ({"sort_target": 4, "limit": 1}, [b"b"]),  # of the first two keys only: no order is asked for
    ],
)
def test_filters_and_orders(options: dict, found: list[bytes]) -> None:
    store = Setup().store
    for key, value in ((b"a", b""), (b"b", b"2"), (b"c", b"1"), (b"a", b"3")):
        store.put(pb.PutRequest(key=key, value=value))
    result = store.range(pb.RangeRequest(key=b"a", range_end=b"z", **options))
    assert [pb.KeyValue.FromString(kv).key for kv in result.kvs] == found
    assert result.count == 3
    assert result.more == ("limit" in options)


def test_previous_values_of_events() -> None:
    setup = Setup()
    store = setup.store
    store.put(pb.PutRequest(key=b"a", value=b"1"))
    store.put(pb.PutRequest(key=b"a", value=b"2"))
    store.delete_range(pb.DeleteRangeRequest(key=b"a"))
    store.put(pb.PutRequest(key=b"a", value=b"3"))

    def previous() -> list[bytes | None]:
        found = [store.previous_kv(event) for event in store.events(0, 99)]
        return [None if kv is None else pb.KeyValue.FromString(kv).value for kv in found]

    assert previous() == [None, b"1", b"2", None]
    store.compact(3)
    assert previous() == [None, None, b"2", None]


def test_events_may_be_read_while_the_store_is_written() -> None:
    store = Setup().store
    for number in range(600):
        store.put(pb.PutRequest(key=b"k%d" % number))
    seen = []
    for event in store.events(100, 550):
        seen.append(event.revision >> 32)
        if len(seen) % 100 == 0:
            store.put(pb.PutRequest(key=b"later"))
    assert seen == list(range(100, 551))
