"""The store and the model side by side: the same requests to both, every answer and the whole state compared."""

from __future__ import annotations

from collections.abc import Callable

from harness.memory_tables import MemoryTables
from hypothesis import currently_in_test_context, event, note
from mvcc_lease_book import Leases, Recorder
from mvcc_model import Model, Refused
from mvcc_requests import LEASES

from kvstore.errors import EtcdError, error
from kvstore.mvcc.results import DeleteResult, OpResult, PutResult, RangeResult
from kvstore.mvcc.store import Store
from kvstore.mvcc.types import DELETE, PUT, StoredEvent
from kvstore.pb import etcd_pb2 as pb


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


def described(seen: StoredEvent) -> tuple:
    return (seen.type, seen.key, seen.revision, seen.kv, seen.previous)


class Pair:
    """The store and the model, given the same requests."""

    def __init__(self) -> None:
        self.model = Model(leases=set(LEASES))
        self.tables = MemoryTables()
        self.sink = Recorder()
        self.start()

    def start(self) -> None:
        """Open the tables, for the first time or again."""
        self.leases = Leases(set(LEASES))
        self.store = Store(self.tables, self.leases, self.sink)

    def do(self, req: object) -> None:
        if isinstance(req, int):
            self.store.compact_step(req)
            return
        mine, theirs = outcome(lambda: self.ours(req)), outcome(lambda: self.expected(req))
        if currently_in_test_context():
            note(f"{str(req)!r} -> {theirs}")
            event(f"{type(req).__name__} {'refused' if isinstance(mine, str) else 'done'}")
        assert mine == theirs

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
        published = [seen for main, seens in self.sink.published for seen in seens if main > model.compacted]
        assert [described(seen) for seen in found] == [described(seen) for seen in published]
        for seen in found:
            self.compare_event(seen.revision >> 32, seen)

    def compare_event(self, main: int, seen: StoredEvent) -> None:
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
