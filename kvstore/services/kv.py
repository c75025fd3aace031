"""The KV service: Range, Put, DeleteRange, Txn, Compact.

Checks that need no state are made before a request enters the log (etcd: server/etcdserver/api/v3rpc/key.go), all
others when it is applied. Put and Range are the hot path of the whole store: parse once, no copies, constant bytes
for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from kvstore.errors import EtcdError, error
from kvstore.member.apply.applier import writes
from kvstore.member.consensus.proposals import Done
from kvstore.member.member import Member
from kvstore.member.requests import RequestKind
from kvstore.mvcc.put_run import all_plain, key_end
from kvstore.mvcc.results import RangeResult
from kvstore.mvcc.swap import read_swap
from kvstore.mvcc.txn_check import check_put, check_range, check_txn
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.access import Judge, identify
from kvstore.services.big_range import HELD_BYTES, HELD_SECONDS, BigRange
from kvstore.services.big_txn import BigTxn, is_large
from kvstore.services.encode import delete_response, put_response, range_response, txn_response
from kvstore.services.gets import Gets, plain_key
from kvstore.services.guard import check_leader, parse, refuse_learner
from kvstore.services.puts import PutWaiter
from kvstore.services.sliced import Gathered
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

# An answer of up to so many keys is read in one go.
SMALL_ANSWER = 16

_PUT = int(RequestKind.PUT)
_new = tuple.__new__


class KvService:
    """The handlers of one member."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._limit = member.config.max_request_bytes
        self._gathered = Gathered()
        self._gets = Gets(member, self._range)

    def register(self, server: GrpcServer) -> None:
        """Serve the methods of etcdserverpb.KV."""
        server.unary("/etcdserverpb.KV/Range", self.range, self._gets.take_all)
        server.unary("/etcdserverpb.KV/Put", self.put, self.put_all)
        for name, handler in {"DeleteRange": self.delete_range, "Txn": self.txn, "Compact": self.compact}.items():
            server.unary(f"/etcdserverpb.KV/{name}", handler)

    @property
    def judges(self) -> dict[str, Judge]:
        """What is wrong in requests themselves, for those that are not admitted: by path; each raises EtcdError."""
        judges: dict[str, Judge] = {"Put": _judge_put, "DeleteRange": _parse_delete, "Txn": self._parse_txn}
        return {f"/etcdserverpb.KV/{name}": judge for name, judge in judges.items()}

    # ---- writes ----

    def put(self, call: Call, message: bytes) -> None:
        """Put."""
        # Hot: a put in the usual form is known to be right by its bytes, and parsed by nobody (mvcc/put_run.py).
        request = None if key_end(message) else _parse_put(message)
        member = self._member
        size = len(message)
        if size > self._limit or not member.leader_id or member.is_learner:
            self._check(call, message)
        member.check_space(size)
        done: Done
        if request is None and type(call) is Call:
            done = _new(PutWaiter, (call, member.headers))  # type: ignore[assignment]  # a tuple that is called
        else:
            done = partial(self._put_done, call)
        member.propose(_PUT, message, request, done, call.user)

    def put_all(self, calls: Sequence[Call], messages: Sequence[bytes]) -> bool:
        """Put, for several calls of the wire: all of them in the usual form, and none that would be refused. Hot."""
        member = self._member
        size = sum(map(len, messages))
        if (
            not member.leader_id
            or member.is_learner
            or max(map(len, messages)) > self._limit
            or not all_plain(messages)
            or not member.waiting.can_propose(len(messages), size)
            or not member.space.admit(size)
        ):
            return False
        headers = member.headers
        waiters: list[Any] = [_new(PutWaiter, (call, headers)) for call in calls]
        member.waiting.propose_all(_PUT, messages, waiters)
        return True

    def _put_done(self, call: Call, result: Any, problem: EtcdError | None) -> None:
        if problem is not None:
            call.fail(problem.code, problem.message)
        elif result.prev_kv is None:
            call.reply(self._member.header_field(result.revision))
        elif not self._held(call, self._put_done, call, result, None):
            call.reply(put_response(self._member.header_field(result.revision), result))

    def delete_range(self, call: Call, message: bytes) -> None:
        """DeleteRange."""
        request = _parse_delete(message)
        self._check(call, message)
        self._member.propose(RequestKind.DELETE_RANGE, message, request, partial(self._delete_done, call), call.user)

    def _delete_done(self, call: Call, result: Any, problem: EtcdError | None) -> None:
        if problem is not None:
            call.fail(problem.code, problem.message)
        elif not self._held(call, self._delete_done, call, result, None):
            call.reply(delete_response(self._member.header_field(result.revision), result))

    def txn(self, call: Call, message: bytes) -> None:
        """Txn; one that only reads does not enter the log."""
        swap = read_swap(message)
        if swap is not None and max(len(swap.compares), 1) <= self._member.config.max_txn_ops:
            self._check(call, message)
            if swap.puts:
                self._member.check_space(len(message))
            self._member.propose(RequestKind.TXN, message, swap, partial(self._txn_done, call), call.user)
            return
        request = self._parse_txn(message)
        if _reads_only(request):
            check_leader(self._member, call)
            refuse_learner(self._member)
            if _serializable(request):
                self._read_txn(call, request, None)
            else:
                self._member.linearizable(partial(self._read_txn, call, request))
            return
        self._check(call, message)
        if writes(request):
            self._member.check_space(len(message))
        self._member.propose(RequestKind.TXN, message, request, partial(self._txn_done, call), call.user)

    def _parse_txn(self, message: bytes) -> pb.TxnRequest:
        request = parse(pb.TxnRequest, message)
        check_txn(request, self._member.config.max_txn_ops)
        return request

    def _read_txn(self, call: Call, request: pb.TxnRequest, problem: EtcdError | None) -> None:
        if problem is not None:
            call.fail(problem.code, problem.message)
            return
        if self._held(call, self._read_txn, call, request, None):
            return
        if self._member.store.unfinished:
            self._member.applying.when_readable(partial(self._read_txn, call, request, None))
            return
        revision = 0
        try:
            if self._member.auth.enabled:
                self._member.checks.txn(identify(self._member, call), request)
                revision = self._member.auth.revision
            large = self._member.store.taken_ranges(request) if is_large(self._member, request) else None
            if large is not None:
                BigTxn(self._member, call, *large, self._gathered, revision).start()
                return
            self._txn_done(call, self._member.store.txn(request), None)
        except EtcdError as refused:
            call.fail(refused.code, refused.message)

    def _txn_done(self, call: Call, result: Any, problem: EtcdError | None) -> None:
        if problem is not None:
            call.fail(problem.code, problem.message)
        elif not self._held(call, self._txn_done, call, result, None):
            call.reply(txn_response(self._member.header_field(result.revision), result))

    def compact(self, call: Call, message: bytes) -> None:
        """Compact; with `physical` the answer waits until the old revisions are gone."""
        request = parse(pb.CompactionRequest, message)
        self._check(call, message)

        def answer() -> None:
            call.reply(self._member.header_field(self._member.store.revision))

        def done(result: Any, problem: EtcdError | None) -> None:
            if problem is not None:
                call.fail(problem.code, problem.message)
            elif request.physical:
                self._member.duties.compact_physically(answer)
            else:
                answer()

        self._member.propose(RequestKind.COMPACT, message, request, done)

    def _held(self, call: Call, step: Callable[..., None], *arguments: Any) -> bool:
        """Whether the client has not taken its earlier answers yet, and the step comes again later: one more answer
        would only wait in our memory. So a connection holds so many bytes and an answer, whatever it asks for at once.
        """
        if call.buffered_on_connection <= HELD_BYTES or call.closed:
            return False
        self._member.loop.call_later(HELD_SECONDS, step, *arguments)
        return True

    def _check(self, call: Call, message: bytes) -> None:
        member = self._member
        if len(message) > self._limit:
            raise error("REQUEST_TOO_LARGE")
        if not member.leader_id:
            check_leader(member, call)
        if member.is_learner:
            refuse_learner(member)

    # ---- reads ----

    def range(self, call: Call, message: bytes) -> None:
        """Range: linearizable unless the request says that a stale answer will do."""
        key = plain_key(message)
        if key and self._gets.take(call, key):
            return
        request = parse(pb.RangeRequest, message)
        check_range(request)
        if not self._member.leader_id:
            check_leader(self._member, call)
        if request.serializable:
            self._range(call, request, None)
            return
        if self._member.is_learner:
            refuse_learner(self._member)
        self._member.linearizable(partial(self._range, call, request))

    def _range(self, call: Call, request: pb.RangeRequest, problem: EtcdError | None) -> None:
        if problem is not None:
            call.fail(problem.code, problem.message)
            return
        if self._held(call, self._range, call, request, None):
            return
        store = self._member.store
        if store.unfinished:
            self._member.applying.when_readable(partial(self._range, call, request, None))
            return
        revision = 0
        try:
            if self._member.auth.enabled:
                self._member.checks.read(identify(self._member, call), request.key, request.range_end)
                revision = self._member.auth.revision
            if request.range_end and store.range_size(request) > SMALL_ANSWER:
                BigRange(self._member, call, request, self._gathered, revision).start()
                return
            result = store.range(request)
        except EtcdError as refused:
            call.fail(refused.code, refused.message)
            return
        self._answer(call, result)

    def _answer(self, call: Call, result: RangeResult) -> None:
        call.reply(range_response(self._member.header_field(result.revision), result))


