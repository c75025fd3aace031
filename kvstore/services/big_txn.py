"""A transaction that only reads, and much: its ranges one after the other in slices, with turns of the loop between.

All of them show the revision at which its compares were judged. The answer is gathered: gRPC wants its length first.
Faults assumed: a compaction or a change of users between two slices (the call fails), a client that goes away.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.errors import Code, EtcdError, error
from kvstore.member.member import Member
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.big_range import MAX_MESSAGE, SLICE_BYTES, SLICE_KEYS, Gathered
from kvstore.services.encode import inner_header, range_op_head, range_response
from kvstore.wire.grpc.call import Call


def is_large(member: Member, request: pb.TxnRequest) -> bool:
    """Whether a range in it, of either branch, is better read in slices."""
    return any(
        op.request_range.range_end and member.store.range_size(op.request_range) > SLICE_KEYS
        for op in (*request.success, *request.failure)
        if op.HasField("request_range")
    )


class BigTxn:
    """One call."""

    def __init__(
        self,
        member: Member,
        call: Call,
        succeeded: bool,
        ranges: Sequence[pb.RangeRequest],
        gathered: Gathered,
        auth_revision: int,
    ) -> None:
        """ranges: of the branch that was taken. auth_revision: at which they were permitted; 0 while auth is off."""
        self._member = member
        self._call = call
        self._succeeded = succeeded
        self._gathered = gathered
        self._auth_revision = auth_revision
        self._revision = member.store.revision
        self._ranges = [member.store.range_slices(each, SLICE_KEYS, SLICE_BYTES) for each in reversed(ranges)]
        self._answered: list[bytes] = []  # of the ranges that are read
        self._parts = [inner_header(self._revision)]  # of the one that is being read
        self._held = 0

    def start(self) -> None:
        """Read the first slice; the others in later turns."""
        if self._call.closed:
            self._let_go()
            return
        try:
            if self._auth_revision and self._auth_revision != self._member.auth.revision:
                raise error("AUTH_OLD_REVISION")
            self._step()
        except EtcdError as refused:
            self._let_go()
            self._call.fail(refused.code, refused.message)

    def _step(self) -> None:
        if not self._ranges:
            self._answer()
            return
        result = next(self._ranges[-1], None)
        if result is None:
            self._end_range()
        else:
            part = range_response(b"", result)
            self._parts.append(part)
            self._held += len(part)
            self._gathered.total += len(part)
        self._member.loop.call_soon(self.start)

    def _end_range(self) -> None:
        """The range is read: only now its length is known, which stands before it."""
        self._ranges.pop()
        self._answered += [range_op_head(sum(map(len, self._parts))), *self._parts]
        self._parts = [inner_header(self._revision)]

    def _answer(self) -> None:
        header = self._member.header_field(self._revision)
        parts = [header, b"\x10\x01" if self._succeeded else b"", *self._answered]
        length = sum(map(len, parts))
        if length > MAX_MESSAGE:
            raise EtcdError(
                Code.RESOURCE_EXHAUSTED, f"grpc: trying to send message larger than max ({length} vs. {MAX_MESSAGE})"
            )
        self._call.reply_parts(parts)
        self._let_go()

    def _let_go(self) -> None:
        """Keep nothing (any more)."""
        self._gathered.total -= self._held
        self._held = 0
        self._answered, self._parts = [], []
