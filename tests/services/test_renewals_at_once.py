"""When a leader renews without asking a quorum: docs/design/0023."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from harness.memory_tables import MemoryTables
from service_fakes import FakeLoop, FakeMember, stream, unary

from kvstore.errors import EtcdError, error
from kvstore.member import leader_calls
from kvstore.member.consensus.reads import ReadQueue
from kvstore.member.leader_calls import SURE_PART, LeaderCalls
from kvstore.member.requests import RequestKind
from kvstore.mvcc.lease import Lessor
from kvstore.pb import etcd_pb2 as pb
from kvstore.pb import raft_pb2
from kvstore.services.lease import LeaseService

TIMEOUT = 1.0  # of an election
LEASE, TTL = 7, 60


class Leader:
    """A leader of which a round of reads was confirmed that began at `began`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, began: float = 100.0) -> None:
        self.id = self.leader_id = 1
        self.config = SimpleNamespace(election_timeout=TIMEOUT * 1000)
        self.driver = SimpleNamespace(settled=True)
        self.loop = FakeLoop()
        self.loop.now = self.now = began
        self.lessor = Lessor(MemoryTables())  # type: ignore[arg-type]
        self.lessor.promote(began)
        self.lessor.grant(LEASE, TTL, began)
        self.reads = ReadQueue(1, 0.5)
        self.confirm(began)
        self.calls = LeaderCalls(self, self.reads)  # type: ignore[arg-type]
        monkeypatch.setattr(leader_calls, "time", SimpleNamespace(monotonic=lambda: self.now))

    def confirm(self, began: float) -> None:
        self.reads.add(1e9, lambda problem: None)
        context = self.reads.begin(began)
        assert context is not None
        self.reads.confirm(context, 0)


@pytest.fixture
def leader(monkeypatch: pytest.MonkeyPatch) -> Leader:
    return Leader(monkeypatch)


def test_for_a_part_of_the_election_timeout_after_a_round_began(leader: Leader) -> None:
    assert SURE_PART <= 0.5, "what a new leader adds to every lease, less what clocks may differ"
    assert leader.calls.renew_at_once(LEASE) == TTL
    leader.now = 100.0 + SURE_PART * TIMEOUT - 0.001
    assert leader.calls.renew_at_once(LEASE) == TTL
    leader.now = 100.0 + SURE_PART * TIMEOUT + 0.001
    assert leader.calls.renew_at_once(LEASE) == 0
    leader.confirm(leader.now)
    assert leader.calls.renew_at_once(LEASE) == TTL


def test_a_process_that_stood_still_asks_again(leader: Leader) -> None:
    """The loop's time is still that of before, but others may lead by now."""
    leader.now = 160.0
    assert leader.loop.time() == 100.0
    assert leader.calls.renew_at_once(LEASE) == 0
    assert leader.lessor.renewed == 0


def test_not_where_another_leads_or_may_lead(leader: Leader) -> None:
    leader.leader_id = 2
    assert leader.calls.renew_at_once(LEASE) == 0
    leader.leader_id = 1
    leader.reads.doubt()
    assert leader.calls.renew_at_once(LEASE) == 0
    leader.confirm(leader.now)
    leader.lessor.demote()
    assert leader.calls.renew_at_once(LEASE) == 0


def test_not_while_a_revocation_may_be_known_elsewhere(leader: Leader) -> None:
    leader.driver.settled = False
    assert leader.calls.renew_at_once(LEASE) == 0
    assert leader.lessor.renewed == 0


def test_that_a_lease_is_not_there_is_never_said_at_once(leader: Leader) -> None:
    assert leader.calls.renew_at_once(LEASE + 1) == 0
    leader.loop.now = leader.now = 100.0 + TTL
    leader.confirm(leader.now)
    assert leader.calls.renew_at_once(LEASE) == 0, "it has run out"


class PeerServer:
    """Keeps the handlers of the peer port."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def unary(self, path: str, handler: Any) -> None:
        self.handlers[path.rpartition("/")[2]] = handler


def test_a_followers_question_is_answered_at_once_too(leader: Leader) -> None:
    server, rounds = PeerServer(), []
    leader.linearizable = rounds.append  # type: ignore[attr-defined]
    leader.is_leader = True  # type: ignore[attr-defined]
    leader.calls.register(server)  # type: ignore[arg-type]
    request = raft_pb2.RenewLeaseRequest(ID=LEASE)
    reply = unary(server.handlers["RenewLease"], request).taken(raft_pb2.RenewLeaseReply)
    assert (reply.TTL, rounds) == (TTL, [])
    leader.now += TIMEOUT
    asked = unary(server.handlers["RenewLease"], request)
    assert (asked.sent, len(rounds)) == ([], 1)
    rounds.pop()(None)
    assert asked.taken(raft_pb2.RenewLeaseReply).TTL == TTL
    leader.confirm(leader.now)
    unary(server.handlers["LeaseTimeToLive"], request)
    assert len(rounds) == 1, "what is left of a lease is asked for each time"


def test_where_too_many_wait_the_asker_is_told(leader: Leader) -> None:
    """It was raised instead, for one question in the midst of serving another's reads: there it ended the member."""

    def refuse(done: object) -> None:
        raise error("TOO_MANY_REQUESTS")

    told: list[Any] = []
    leader.linearizable, leader.is_leader = refuse, True  # type: ignore[attr-defined]
    leader.calls._answer(leader.calls._ttl, LEASE, lambda answer, problem: told.append((answer, problem)))
    assert [(answer, problem.message) for answer, problem in told] == [(None, error("TOO_MANY_REQUESTS").message)]


