"""Plain gets: linearizable Ranges of one key without any option, most of what a store is asked.

They are told by their bytes and gathered; one round confirms all that came since the last, and they are answered one
after the other from one revision. Nothing is parsed and no object is made per get but its place in the list. Whatever
is unusual (authentication, a large delete half done, a client that does not read) goes the way of every other Range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from kvstore.errors import EtcdError
from kvstore.member.member import Member
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.big_range import HELD_BYTES
from kvstore.varint import varint
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.replies import reply_all

Get = tuple[Call, bytes]  # who asks, and for which key
Ordinary = Callable[[Call, pb.RangeRequest, EtcdError | None], None]

_ONE = b"\x20\x01"  # RangeResponse.count


def plain_key(message: bytes) -> bytes | None:
    """The key, if the RangeRequest in these bytes is field 1 and nothing else, shorter than 128 bytes. Hot."""
    size = len(message) - 2
    if 0 < size < 128 and message[0] == 0x0A and message[1] == size:
        return message[2:]
    return None


class Gets:
    """Those of one member.

    ordinary: answers a Range that is confirmed, or whose problem is given, whatever its kind.
    """

    def __init__(self, member: Member, ordinary: Ordinary) -> None:
        self._member = member
        self._ordinary = ordinary
        self._serve_gathered = self._serve  # made once: it names the batch

    def take(self, call: Call, key: bytes) -> bool:
        """Gather it; False if this member may have to refuse it. Raises TOO_MANY_REQUESTS, STOPPED."""
        member = self._member
        if member.is_learner or not member.leader_id:
            return False
        member.gather(self._serve_gathered, (call, key))
        return True

    def take_all(self, calls: Sequence[Call], messages: Sequence[bytes]) -> bool:
        """take() for Ranges that came together; False, and nothing done, if one of them is to go another way."""
        member = self._member
        keys = [plain_key(message) for message in messages]
        if not all(keys) or member.is_learner or not member.leader_id:
            return False
        return member.waiting.gather_all(self._serve_gathered, list(zip(calls, keys, strict=True)))

    def _serve(self, gets: list[Get], problem: EtcdError | None) -> None:
        member = self._member
        store = member.store
        if problem is not None or store.unfinished or member.auth.enabled:
            for call, key in gets:
                self._ordinary(call, pb.RangeRequest(key=key), problem)
            return
        others: list[Callable[[], None]] = []
        reply_all(self._answers(gets, others))
        # Only now: what they write uses up windows that reply_all had counted as its own.
        for answer in others:
            answer()

    def _answers(self, gets: list[Get], others: list[Callable[[], None]]) -> Iterator[tuple[Call, bytes]]:
        """The wire's calls that can be answered now; how the others are goes to `others`. Each is asked for when those
        before it have their answers."""
        store = self._member.store
        header = self._member.header_field(store.revision)
        for call, key in gets:
            if call.closed:
                continue
            if call.buffered_on_connection > HELD_BYTES:
                others.append(partial(self._ordinary, call, pb.RangeRequest(key=key), None))
                continue
            kv = store.get(key)
            answer = header if kv is None else b"".join((header, b"\x12", varint(len(kv)), kv, _ONE))
            if type(call) is Call:
                yield call, answer
            else:
                others.append(partial(call.reply, answer))  # of the JSON gateway
