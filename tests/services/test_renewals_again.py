"""Renewals that come again take the wire's short way: the same answers, under the same rule (docs/design/0023)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hpack import Encoder
from service_fakes import FakeMember

from kvstore.member import leader_calls
from kvstore.member.consensus.reads import ReadQueue
from kvstore.member.leader_calls import LeaderCalls
from kvstore.pb import etcd_pb2 as pb
from kvstore.services import keep_alive
from kvstore.services.lease import LeaseService
from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.methods import Method, Methods
from kvstore.wire.grpc.server_connection import ServerConnection
from kvstore.wire.h2 import frames
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.limits import Limits

PATH = "/etcdserverpb.Lease/LeaseKeepAlive"
TTL = 60
Said = tuple[int, int, int, int]


class Client:
    """Two streams of one connection to a member that leads for sure, with leases 1 to 4 of 61 to 64 seconds."""

    def __init__(self) -> None:
        self.member = FakeMember()
        self.member.sure = True
        for id in range(1, 5):
            self.member.lessor.grant(id, TTL + id, 0.0)
        self.service = LeaseService(self.member, draw_id=lambda: 1)  # type: ignore[arg-type]
        methods = Methods()
        methods.add(Method(PATH, None, self.service.keep_alive))
        self.connection = ServerConnection(
            Limits(keepalive_interval=0), lambda: None, 0.0, methods=methods, deadlines=Deadlines()
        )
        self.connection.receive(frames.PREFACE + frames.frame(FrameType.SETTINGS, 0, 0, b""), 0.0)
        fields = {":method": "POST", ":scheme": "http", ":path": PATH, ":authority": "test", "te": "trailers"}
        encoder = Encoder()
        for stream in (1, 3):
            block = encoder.encode({**fields, "content-type": "application/grpc"})
            self.connection.receive(frames.headers(stream, block, 16_384, end_stream=False), 0.0)
        self.connection.take_output()

    def ask(self, *asked: tuple[int, int]) -> None:
        """(stream, lease) of renewals that come in one read."""
        octets = b""
        for stream, lease in asked:
            body = pb.LeaseKeepAliveRequest(ID=lease).SerializeToString()
            octets += frames.frame(FrameType.DATA, 0, stream, b"\0" + len(body).to_bytes(4, "big") + body)
        self.connection.receive(octets, 0.0)

    def said(self) -> list[Said]:
        """(stream, lease, TTL, revision) of the answers since."""
        data, found, at = b"".join(self.connection.take_output()), [], 0
        while at < len(data):
            word, _, stream = frames.HEAD.unpack_from(data, at)
            end = at + 9 + (word >> 8)
            if word & 0xFF == FrameType.DATA:
                answer = pb.LeaseKeepAliveResponse.FromString(data[at + 14 : end])
                found.append((stream, answer.ID, answer.TTL, answer.header.revision))
            at = end
        return found

    @property
    def known(self) -> int:
        return len(self.connection.repeats)


ALL = [(1, 1), (3, 2), (1, 3), (3, 4)]


@pytest.fixture
def client() -> Client:
    made = Client()
    made.ask(*ALL)
    assert made.said() == expected(ALL)
    assert made.known == 4
    return made


def expected(asked: list[tuple[int, int]], revision: int = 1) -> list[Said]:
    return [(stream, lease, TTL + lease, revision) for stream, lease in asked]


def test_renewed_together_and_answered_each(client: Client) -> None:
    client.member.loop.now = 50.0
    client.ask(*ALL, *ALL)
    assert client.said() == expected(ALL * 2)
    assert client.member.lessor.renewed == 12
    client.member.loop.now = 100.0
    assert client.member.lessor.expired(100.0) == [], "they run anew since 50"
    assert client.member.lessor.time_to_live(1, 100.0) == (11, 61)


def test_the_header_is_of_now(client: Client) -> None:
    revision = client.member.put(b"key")
    client.ask(*ALL)
    assert client.said() == expected(ALL, revision)
    client.member.headers.set_term(4)
    client.ask((1, 1))
    client.connection.take_output()
    assert client.connection.repeats


def test_where_it_is_not_sure_each_is_asked_for(client: Client) -> None:
    member = client.member
    member.sure, member.held = False, []
    client.ask(*ALL)
    assert client.said() == []
    assert len(member.held) == 4
    member.sure = True
    client.ask(*ALL)
    assert client.said() == [], "none overtakes those of its stream that wait"
    held, member.held = member.held, None
    for work in held:
        work()
    assert sorted(client.said()) == sorted(expected(ALL * 2))
    client.ask(*ALL)
    assert client.said() == expected(ALL)


def test_a_lease_that_has_gone_is_asked_for_and_what_is_behind_it_keeps_its_place(client: Client) -> None:
    member = client.member
    member.lessor.revoke(3)
    asked = [(1, 1), (1, 3), (1, 1), (3, 2)]
    member.held = []
    client.ask(*asked)
    assert client.said() == [(1, 1, TTL + 1, 1), (3, 2, TTL + 2, 1)], "at once: that it is not there must be asked for"
    for work in member.held:
        work()
    assert client.said() == [(1, 3, 0, 1), (1, 1, TTL + 1, 1)]


def test_what_has_run_out_is_not_renewed(client: Client) -> None:
    client.member.loop.now = TTL + 1.0
    client.ask(*ALL)
    assert client.said() == [(1, 1, 0, 1), *expected(ALL[1:])]


def test_a_checkpoint_that_stands_is_not_passed_over(client: Client) -> None:
    member = client.member
    member.lessor.checkpoint(pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=3, remaining_TTL=9)]))
    member.held = []
    client.ask(*ALL)
    assert client.said() == expected([(1, 1), (3, 2), (3, 4)]), "it is to be taken back in the log first"
    assert len(member.held) == 1
    member.lessor.checkpoint(pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=3, remaining_TTL=0)]))
    for work in member.held:
        work()
    assert client.said() == expected([(1, 3)])


def test_a_user_who_may_not_is_still_refused(client: Client) -> None:
    client.member.auth.enabled = True
    client.ask((1, 1))
    assert client.said() == []
    assert not any(repeat.call.stream_id == 1 for repeat in client.connection.repeats.values()), "the stream has ended"


def test_what_is_remembered_is_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alive, "STREAM_REPEATS", 2)
    client.ask((1, 2))
    assert client.known == 3, "the stream begins anew, the other keeps its own"
    monkeypatch.setattr(keep_alive, "MAX_REPEATS", 3)
    client.ask((1, 4), (1, 2))
    assert client.said() == expected([(1, 2), (1, 4), (1, 2)])
    assert client.known == 3
    client.connection.receive(frames.frame(FrameType.DATA, frames.END_STREAM, 1, b""), 0.0)
    client.connection.receive(frames.rst_stream(3, 8), 0.0)
    assert client.known == client.service._renewals.repeats == 0


def test_the_rule_is_asked_once_for_all_that_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither beyond half an election timeout, nor unsettled, nor where another leads."""
    member, now = FakeMember(), 100.0
    for id in (1, 2):
        member.lessor.grant(id, TTL, now)
    member.driver = SimpleNamespace(settled=True)  # type: ignore[attr-defined]
    reads = ReadQueue(1, 0.5)
    calls = LeaderCalls(member, reads)  # type: ignore[arg-type]
    monkeypatch.setattr(leader_calls, "time", SimpleNamespace(monotonic=lambda: now))
    assert calls.renew_run([1, 2]) == []
    reads.add(1e9, lambda problem: None)
    context = reads.begin(now)
    assert context is not None
    reads.confirm(context, 0)
    assert calls.renew_run([1, 2]) == [TTL, TTL]
    assert calls.renew_run([1, 9, 2]) == [TTL]
    now += 0.501
    assert calls.renew_run([1, 2]) == []
    now -= 0.002
    assert calls.renew_run([1, 2]) == [TTL, TTL]
    member.driver.settled = False  # type: ignore[attr-defined]
    assert calls.renew_run([1, 2]) == []
    member.driver.settled, member.leader_id = True, 2  # type: ignore[attr-defined]
    assert calls.renew_run([1, 2]) == []
    member.leader_id = member.id
    member.lessor.demote()
    assert calls.renew_run([1, 2]) == []
