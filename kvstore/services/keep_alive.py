"""LeaseKeepAlive: one client's renewals, answered in the order they came.

A leader that a quorum has confirmed a moment ago renews at once. Otherwise the renewals of all streams that came since
the last round of reads are gathered: one round confirms that it still leads, and they are made and answered one after
the other. On other members, and when the lead is lost meanwhile, the member asks whoever leads, each renewal by itself.

A request is one lease id and an answer repeats it, so both are remembered by the request's bytes: a client renews the
same leases for ever. What was renewed at once once goes the wire's short way from then on (wire/grpc/repeats.py): all
that come in one read are renewed together, under the same rule, and their answers leave together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from kvstore.errors import EtcdError, error
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.access import require_user
from kvstore.services.guard import parse
from kvstore.varint import varint
from kvstore.wire.grpc.repeats import Repeat, forget, put_answers, remember

if TYPE_CHECKING:
    from kvstore.member.member import Member
    from kvstore.wire.grpc.call import Call

# Renewals of one stream that wait for the leader, and bytes unread by its client, at which it is refused more.
MAX_RENEWALS = 65_536
BUFFER_BOUND = 1 << 20
# Requests that are remembered, of all streams of a member; about 200 bytes each.
MAX_KNOWN = 8_192
# Those that take the short way: of one stream, and of all streams of a member; about 600 bytes each.
STREAM_REPEATS = 1_024
MAX_REPEATS = 16_384
# The longest request: a tag and ten octets of an id.
_LONGEST = 11


class _Known:
    """What a request's bytes say: the lease; and the answer behind its header, for the TTL that it had last."""

    __slots__ = ("_answer", "_id_field", "_ttl", "id")

    def __init__(self, id: int) -> None:
        self.id = id
        self._ttl = 0
        self._answer = self._id_field = b"\x10" + varint(id) if id else b""

    def answer(self, ttl: int) -> bytes:
        """LeaseKeepAliveResponse without its header."""
        if ttl != self._ttl:
            self._ttl = ttl
            self._answer = self._id_field + b"\x18" + varint(ttl) if ttl else self._id_field
        return self._answer


class _Again:
    """What the short way keeps of a request: its stream and lease; header and TTL that its answer was made with."""

    __slots__ = ("header", "lease", "stream", "ttl")

    def __init__(self, stream: KeepAliveStream, lease: _Known) -> None:
        self.stream = stream
        self.lease = lease
        self.header = b""
        self.ttl = 0


class _Renewal:
    """A renewal under way; ttl: None until the leader has answered."""

    __slots__ = ("header", "lease", "stream", "ttl")

    def __init__(self, stream: KeepAliveStream, lease: _Known, header: bytes) -> None:
        self.stream = stream
        self.lease = lease
        self.header = header
        self.ttl: int | None = None


