"""Puts and gets that come in one read of a connection are the same requests and get the same answers as one by one."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hpack import Encoder
from service_fakes import FakeMember

from kvstore.errors import error
from kvstore.member.consensus import proposals, reads
from kvstore.member.space import Space
from kvstore.member.waiting import Waiting
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.kv import KvService
from kvstore.services.puts import PutWaiter
from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.messages import PREFIX
from kvstore.wire.grpc.methods import Method, Methods
from kvstore.wire.grpc.server_connection import ServerConnection
from kvstore.wire.h2 import frames
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.limits import Limits

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
Unusual = Callable[["Site"], None]


class Site:
    """A connection to the KV service of a member whose requests wait as a real one's do, until settle()."""

    def __init__(self) -> None:
        self.member: Any = FakeMember()
        self.member.stopping = False
        self.member.config.request_timeout = 5.0
        self.member.config.heartbeat_interval = 100
        self.member.driver = SimpleNamespace(wake=lambda: None)
        waiting = self.member.waiting = Waiting(self.member, 1)
        self.space = self.member.space = Space.__new__(Space)
        self.space._alarms, self.space._used, self.space._quota, self.space._short = self.member.alarms, 0, 1000, 0
        self.space._backend = SimpleNamespace(size_in_use=lambda: 0)  # type: ignore[assignment]
        self.space._waiting = lambda: waiting.proposals.size
        self.space._alarm = lambda reason: None  # type: ignore[assignment]
        self.member.check_space = self.space.check
        self.member.propose, self.member.linearizable, self.member.gather = (
            waiting.propose,
            waiting.linearizable,
            waiting.gather,
        )
        kv = KvService(self.member)
        self.together: list[bool] = []
        self.methods = [
            Method(PUT, kv.put, None, self._noted(kv.put_all)),
            Method(RANGE, kv.range, None, self._noted(kv._gets.take_all)),
        ]
        known = Methods()
        for method in self.methods:
            known.add(method)
        quiet = Limits(keepalive_interval=0)
        self.connection = ServerConnection(quiet, lambda: None, 0.0, methods=known, deadlines=Deadlines())
        self.connection.receive(frames.PREFACE + frames.frame(FrameType.SETTINGS, 0, 0, b""), 0.0)
        self.connection.take_output()

    def _noted(self, handler: Callable[..., bool]) -> Callable[..., bool]:
        def noted(*arguments: Any) -> bool:
            self.together.append(handler(*arguments))
            return self.together[-1]

        return noted

    def ask(self, path: str, requests: list[bytes], *, at_once: bool) -> None:
        """HEADERS of all, then DATA of all, as load generators send them."""
        streams = [2 * number + 1 for number in range(len(requests))]
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "te": "trailers"}
        block = Encoder().encode([(n, v, True) for n, v in {**fields, "content-type": "application/grpc"}.items()])
        pieces = [frames.headers(stream, block, 16_384, end_stream=False) for stream in streams]
        for stream, body in zip(streams, requests, strict=True):
            whole = PREFIX.pack(0, len(body)) + body
            pieces.append(frames.frame(FrameType.DATA, frames.END_STREAM, stream, whole))
        for piece in [b"".join(pieces)] if at_once else pieces:
            self.connection.receive(piece, 0.0)

    def settle(self) -> None:
        """What waits is applied, and confirmed."""
        queue = self.member.waiting.proposals
        while (taken := queue.take(3)) is not None:
            batch = queue.applied(taken[0])
            plain = [p.done for p in batch if type(p.done) is PutWaiter]
            if len(plain) == len(batch):
                PutWaiter.answer_run(plain, 100, at_once=False)
            else:
                for at, proposal in enumerate(batch):
                    proposal.done(SimpleNamespace(revision=100 + at, prev_kv=None), None)
        context = self.member.waiting.reads.begin(0.0)
        if context is not None:
            self.member.waiting.reads.confirm(context, 0)
            for done in self.member.waiting.reads.ready(0):
                done(None)

    def state(self) -> tuple[Any, ...]:
        """All that the two ways must agree on."""
        connection = self.connection
        counted = [(method.started, list(method.handled)) for method in self.methods]
        return (
            b"".join(connection.take_output()),
            connection.send_window,
            connection.recv_left,
            counted,
            self.space._used,
        )


def both(path: str, requests: list[bytes], unusual: Unusual) -> tuple[Site, Site]:
    sites = Site(), Site()
    for site, at_once in zip(sites, (True, False), strict=True):
        unusual(site)
        site.ask(path, requests, at_once=at_once)
        site.queued = [tuple(p[:3]) for p in site.member.waiting.proposals._queued]  # type: ignore[attr-defined]
        site.asked = len(site.member.waiting.reads._next), site.member.waiting.reads._waiting  # type: ignore[attr-defined]
        site.settle()
    return sites