def test_a_stream_is_answered_at_once_and_in_order() -> None:
    member = FakeMember()
    service = LeaseService(member, draw_id=lambda: 1)  # type: ignore[arg-type]
    for id in (1, 2):
        member.lessor.grant(id, TTL + id, 0.0)
    call = stream(service.keep_alive)
    member.sure = True
    call.hear(pb.LeaseKeepAliveRequest(ID=1))
    assert [(r.ID, r.TTL, r.header.revision) for r in call.take(pb.LeaseKeepAliveResponse)] == [(1, TTL + 1, 1)]
    member.sure, member.held = False, []
    call.hear(pb.LeaseKeepAliveRequest(ID=2))
    member.sure = True
    call.hear(pb.LeaseKeepAliveRequest(ID=1))
    assert call.sent == [], "the one before it is still being asked for"
    for work in member.held:
        work()
    assert [(r.ID, r.TTL) for r in call.take(pb.LeaseKeepAliveResponse)] == [(2, TTL + 2), (1, TTL + 1)]


LONG = 1000


class Asked:
    """A leader whose rounds and entries wait for the test; a lease of which a checkpoint stands in the log."""

    def __init__(self, leader: Leader) -> None:
        self.leader = leader
        self.rounds: list[Any] = []
        self.entries: list[Any] = []
        self.answers: list[Any] = []
        leader.is_leader = True  # type: ignore[attr-defined]
        leader.linearizable = self.rounds.append  # type: ignore[attr-defined]
        leader.propose = self.propose  # type: ignore[attr-defined]
        leader.lessor.grant(1, LONG, leader.now)
        leader.lessor.checkpoint(pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=1, remaining_TTL=400)]))

    def propose(self, kind: int, body: bytes, request: Any, done: Any) -> None:
        assert kind == RequestKind.LEASE_CHECKPOINT
        assert body == request.SerializeToString()
        self.entries.append((request, done))

    def renew(self) -> None:
        server = PeerServer()
        self.leader.calls.register(server)  # type: ignore[arg-type]
        self.answers.append(unary(server.handlers["RenewLease"], raft_pb2.RenewLeaseRequest(ID=1)))

    def confirm(self) -> None:
        rounds, self.rounds[:] = list(self.rounds), []
        for done in rounds:
            done(None)

    def apply(self, problem: EtcdError | None = None) -> None:
        request, done = self.entries.pop()
        if problem is None:
            self.leader.lessor.checkpoint(request)
        done(None, problem)


def test_a_checkpoint_is_taken_back_before_the_renewal_is_promised(leader: Leader) -> None:
    asked = Asked(leader)
    assert leader.calls.renew_at_once(1) == 0, "a leader that is chosen now would give it 400 seconds"
    for _ in range(3):
        asked.renew()
    asked.confirm()
    assert len(asked.entries) == 1, "one entry for all who renew it"
    assert asked.rounds == []
    asked.apply()
    assert [answer.sent for answer in asked.answers] == [[], [], []], "who leads is confirmed anew"
    asked.confirm()
    assert [answer.taken(raft_pb2.RenewLeaseReply).TTL for answer in asked.answers] == [LONG] * 3
    assert leader.calls.renew_at_once(1) == LONG
    leader.lessor.promote(leader.now + 1)  # as whoever applied the same entries
    assert leader.lessor.time_to_live(1, leader.now + 1) == (LONG, LONG)


def test_a_reset_that_is_lost_with_the_lead_is_no_renewal(leader: Leader) -> None:
    asked = Asked(leader)
    asked.renew()
    asked.confirm()
    asked.apply(error("LEADER_CHANGED"))
    assert asked.answers[0].status is not None
    assert leader.lessor.renewed == 0
    asked.renew()
    asked.confirm()
    assert len(asked.entries) == 1, "the next one asks for it again"


def test_who_leads_no_more_when_it_is_reset_renews_nothing(leader: Leader) -> None:
    asked = Asked(leader)
    asked.renew()
    asked.confirm()
    leader.is_leader = False  # type: ignore[attr-defined]
    asked.apply()
    assert asked.answers[0].status is not None
    assert leader.lessor.renewed == 0


def test_a_full_queue_is_an_error_of_the_renewal(leader: Leader) -> None:
    asked = Asked(leader)

    def full(*request: Any) -> None:
        raise error("TOO_MANY_REQUESTS")

    leader.propose = full  # type: ignore[attr-defined]
    asked.renew()
    asked.confirm()
    assert asked.answers[0].status is not None