class Renewals:
    """Those of all streams of one member."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self._known: dict[bytes, _Known] = {}
        self._serve_gathered = self._serve  # made once: it names the batch
        self.at_once = member.leader_calls.renew_at_once
        self._at_once_run = member.leader_calls.renew_run
        # How many take the short way.
        self.repeats = 0

    def read(self, data: bytes) -> _Known:
        """The LeaseKeepAliveRequest in these bytes. Raises INTERNAL if they are none. Hot."""
        return self._known.get(data) or self._learn(data)

    def _learn(self, data: bytes) -> _Known:
        known = _Known(parse(pb.LeaseKeepAliveRequest, data).ID)
        if len(data) <= _LONGEST:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[data] = known
        return known

    def serve_again(self, run: Sequence[Repeat]) -> None:
        """Requests of one connection that came together, each of which was renewed at once before. Hot."""
        notes: list[_Again] = [repeat.note for repeat in run]
        ttls = self._at_once_run(self._leases(notes))
        renewed = run[: len(ttls)] if len(ttls) < len(run) else run
        if renewed:
            # A revision at which all of these leases were alive.
            header = self.member.header_field(self.member.store.revision)
            for repeat, note, ttl in zip(renewed, notes, ttls, strict=False):
                if header is not note.header or ttl != note.ttl:
                    note.header, note.ttl = header, ttl
                    repeat.answer_with(header + note.lease.answer(ttl))
            put_answers(run[0].call.connection, renewed)
        for repeat in run[len(ttls) :]:
            repeat.call.serve_again(repeat.message)

    def _leases(self, notes: Sequence[_Again]) -> list[int]:
        """Those that may be renewed before anybody is asked: up to the first of a stream of which others wait."""
        if self.member.auth.enabled:
            return []
        leases = [note.lease.id for note in notes if not note.stream.waiting]
        if len(leases) < len(notes):
            waits = next(at for at, note in enumerate(notes) if note.stream.waiting)
            del leases[waits:]
        return leases

    def begin(self, renewal: _Renewal) -> None:
        """Make it, here or wherever the leader is. Raises TOO_MANY_REQUESTS, STOPPED. Hot."""
        member = self.member
        if member.leader_id == member.id:
            member.gather(self._serve_gathered, renewal)
        else:
            self._ask(renewal)

    def _ask(self, renewal: _Renewal) -> None:
        done = partial(renewal.stream.renewed, renewal)
        try:
            self.member.renew_lease(renewal.lease.id, done)
        except EtcdError as problem:
            done(None, problem)

    def _serve(self, renewals: list[_Renewal], problem: EtcdError | None) -> None:
        """This member led after all of these had come, unless there is a problem."""
        member = self.member
        renew = member.lessor.renew_known if problem is None and member.leader_id == member.id else None
        now = member.loop.time()
        for renewal in renewals:
            stream = renewal.stream
            if stream.call.closed:
                continue
            ttl = renew(renewal.lease.id, now) if renew is not None else None
            if ttl is None:
                self._ask(renewal)
            else:
                stream.answer(renewal, ttl)


class KeepAliveStream:
    """One client's stream. over: called once when it has ended."""

    def __init__(self, renewals: Renewals, call: Call, over: Callable[[], None]) -> None:
        self.call = call
        self._renewals = renewals
        self._member = renewals.member
        self._over = over
        # Renewals under way, in order.
        self.waiting: deque[_Renewal] = deque()
        self._half_closed = False
        # How many of its requests take the short way.
        self._repeats = 0

    def message(self, data: bytes) -> None:
        """One LeaseKeepAliveRequest. Raises, and so ends the stream, for bytes that are none, and TOO_MANY_REQUESTS."""
        member = self._member
        lease = self._renewals.read(data)
        if len(self.waiting) >= MAX_RENEWALS or self.call.buffered > BUFFER_BOUND:
            raise error("TOO_MANY_REQUESTS")
        if member.auth.enabled:
            member.checks.lease_write(require_user(member, self.call), lease.id)
        # The header's revision is one at which the lease was alive for sure: that before the renewal.
        header = member.header_field(member.store.revision)
        if not self.waiting and (ttl := self._renewals.at_once(lease.id)):
            self.call.send(header + lease.answer(ttl))
            self._remember(lease, data)
            return
        renewal = _Renewal(self, lease, header)
        self.waiting.append(renewal)
        self._renewals.begin(renewal)

    def _remember(self, lease: _Known, data: bytes) -> None:
        """What was just renewed will be again."""
        if not self.call.comes_in_frames or len(data) > _LONGEST or self._renewals.repeats >= MAX_REPEATS:
            return
        if self._repeats >= STREAM_REPEATS:
            self._forget()
        if remember(Repeat(self.call, data, _Again(self, lease), self._renewals.serve_again)):
            self._repeats += 1
            self._renewals.repeats += 1

    def _forget(self) -> None:
        if self._repeats:
            forget(self.call)
            self._renewals.repeats -= self._repeats
            self._repeats = 0

    def half_close(self) -> None:
        """The client has asked all it will."""
        self._forget()
        self._half_closed = True
        self._send_ready()

    def closed(self) -> None:
        """The stream is over, whoever ended it."""
        self._forget()
        self.waiting.clear()
        self._over()

    def renewed(self, renewal: _Renewal, ttl: int | None, problem: EtcdError | None) -> None:
        """What the leader said: 0 for a lease that it does not know."""
        if self.call.closed:
            return
        if problem is not None:
            self.call.fail(problem.code, problem.message)
        else:
            self.answer(renewal, ttl or 0)

    def answer(self, renewal: _Renewal, ttl: int) -> None:
        """The renewal was made; its answer leaves behind those of all before it. Hot."""
        renewal.ttl = ttl
        if self.waiting[0] is renewal:
            self._send_ready()

    def _send_ready(self) -> None:
        waiting = self.waiting
        while waiting and (ttl := waiting[0].ttl) is not None:
            first = waiting.popleft()
            self.call.send(first.header + first.lease.answer(ttl))
        if self._half_closed and not waiting:
            self.call.finish()