def put(number: int, **more: Any) -> bytes:
    return pb.PutRequest(key=b"k%d" % number, value=b"v" * (number + 1), **more).SerializeToString()


PUTS = [put(number) for number in range(5)]
GETS = [pb.RangeRequest(key=b"k%d" % (number % 3)).SerializeToString() for number in range(5)]


def nothing(site: Site) -> None:
    site.member.put(b"k1", b"a value")
    site.member.put(b"k2", b"v" * 600)


@pytest.mark.parametrize(("path", "requests"), [(PUT, PUTS), (RANGE, GETS)])
def test_the_same_together(path: str, requests: list[bytes]) -> None:
    at_once, alone = both(path, requests, nothing)
    assert at_once.together == [True]
    assert alone.together == []
    assert at_once.queued == alone.queued  # type: ignore[attr-defined]
    assert at_once.asked == alone.asked  # type: ignore[attr-defined]
    assert at_once.methods[0].handled[0] + at_once.methods[1].handled[0] == 5
    assert at_once.state() == alone.state()


def no_leader(site: Site) -> None:
    site.member.set_leader(0)


def learner(site: Site) -> None:
    site.member.is_learner = True


def stopping(site: Site) -> None:
    site.member.stopping = True


def alarm(site: Site) -> None:
    site.member.alarms.no_space = True


def quota(site: Site) -> None:
    """Enough for the first two."""
    site.space._quota = len(PUTS[0]) + len(PUTS[1])


def disk(site: Site) -> None:
    site.space._short = 3


def limit(site: Site) -> None:
    """The largest request is too long."""
    site.member.config.max_request_bytes = len(PUTS[4]) - 1
    for method in site.methods:
        method.unary.__self__._limit = len(PUTS[4]) - 1  # type: ignore[union-attr]


def full(site: Site) -> None:
    """There is room for two more requests."""
    site.member.waiting.proposals._requests = proposals.MAX_REQUESTS - 2
    site.member.waiting.reads._waiting = reads.MAX_READS - 2


def bytes_full(site: Site) -> None:
    site.member.waiting.proposals._bytes = proposals.MAX_BYTES - len(PUTS[0]) - 1


@pytest.mark.parametrize("unusual", [no_leader, learner, stopping, alarm, quota, disk, limit, full, bytes_full])
def test_puts_of_which_one_may_be_refused_go_one_by_one(unusual: Unusual) -> None:
    at_once, alone = both(PUT, PUTS, unusual)
    assert at_once.together == [False]
    assert at_once.queued == alone.queued  # type: ignore[attr-defined]
    assert at_once.state() == alone.state()


@pytest.mark.parametrize("unusual", [no_leader, learner, stopping, full])
def test_gets_of_which_one_may_be_refused_go_one_by_one(unusual: Unusual) -> None:
    at_once, alone = both(RANGE, GETS, unusual)
    assert at_once.together == [False]
    assert at_once.state() == alone.state()


@pytest.mark.parametrize(
    "odd", [put(9, lease=5), put(9, prev_kv=True), b"\x0a", pb.PutRequest(key=b"k").SerializeToString()]
)
def test_one_put_of_another_kind_leaves_all_to_the_general_way(odd: bytes) -> None:
    at_once, alone = both(PUT, [*PUTS[:2], odd, *PUTS[2:]], nothing)
    assert at_once.together == [False]
    assert at_once.queued == alone.queued  # type: ignore[attr-defined]
    assert at_once.state() == alone.state()


def test_one_range_of_another_kind_leaves_all_to_the_general_way() -> None:
    odd = pb.RangeRequest(key=b"k1", limit=1).SerializeToString()
    at_once, alone = both(RANGE, [*GETS, odd], nothing)
    assert at_once.together == [False]
    assert at_once.state() == alone.state()


def test_what_a_handler_of_several_raises_is_told_to_each() -> None:
    site = Site()

    def broken(*arguments: Any) -> bool:
        raise error("TOO_MANY_REQUESTS")

    site.methods[0].together = broken
    site.ask(PUT, PUTS, at_once=True)
    assert site.methods[0].handled[8] == 5
    assert not site.connection.streams


def test_with_a_window_for_two_answers_the_others_wait() -> None:
    def narrow(site: Site) -> None:
        nothing(site)
        site.connection.send_window = 700

    at_once, alone = both(RANGE, GETS, narrow)
    assert at_once.connection.unsent == alone.connection.unsent > 0
    assert at_once.state() == alone.state()