def _judge_put(message: bytes) -> None:
    if not key_end(message):
        _parse_put(message)


def _parse_delete(message: bytes) -> pb.DeleteRangeRequest:
    request = parse(pb.DeleteRangeRequest, message)
    if not request.key:
        raise error("EMPTY_KEY")
    return request


def _parse_put(message: bytes) -> pb.PutRequest:
    request = parse(pb.PutRequest, message)
    check_put(request)
    return request


def _reads_only(request: pb.TxnRequest) -> bool:
    for op in (*request.success, *request.failure):
        which = op.WhichOneof("request")
        if which != "request_range" and not (which == "request_txn" and _reads_only(op.request_txn)):
            return False
    return True


def _serializable(request: pb.TxnRequest) -> bool:
    """Whether it reads, and every range in it would take a stale answer.

    One that only compares is judged by the newest state; etcd judges it by whatever its member has applied.
    """
    ranges = list(_ranges(request))
    return bool(ranges) and all(each.serializable for each in ranges)


def _ranges(request: pb.TxnRequest) -> Iterator[pb.RangeRequest]:
    for op in (*request.success, *request.failure):
        which = op.WhichOneof("request")
        if which == "request_range":
            yield op.request_range
        elif which == "request_txn":
            yield from _ranges(op.request_txn)
