"""KV.RangeStream (etcd 3.7): a Range whose answer comes in parts, so that neither side holds all of it.

Every part has keys of its own; only the last carries header, more and count. All parts show one revision. The next is
read when the client has taken most of what was sent: memory stays bounded however large the range and slow the client.
Merged, the parts are the answer that Range would give. Orders and filters that need the whole range are refused, as in
etcd.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvstore.errors import Code, EtcdError, error
from kvstore.member.member import Member
from kvstore.mvcc.results import RangeResult
from kvstore.mvcc.txn_check import check_range
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.access import identify
from kvstore.services.encode import delimited, range_response
from kvstore.services.guard import check_leader, parse, refuse_learner
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

PATH = "/etcdserverpb.KV/RangeStream"
# Keys and bytes read in one turn of the loop, and bytes that may wait for the client.
SLICE_KEYS = 500
SLICE_BYTES = 1 << 20
BUFFERED = 1 << 20

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


class RangeStream:
    """One call."""

    def __init__(self, member: Member, call: Call) -> None:
        self._member = member
        self._call = call
        self._slices: Iterator[RangeResult] | None = None
        self._held: RangeResult | None = None  # read but not sent: it may be the last, which looks different
        self._auth_revision = 0
        self._asked = False
        self._paused = False

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
        self._slices = None

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
        self._call.on_drain = self._drained
        self._turn()

    def _drained(self) -> None:
        if self._paused:
            self._paused = False
            self._turn()

    def _turn(self) -> None:
        """Read one slice and send the one before it; then everybody else has a turn."""
        slices, call = self._slices, self._call
        if slices is None or call.closed:
            return
        if call.buffered > BUFFERED:
            self._paused = True
            return
        try:
            if self._auth_revision and self._auth_revision != self._member.auth.revision:
                raise error("AUTH_OLD_REVISION")
            result = next(slices, None)
        except EtcdError as refused:
            call.fail(refused.code, refused.message)
            return
        held, self._held = self._held, result
        if result is None:
            if held is not None:
                self._send(held, self._member.header_field(held.revision))
            call.finish()
            return
        if held is not None and held.kvs:
            self._send(held, b"")
        self._member.loop.call_soon(self._turn)

    def _send(self, result: RangeResult, header: bytes) -> None:
        """RangeStreamResponse.range_response = 1."""
        self._call.send(delimited(0x0A, range_response(header, result)))
