"""KV.RangeStream (etcd 3.7): a Range whose answer comes in parts, so that neither side holds all of it.

Every part has keys of its own; only the last carries header, more and count. All parts show one revision. The next is
read when the client has taken most of what was sent: memory stays bounded however large the range and slow the client.
Merged, the parts are the answer that Range would give. Orders and filters that need the whole range are refused, as in
etcd.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvstore.errors import Code, EtcdError
from kvstore.member.member import Member
from kvstore.mvcc.results import RangeResult
from kvstore.mvcc.txn_check import check_range
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.access import identify
from kvstore.services.encode import range_response
from kvstore.services.guard import check_leader, parse, refuse_learner
from kvstore.services.sliced import SLICE_BYTES, Sliced
from kvstore.varint import varint
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

PATH = "/etcdserverpb.KV/RangeStream"
# Keys read in one turn of the loop, at most.
SLICE_KEYS = 500

_FILTERS = ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")


def register(server: GrpcServer, member: Member) -> None:
    """Serve RangeStream."""
    server.stream(PATH, lambda call: RangeStream(member, call))


def check(request: pb.RangeRequest) -> None:
    """Raise what Range raises, and UNIMPLEMENTED for what cannot be streamed."""
    check_range(request)
    if request.sort_target != pb.RangeRequest.KEY or request.sort_order == pb.RangeRequest.DESCEND:
        raise EtcdError(Code.UNIMPLEMENTED, "RangeStream does not support custom sort orders")
    if any(getattr(request, name) for name in _FILTERS):
        raise EtcdError(Code.UNIMPLEMENTED, "RangeStream does not support revision filters")


class RangeStream(Sliced):
    """One call."""

    def __init__(self, member: Member, call: Call) -> None:
        super().__init__(member, call)
        self._slices: Iterator[RangeResult] | None = None
        self._held: RangeResult | None = None  # read but not sent: it may be the last, which looks different
        self._asked = False

    def message(self, data: bytes) -> None:
        """The request."""
        if self._asked:
            return
        self._asked = True
        request = parse(pb.RangeRequest, data)
        check(request)
        if not self._member.leader_id:
            check_leader(self._member, self._call)
        if request.serializable:
            self._begin(request, None)
            return
        refuse_learner(self._member)
        self._member.linearizable(lambda problem: self._begin(request, problem))

    def half_close(self) -> None:
        """The request is whole; the answer goes on."""

    def closed(self) -> None:
        """Nobody wants the rest."""
        self._let_go()

    def _let_go(self) -> None:
        self._slices = self._held = None

    def _begin(self, request: pb.RangeRequest, problem: EtcdError | None) -> None:
        if problem is not None:
            self._call.fail(problem.code, problem.message)
            return
        if self._member.store.unfinished:
            self._member.applying.when_readable(lambda: self._begin(request, None))
            return
        try:
            if self._member.auth.enabled:
                self._member.checks.read(identify(self._member, self._call), request.key, request.range_end)
                self._auth_revision = self._member.auth.revision
            self._slices = self._member.store.range_slices(request, SLICE_KEYS, SLICE_BYTES)
        except EtcdError as refused:
            self._call.fail(refused.code, refused.message)
            return
        self._step(self._turn)

    def _turn(self) -> None:
        """Read one slice and send the one before it; then everybody else has a turn."""
        if self._slices is None or self._waits(self._turn):
            return
        result = next(self._slices, None)
        held, self._held = self._held, result
        if result is None:
            if held is not None:
                self._send(held, self._member.header_field(held.revision))
            self._call.finish()
            return
        if held is not None and held.kvs:
            self._send(held, b"")
        self._later(self._turn)

    def _send(self, result: RangeResult, header: bytes) -> None:
        """RangeStreamResponse.range_response = 1."""
        part = range_response(header, result)
        self._call.send_parts([b"\x0a" + varint(len(part)), part])
