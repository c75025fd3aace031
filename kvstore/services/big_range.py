"""A Range of many keys: read in slices with turns of the loop between them, whatever its size in bounded memory.

gRPC wants the length of a message before its first byte. An answer that fits is gathered and sent whole. One that does
not is read twice at one revision: first only measured, then sent slice by slice as the client takes it. So a gigabyte
costs a few megabytes here. Orders other than by key need all pairs at once anyway and are gathered.
Faults assumed: those of kvstore/services/sliced.py; a call that fails may have begun its message.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvstore.invariant import invariant
from kvstore.member.member import Member
from kvstore.mvcc.results import RangeResult
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.encode import range_response
from kvstore.services.sliced import SLICE_BYTES, SLICE_KEYS, Gathered, Gathering, check_length
from kvstore.wire.grpc.call import Call

# Octets of answers that are gathered, a call's and all calls' together; above that they are measured and read again.
GATHERED_CALL = 32 << 20
GATHERED_ALL = 64 << 20
# With so much on its way to a client already, its next answer waits, and is looked at again after so long.
HELD_BYTES = 16 << 20
HELD_SECONDS = 0.005


class BigRange(Gathering):
    """One call."""

    def __init__(
        self,
        member: Member,
        call: Call,
        request: pb.RangeRequest,
        gathered: Gathered,
        auth_revision: int,
    ) -> None:
        """auth_revision: at which the read was permitted; 0 while auth is off."""
        super().__init__(member, call, gathered, auth_revision)
        self._request = request
        self._slices: Iterator[RangeResult] = member.store.range_slices(request, SLICE_KEYS, SLICE_BYTES)
        # The encoded answer but for its header; None once it is only measured.
        self._parts: list[bytes] | None = []
        self._length = 0
        self._revision = 0
        self._may_stream = call.streams_messages and request.sort_target == pb.RangeRequest.KEY

    def start(self) -> None:
        """Read the first slice and answer at once if that is all. Raises what Range raises."""
        self._note(next(self._slices))
        self._read()

    # ---- gathering, or only measuring

    def _read(self) -> None:
        self._measure(next(self._slices, None))

    def _measure(self, result: RangeResult | None) -> None:
        if result is None:
            self._measured()
            return
        self._note(result)
        self._later(self._read)

    def _note(self, result: RangeResult) -> None:
        self._revision = result.revision
        part = range_response(b"", result)
        self._length += len(part)
        if self._parts is not None:
            self._keep(self._parts, part)

    def _keep(self, kept: list[bytes], part: bytes) -> None:
        kept.append(part)
        self._hold(len(part))
        if self._may_stream and (self._held > GATHERED_CALL or self._gathered.total > GATHERED_ALL):
            self._let_go()

    def _let_go(self) -> None:
        """Keep nothing (any more)."""
        super()._let_go()
        self._parts = None

    def _measured(self) -> None:
        if self._call.buffered_on_connection > HELD_BYTES:
            self._member.loop.call_later(HELD_SECONDS, self._step, self._measured)
            return
        header = self._member.header_field(self._revision)
        if self._parts is None:
            self._begin(header)
            return
        self._call.reply_parts([header, *self._parts])
        self._let_go()

    # ---- reading again, and sending

    def _begin(self, header: bytes) -> None:
        length = len(header) + self._length
        check_length(length)
        if not self._request.revision:
            self._request.revision = self._revision
        self._slices = self._member.store.range_slices(self._request, SLICE_KEYS, SLICE_BYTES)
        self._call.begin_message(length)
        self._call.continue_message([header])
        self._later(self._send)

    def _send(self) -> None:
        call = self._call
        if self._waits(self._send):
            return
        result = next(self._slices, None)
        if result is None:
            call.finish()
            return
        part = range_response(b"", result)
        self._length -= len(part)
        invariant(self._length >= 0, "a range at a pinned revision grew between two readings")
        call.continue_message([part])
        self._later(self._send)
