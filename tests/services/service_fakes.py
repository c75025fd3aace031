"""A member without Raft, disk or network, and a call and a loop to match.

Proposals are applied at once, or when the test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from harness.memory_tables import MemoryTables

from kvstore.errors import Code, EtcdError, error
from kvstore.member.header import Headers
from kvstore.member.requests import RequestKind
from kvstore.mvcc.lease import Lessor
from kvstore.mvcc.store import Store
from kvstore.mvcc.watch import WatchHub
from kvstore.pb import etcd_pb2 as pb


class Timer:
    def __init__(self, when: float, work: Callable[[], None]) -> None:
        self.when = when
        self.work = work
        self.live = True

    def cancel(self) -> None:
        self.live = False


class FakeLoop:
    """Time moves only in advance()."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], None]] = []
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, work: Callable[..., None], *args: Any) -> None:
        self.soon.append(partial(work, *args))

    def call_later(self, seconds: float, work: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(self.now + seconds, partial(work, *args))
        self.timers.append(timer)
        return timer

    def run(self) -> None:
        """Turns of the loop until nothing is left."""
        while self.soon:
            turn, self.soon = self.soon, []
            for work in turn:
                work()

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            self.run()
            due = [timer for timer in self.timers if timer.live and timer.when <= until]
            if not due:
                break
            first = min(due, key=lambda timer: timer.when)
            self.timers.remove(first)
            self.now = first.when
            first.work()
        self.now = until


class FakeCall:
    """A wire call whose client reads everything at once, unless `buffered` says otherwise."""

    # As those of the JSON gateway: it has nothing that the wire's short way would ask for.
    comes_in_frames = False

    def __init__(self, **metadata: str) -> None:
        self.metadata = metadata
        self.user = None  # authentication is off
        self.buffered = self.buffered_on_connection = 0
        self.closed = False
        self.on_drain: Callable[[], None] | None = None
        self.sent: list[bytes] = []
        self.flushes = 0
        self.status: tuple[int, str] | None = None
        self.stream: Any = None

    def send(self, message: bytes) -> None:
        if not self.closed:
            self.sent.append(message)

    def flush(self) -> None:
        self.flushes += 1

    def send_parts(self, parts: list[bytes]) -> None:
        self.send(b"".join(parts))

    def reply(self, message: bytes) -> None:
        self.send(message)
        self.finish()

    def finish(self) -> None:
        self.fail(Code.OK, "")

    def fail(self, code: int, message: str) -> None:
        if not self.closed:
            self.closed = True
            self.status = (int(code), message)
            if self.stream is not None:
                self.stream.closed()

    def hear(self, message: Any) -> None:
        """A message from the client; an error ends the stream, as in the front door."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        try:
            self.stream.message(data)
        except EtcdError as problem:
            self.fail(problem.code, problem.message)

    def drain(self) -> None:
        """The client read all that was buffered."""
        self.buffered = 0
        if self.on_drain is not None:
            self.on_drain()

    def take(self, kind: Any) -> list[Any]:
        """What was sent since the last time, decoded."""
        sent, self.sent = self.sent, []
        return [kind.FromString(message) for message in sent]

    def taken(self, kind: Any) -> Any:
        """The one message that was sent."""
        (message,) = self.take(kind)
        return message


class FakeConfig:
    election_timeout = 1000
    max_request_bytes = 4096
    max_txn_ops = 128
    watch_progress_interval = 600.0


class FakeAuth:
    enabled = False


class FakeChecks:
    """Nothing is forbidden while authentication is off."""

    def lease_read(self, identity: Any, lease: int) -> None:
        assert identity is None


class FakeAlarms:
    no_space = False


class FakeMember:
    """Store, watches and leases as a real member has them; it leads unless told otherwise."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.config = FakeConfig()
        tables = MemoryTables()
        self.lessor = Lessor(tables, min_ttl=2)
        self.watches = WatchHub()
        self.store = Store(tables, self.lessor, self.watches)
        self.watches.bind(self.store)
        self.lessor.promote(0.0)
        self.alarms = FakeAlarms()
        self.auth = FakeAuth()
        self.checks = FakeChecks()
        self.headers = Headers(14, 15)
        self.headers.set_term(3)
        self.id = self.leader_id = 15
        self.is_learner = False
        self.proposals: list[tuple[int, bytes]] = []
        self.hooks: list[Callable[[], None]] = []
        self.sure = False  # a quorum has just said that it leads
        self.leader_calls = self
        self.held: list[Callable[[], None]] | None = None  # a list: answers wait in it
        self.problem: EtcdError | None = None

    def header_field(self, revision: int) -> bytes:
        return self.headers.field(revision)

    def on_leader_change(self, hook: Callable[[], None]) -> Callable[[], None]:
        self.hooks.append(hook)
        return lambda: self.hooks.remove(hook)

    def set_leader(self, leader: int) -> None:
        self.leader_id = leader
        for hook in self.hooks:
            hook()

    def check_space(self, size: int) -> None:
        if self.alarms.no_space:
            raise error("NO_SPACE")

    def propose(
        self, kind: int, body: bytes, request: Any, done: Callable[[Any, EtcdError | None], None], identity: Any = None
    ) -> None:
        self.proposals.append((kind, body))
        self.answer(lambda: self.apply(kind, body, done))

    def apply(self, kind: int, body: bytes, done: Callable[[Any, EtcdError | None], None]) -> None:
        if self.problem is not None:
            done(None, self.problem)
            return
        try:
            result = {RequestKind.LEASE_GRANT: self.grant, RequestKind.LEASE_REVOKE: self.revoke}[RequestKind(kind)](
                body
            )
        except EtcdError as problem:
            done(None, problem)
        else:
            done(result, None)

    def grant(self, body: bytes) -> int:
        request = pb.LeaseGrantRequest.FromString(body)
        return self.lessor.grant(request.ID, request.TTL, self.loop.now)

    def revoke(self, body: bytes) -> int:
        keys = self.lessor.revoke(pb.LeaseRevokeRequest.FromString(body).ID)
        if keys:
            self.store.delete_keys(keys)
        return self.store.revision

    def linearizable(self, done: Callable[[EtcdError | None], None]) -> None:
        self.answer(lambda: done(self.problem))

    def gather(self, serve: Callable[[list[Any], EtcdError | None], None], item: Any) -> None:
        self.answer(lambda: serve([item], self.problem))

    def renew_at_once(self, lease: int) -> int:
        return (self.lessor.renew_known(lease, self.loop.now) or 0) if self.sure else 0

    def renew_run(self, leases: Sequence[int]) -> list[int]:
        return self.lessor.renew_run(leases, self.loop.now) if self.sure else []

    def renew_lease(self, lease: int, done: Callable[[int | None, EtcdError | None], None]) -> None:
        def renew() -> None:
            if self.problem is not None:
                done(None, self.problem)
                return
            try:
                ttl = self.lessor.renew(lease, self.loop.now)
            except EtcdError:
                ttl = 0
            done(ttl, None)

        self.answer(renew)

    def lease_time_to_live(self, lease: int, done: Callable[[Any, EtcdError | None], None]) -> None:
        self.answer(lambda: done(self.lessor.time_to_live(lease, self.loop.now), self.problem))

    def answer(self, work: Callable[[], None]) -> None:
        if self.held is None:
            work()
        else:
            self.held.append(work)

    # ---- what tests do to the store

    def put(self, key: bytes, value: bytes = b"v", lease: int = 0) -> int:
        self.store.put(pb.PutRequest(key=key, value=value, lease=lease))
        return self.store.revision

    def delete(self, key: bytes, end: bytes = b"") -> int:
        self.store.delete_range(pb.DeleteRangeRequest(key=key, range_end=end))
        return self.store.revision

    def txn(self, *puts: tuple[bytes, bytes]) -> int:
        ops = [pb.RequestOp(request_put=pb.PutRequest(key=key, value=value)) for key, value in puts]
        self.store.txn(pb.TxnRequest(success=ops))
        return self.store.revision

    def compact(self, revision: int) -> None:
        self.store.compact(revision)
        while not self.store.compact_step(100):
            pass


def unary(handler: Callable[[Any, bytes], None], request: Any, **metadata: str) -> FakeCall:
    """Call a unary handler as the front door does."""
    call = FakeCall(**metadata)
    try:
        handler(call, request if isinstance(request, bytes) else request.SerializeToString())
    except EtcdError as problem:
        call.fail(problem.code, problem.message)
    return call


def stream(factory: Callable[[Any], Any], **metadata: str) -> FakeCall:
    """Open a stream as the front door does."""
    call = FakeCall(**metadata)
    try:
        call.stream = factory(call)
    except EtcdError as problem:
        call.fail(problem.code, problem.message)
    return call
