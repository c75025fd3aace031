"""The store against the model: random requests, every answer and the whole state compared, restarts in between."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from mvcc_lease_book import Leases, Recorder
from mvcc_memory_tables import MemoryTables
from mvcc_model import Model, Refused

from kvstore.errors import EtcdError, error
from kvstore.mvcc.results import DeleteResult, OpResult, PutResult, RangeResult
from kvstore.mvcc.store import Store
from kvstore.mvcc.types import DELETE, PUT
from kvstore.pb import etcd_pb2 as pb

LEASES = (7, -9)
LONG = b"a" * 500

keys = st.sampled_from(
    [b"a", b"a\0", b"a\0\0", b"a\0\xff", b"b", b"ba", b"c", b"\0", b"\xff", LONG, LONG + b"\0", LONG + b"x"]
)
values = st.binary(max_size=3)
ends = st.one_of(st.just(b""), st.just(b"\0"), keys)
leases = st.sampled_from([0, 0, 0, *LEASES, 5])
# Revisions are drawn relative to the current one, else most would be in the future.
back = st.integers(min_value=-1, max_value=12)


@st.composite
def puts(draw: st.DrawFn) -> pb.PutRequest:
    req = pb.PutRequest(key=draw(keys), prev_kv=draw(st.booleans()))
    if draw(st.integers(0, 7)) == 0:
        req.ignore_value = True
    else:
        req.value = draw(values)
    if draw(st.integers(0, 7)) == 0:
        req.ignore_lease = True
    else:
        req.lease = draw(leases)
    return req


deletes = st.builds(pb.DeleteRangeRequest, key=keys, range_end=ends, prev_kv=st.booleans())
bounds = st.one_of(st.just(0), st.just(0), st.integers(1, 30))
ranges = st.builds(
    pb.RangeRequest,
    key=keys,
    range_end=ends,
    limit=st.sampled_from([0, 0, 0, 1, 2, 5, -1]),
    revision=st.one_of(st.just(0), back),
    sort_order=st.sampled_from(pb.RangeRequest.SortOrder.values()),
    sort_target=st.sampled_from([0, 0, 0, *pb.RangeRequest.SortTarget.values()]),
    keys_only=st.booleans(),
    count_only=st.sampled_from([False, False, False, True]),
    min_mod_revision=bounds,
    max_mod_revision=bounds,
    min_create_revision=bounds,
    max_create_revision=bounds,
)
compares = st.one_of(
    st.builds(
        pb.Compare,
        key=keys,
        range_end=ends,
        target=st.just(target),
        result=st.sampled_from(pb.Compare.CompareResult.values()),
        **{field: value},
    )
    for target, field, value in (
        (pb.Compare.VERSION, "version", st.integers(0, 3)),
        (pb.Compare.CREATE, "create_revision", st.integers(0, 12)),
        (pb.Compare.MOD, "mod_revision", st.integers(0, 12)),
        (pb.Compare.VALUE, "value", values),
        (pb.Compare.LEASE, "lease", leases),
    )
)


def requests(txns: st.SearchStrategy[pb.TxnRequest]) -> st.SearchStrategy[pb.RequestOp]:
    return st.one_of(
        st.builds(pb.RequestOp, request_put=puts()),
        st.builds(pb.RequestOp, request_range=ranges),
        st.builds(pb.RequestOp, request_delete_range=deletes),
        st.builds(pb.RequestOp, request_txn=txns),
    )


def txns_of(ops: st.SearchStrategy[pb.RequestOp]) -> st.SearchStrategy[pb.TxnRequest]:
    return st.builds(
        pb.TxnRequest,
        compare=st.lists(compares, max_size=2),
        success=st.lists(ops, max_size=4),
        failure=st.lists(ops, max_size=3),
    )


txns = txns_of(requests(txns_of(requests(st.builds(pb.TxnRequest)))))
steps = st.one_of(
    puts(),
    puts(),
    ranges,
    deletes,
    txns,
    st.builds(pb.CompactionRequest, revision=back),
    st.integers(1, 4),  # a slice of compaction
)


def plain(result: OpResult) -> tuple:
    if isinstance(result, RangeResult):
        return ("range", result.revision, result.kvs, result.more, result.count)
    if isinstance(result, PutResult):
        return ("put", result.revision, result.prev_kv)
    if isinstance(result, DeleteResult):
        return ("delete", result.revision, result.deleted, result.prev_kvs)
    return ("txn", result.succeeded, [plain(inner) for inner in result.results], result.revision, result.changed)


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except EtcdError as refusal:
        return refusal.message
    except Refused as refusal:
        return error(str(refusal)).message


def relative(req: object, current: int) -> None:
    """Turn the drawn distance from now into a revision."""
    if isinstance(req, pb.RangeRequest) and req.revision:
        req.revision = max(current - req.revision, -1)
    elif isinstance(req, pb.CompactionRequest):
        req.revision = current - req.revision
    elif isinstance(req, pb.TxnRequest):
        for op in [*req.success, *req.failure]:
            relative(getattr(op, op.WhichOneof("request")), current)


class Pair:
    """The store and the model, given the same requests."""

    def __init__(self) -> None:
        self.model = Model(leases=set(LEASES))
        self.tables = MemoryTables()
        self.start()

    def start(self) -> None:
        self.leases, self.sink = Leases(set(LEASES)), Recorder()
        self.store = Store(self.tables, self.leases, self.sink)

    def do(self, req: object) -> None:
        if isinstance(req, int):
            self.store.compact_step(req)
            return
        mine, theirs = outcome(lambda: self.ours(req)), outcome(lambda: self.expected(req))
        note(f"{str(req)!r} -> {theirs}")
        assert mine == theirs
        event(f"{type(req).__name__} {'refused' if isinstance(mine, str) else 'done'}")

    def ours(self, req: object) -> object:
        store = self.store
        match req:
            case pb.PutRequest():
                return plain(store.put(req))
            case pb.RangeRequest():
                return plain(store.range(req))
            case pb.DeleteRangeRequest():
                return plain(store.delete_range(req))
            case pb.TxnRequest():
                store.check_txn(req)
                before = self.tables.dump()
                try:
                    return plain(store.txn(req))
                except EtcdError:
                    assert self.tables.dump() == before, "a refused transaction left something behind"
                    raise
            case pb.CompactionRequest():
                return store.compact(req.revision)
        raise AssertionError(req)

    def expected(self, req: object) -> object:
        model = self.model
        match req:
            case pb.PutRequest():
                return model.put(req)
            case pb.RangeRequest():
                return model.range(req)
            case pb.DeleteRangeRequest():
                return model.delete(req)
            case pb.TxnRequest():
                self.store.check_txn(req)  # its own tests are elsewhere
                return model.txn(req)
            case pb.CompactionRequest():
                return model.compact(req.revision)
        raise AssertionError(req)

    def compare_state(self) -> None:
        store, model = self.store, self.model
        assert (store.revision, store.compacted_revision) == (model.revision, model.compacted)
        assert store.key_count == len(model.states[model.revision])
        assert self.leases.keys == {
            lease: {key for key, value in model.states[model.revision].items() if value.lease == lease}
            for lease in LEASES
        }
        for revision in range(max(1, model.compacted), model.revision + 1):
            everything = pb.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
            assert plain(store.range(everything)) == model.range(everything)
            for key in model.states[revision]:
                single = pb.RangeRequest(key=key, revision=revision)
                assert plain(store.range(single)) == model.range(single)

    def compare_events(self) -> None:
        store, model = self.store, self.model
        found = list(store.events(model.compacted + 1, store.revision))
        expected = [seen for seen in model.events if seen[0] > model.compacted]
        assert [(seen.revision >> 32, seen.type, seen.key) for seen in found] == expected
        for seen in found:
            self.compare_event(seen.revision >> 32, seen)

    def compare_event(self, main: int, seen: object) -> None:
        kv = pb.KeyValue.FromString(seen.kv)
        assert (kv.key, kv.mod_revision) == (seen.key, main)
        if seen.type == DELETE:
            assert seen.kv == pb.KeyValue(key=seen.key, mod_revision=main).SerializeToString()
        created = seen.type == PUT and kv.create_revision == main  # also behind a delete in the same transaction
        readable = main - 1 >= self.model.compacted and not created
        before = self.model.states[main - 1].get(seen.key) if readable else None
        previous = self.store.previous_kv(seen)
        assert (previous is None) == (before is None)
        if before is not None:
            assert pb.KeyValue.FromString(previous).mod_revision == before.mod


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(steps, max_size=25), st.booleans())
def test_answers_and_state_are_the_models(sequence: list[object], restarts: bool) -> None:
    pair = Pair()
    for req in sequence:
        relative(req, pair.model.revision)
        pair.do(req)
        if restarts:
            pair.start()
            pair.compare_state()
    pair.compare_state()
    pair.compare_events()
    while not pair.store.compact_step(3):
        pair.compare_state()
    pair.compare_state()
    pair.compare_events()
    pair.start()
    pair.compare_state()
