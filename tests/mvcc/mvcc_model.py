"""A store simple enough to be believed: one whole dict a revision, requests evaluated the slow, obvious way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from kvstore.pb import etcd_pb2 as pb


@dataclass(frozen=True)
class Value:
    create: int
    mod: int
    version: int
    value: bytes
    lease: int


class Refused(Exception):
    """Carries the name of the error in kvstore.errors."""


def encode(key: bytes, value: Value) -> bytes:
    return pb.KeyValue(
        key=key,
        create_revision=value.create,
        mod_revision=value.mod,
        version=value.version,
        value=value.value,
        lease=value.lease,
    ).SerializeToString()


def inside(key: bytes, begin: bytes, end: bytes) -> bool:
    if not end:
        return key == begin
    return key >= begin and (end == b"\0" or key < end)


State = dict[bytes, Value]


@dataclass
class Model:
    states: dict[int, State] = field(default_factory=lambda: {1: {}})
    revision: int = 1
    compacted: int = -1
    leases: set[int] = field(default_factory=set)
    events: list[tuple[int, int, bytes]] = field(default_factory=list)  # main, type, key

    # The transaction in progress: its state, and whether anything was written.
    scratch: State = field(default_factory=dict)
    dirty: bool = False

    def begin(self) -> None:
        self.scratch = dict(self.states[self.revision])
        self.dirty = False

    def now(self) -> int:
        return self.revision + self.dirty

    def end(self) -> int:
        if self.dirty:
            self.revision += 1
            self.states[self.revision] = self.scratch
        return self.revision

    # ---- requests; each returns plain tuples

    def put(self, req: pb.PutRequest) -> tuple:
        if req.lease and req.lease not in self.leases:
            raise Refused("LEASE_NOT_FOUND")  # a plain put looks at its lease first, one in a transaction last
        self.check_put(req, [])
        self.begin()
        result = self._put(req)
        self.end()
        return result

    def check_put(self, req: pb.PutRequest, deleted: list[bytes]) -> None:
        ignores = req.ignore_value or req.ignore_lease
        missing = req.key not in self.states[self.revision] or any(req.key >= begin for begin in deleted)
        if ignores and missing:
            raise Refused("KEY_NOT_FOUND")
        if req.lease and req.lease not in self.leases:
            raise Refused("LEASE_NOT_FOUND")

    def _put(self, req: pb.PutRequest) -> tuple:
        main = self.revision + 1
        old = self.scratch.get(req.key)
        value, lease = req.value, req.lease
        if req.ignore_value:
            value = old.value
        if req.ignore_lease:
            lease = old.lease
        new = Value(main, main, 1, value, lease)
        if old:
            new = replace(new, create=old.create, version=old.version + 1)
        self.scratch[req.key] = new
        self.dirty = True
        self.events.append((main, 0, req.key))
        return ("put", main, encode(req.key, old) if req.prev_kv and old else None)

    def delete(self, req: pb.DeleteRangeRequest) -> tuple:
        self.begin()
        result = self._delete(req)
        self.end()
        return result

    def _delete(self, req: pb.DeleteRangeRequest) -> tuple:
        keys = sorted(key for key in self.scratch if inside(key, req.key, req.range_end))
        previous = [encode(key, self.scratch[key]) for key in keys] if req.prev_kv else []
        for key in keys:
            del self.scratch[key]
            self.dirty = True
            self.events.append((self.revision + 1, 1, key))
        return ("delete", self.now(), len(keys), previous)

    def range(self, req: pb.RangeRequest) -> tuple:
        self.begin()
        return self._range(req)

    def _range(self, req: pb.RangeRequest) -> tuple:
        now = self.now()
        if req.revision > now:
            raise Refused("FUTURE_REVISION")
        revision = req.revision if req.revision > 0 else now
        if revision < self.compacted:
            raise Refused("COMPACTED")
        state = self.scratch if revision == now else self.states[revision]
        rows = [(key, state[key]) for key in sorted(state) if inside(key, req.key, req.range_end)]
        count = len(rows)
        if req.count_only:
            return ("range", now, [], False, count)
        filters = (req.min_mod_revision, req.max_mod_revision, req.min_create_revision, req.max_create_revision)
        if req.limit > 0 and req.sort_order == pb.RangeRequest.NONE and not any(filters):
            rows = rows[: req.limit + 1]  # before it sorts: so does etcd
        rows = [row for row in rows if self._passes(req, row[1])]
        self._sort(req, rows)
        more = 0 < req.limit < len(rows)
        rows = rows[: req.limit] if more else rows
        if req.keys_only:
            rows = [(key, replace(value, value=b"")) for key, value in rows]
        return ("range", now, [encode(*row) for row in rows], more, count)

    def _passes(self, req: pb.RangeRequest, value: Value) -> bool:
        return not (
            (req.min_mod_revision and value.mod < req.min_mod_revision)
            or (req.max_mod_revision and value.mod > req.max_mod_revision)
            or (req.min_create_revision and value.create < req.min_create_revision)
            or (req.max_create_revision and value.create > req.max_create_revision)
        )

    def _sort(self, req: pb.RangeRequest, rows: list[tuple[bytes, Value]]) -> None:
        target = {
            pb.RangeRequest.KEY: lambda row: row[0],
            pb.RangeRequest.VERSION: lambda row: row[1].version,
            pb.RangeRequest.CREATE: lambda row: row[1].create,
            pb.RangeRequest.MOD: lambda row: row[1].mod,
            pb.RangeRequest.VALUE: lambda row: row[1].value,
        }[req.sort_target]
        rows.sort(key=target, reverse=req.sort_order == pb.RangeRequest.DESCEND)

    def txn(self, req: pb.TxnRequest) -> tuple:
        self.begin()
        plan = self._plan(req)
        self._check_plan(plan)
        result = self._run(plan)
        changed = self.dirty
        return (*result, self.end(), changed)

    def _plan(self, req: pb.TxnRequest) -> tuple[bool, list]:
        succeeded = all(self._holds(compare) for compare in req.compare)
        ops = req.success if succeeded else req.failure
        return succeeded, [self._plan(op.request_txn) if op.HasField("request_txn") else op for op in ops]

    def _check_plan(self, plan: tuple[bool, list]) -> None:
        ops = self._flat(plan)
        deleted: list[bytes] = []
        for op in ops:
            if op.HasField("request_delete_range") and op.request_delete_range.range_end == b"\0":
                deleted.append(op.request_delete_range.key)
            if op.HasField("request_put"):
                self.check_put(op.request_put, deleted)
        for op in ops:
            if op.HasField("request_range"):
                revision = op.request_range.revision
                if revision > self.revision:
                    raise Refused("FUTURE_REVISION")
                if revision and revision < self.compacted:
                    raise Refused("COMPACTED")

    def _flat(self, plan: tuple[bool, list]) -> list[pb.RequestOp]:
        flat = []
        for op in plan[1]:
            flat += self._flat(op) if isinstance(op, tuple) else [op]
        return flat

    def _run(self, plan: tuple[bool, list]) -> tuple:
        results = []
        for op in plan[1]:
            if isinstance(op, tuple):
                results.append((*self._run(op), 0, False))
            elif op.HasField("request_put"):
                results.append(self._put(op.request_put))
            elif op.HasField("request_range"):
                results.append(self._range(op.request_range))
            else:
                results.append(self._delete(op.request_delete_range))
        return ("txn", plan[0], results)

    def _holds(self, compare: pb.Compare) -> bool:
        state = self.states[self.revision]
        found = [state[key] for key in state if inside(key, compare.key, compare.range_end)]
        if not found:
            if compare.target == pb.Compare.VALUE:
                return False
            found = [Value(0, 0, 0, b"", 0)]
        return all(self._holds_for(compare, value) for value in found)

    def _holds_for(self, compare: pb.Compare, value: Value) -> bool:
        left, right = {
            pb.Compare.VERSION: (value.version, compare.version),
            pb.Compare.CREATE: (value.create, compare.create_revision),
            pb.Compare.MOD: (value.mod, compare.mod_revision),
            pb.Compare.VALUE: (value.value, compare.value),
            pb.Compare.LEASE: (value.lease, compare.lease),
        }[compare.target]
        return {
            pb.Compare.EQUAL: left == right,
            pb.Compare.GREATER: left > right,
            pb.Compare.LESS: left < right,
            pb.Compare.NOT_EQUAL: left != right,
        }[compare.result]

    def compact(self, revision: int) -> None:
        if revision <= self.compacted:
            raise Refused("COMPACTED")
        if revision > self.revision:
            raise Refused("FUTURE_REVISION")
        self.compacted = revision
