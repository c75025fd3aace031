"""A transaction that only reads, and much: its ranges one after the other in slices, with turns of the loop between.

All of them show the revision at which its compares were judged. The answer is gathered: gRPC wants its length first.
Faults assumed: those of kvstore/services/sliced.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.member.member import Member
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.encode import inner_header, range_op_head, range_response
from kvstore.services.sliced import SLICE_BYTES, SLICE_KEYS, Gathered, Gathering, check_length
from kvstore.wire.grpc.call import Call


def is_large(member: Member, request: pb.TxnRequest) -> bool:
    """Whether a range in it, of either branch, is better read in slices."""
    return any(
        op.request_range.range_end and member.store.range_size(op.request_range) > SLICE_KEYS
        for op in (*request.success, *request.failure)
        if op.HasField("request_range")
    )


class BigTxn(Gathering):
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
        super().__init__(member, call, gathered, auth_revision)
        self._succeeded = succeeded
        self._revision = member.store.revision
        self._ranges = [member.store.range_slices(each, SLICE_KEYS, SLICE_BYTES) for each in reversed(ranges)]
        self._answered: list[bytes] = []  # of the ranges that are read
        self._parts = [inner_header(self._revision)]  # of the one that is being read

    def start(self) -> None:
        """Read the first slice; the others in later turns."""
        self._step(self._read)

    def _read(self) -> None:
        if not self._ranges:
            self._answer()
            return
        result = next(self._ranges[-1], None)
        if result is None:
            self._end_range()
        else:
            part = range_response(b"", result)
            self._parts.append(part)
            self._hold(len(part))
        self._later(self._read)

    def _end_range(self) -> None:
        """The range is read: only now its length is known, which stands before it."""
        self._ranges.pop()
        self._answered += [range_op_head(sum(map(len, self._parts))), *self._parts]
        self._parts = [inner_header(self._revision)]

    def _answer(self) -> None:
        header = self._member.header_field(self._revision)
        parts = [header, b"\x10\x01" if self._succeeded else b"", *self._answered]
        check_length(sum(map(len, parts)))
        self._call.reply_parts(parts)
        self._let_go()

    def _let_go(self) -> None:
        """Keep nothing (any more)."""
        super()._let_go()
        self._answered, self._parts = [], []
