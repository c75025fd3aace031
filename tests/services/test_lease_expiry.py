"""How a leader ends the leases that ran out: a few at a time, so that nobody's put waits for all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from harness.memory_tables import MemoryTables
from service_fakes import FakeLoop

from kvstore.errors import EtcdError, error
from kvstore.member import duties as module
from kvstore.member.duties import LEASE_SECONDS, Duties
from kvstore.member.requests import RequestKind
from kvstore.mvcc.lease import Lessor
from kvstore.pb import etcd_pb2 as pb

AT_ONCE = module.REVOKES_AT_ONCE
TTL = 10


class Leader:
    """A member whose quorum and whose log answer when the test says so."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.config = SimpleNamespace(
            auto_compaction_mode="periodic", auto_compaction_retention="0", election_timeout=1000
        )
        self.lessor = Lessor(MemoryTables())  # type: ignore[arg-type]
        self.rounds: deque[Callable[[EtcdError | None], None]] = deque()
        self.proposed: deque[tuple[int, Callable[[Any, EtcdError | None], None]]] = deque()
        self.full = False
        self.duties = Duties(self)  # type: ignore[arg-type]
        self.duties.lead(True)

    def linearizable(self, done: Callable[[EtcdError | None], None]) -> None:
        if self.full:
            raise error("TOO_MANY_REQUESTS")
        self.rounds.append(done)

    def propose(self, kind: int, body: bytes, request: Any, done: Callable[[Any, EtcdError | None], None]) -> None:
        assert kind == RequestKind.LEASE_EXPIRE
        self.proposed.append((pb.LeaseRevokeRequest.FromString(body).ID, done))

    def grant(self, count: int, keys: int = 0) -> None:
        for id in range(1, count + 1):
            self.lessor.grant(id, TTL, self.loop.now)
            for key in range(keys):
                self.lessor.attach(id, b"%d/%d" % (id, key))

    def confirm(self, problem: EtcdError | None = None) -> None:
        self.rounds.popleft()(problem)

    def apply(self) -> int:
        """Everything proposed is applied; how much it was."""
        count = len(self.proposed)
        for _ in range(count):
            id, done = self.proposed.popleft()
            self.lessor.revoke(id)
            done(1, None)
        self.loop.run()
        return count


@pytest.fixture
def leader() -> Leader:
    return Leader()


def test_nothing_is_proposed_before_a_quorum_has_confirmed_it(leader: Leader) -> None:
    leader.grant(3)
    leader.loop.advance(TTL + 2 * LEASE_SECONDS)
    assert len(leader.rounds) == 1
    assert not leader.proposed
    leader.confirm(error("TIMEOUT"))
    assert not leader.proposed
    leader.loop.advance(LEASE_SECONDS)
    leader.confirm()
    assert leader.apply() == 3
    assert not leader.rounds


def test_a_lease_that_was_renewed_meanwhile_stays(leader: Leader) -> None:
    leader.grant(2)
    leader.loop.advance(TTL - 1)
    leader.lessor.renew(1, leader.loop.now)
    leader.loop.advance(1 + 2 * LEASE_SECONDS)
    leader.confirm()
    assert [id for id, _ in leader.proposed] == [2]


def test_many_end_a_few_at_a_time_without_a_pause(leader: Leader) -> None:
    leader.grant(5 * AT_ONCE // 2)
    leader.loop.advance(TTL + 2 * LEASE_SECONDS)
    sizes = []
    while leader.rounds:
        leader.confirm()
        assert not leader.rounds, "the next are asked for when these have gone"
        sizes.append(leader.apply())
    assert sizes == [AT_ONCE, AT_ONCE, AT_ONCE // 2]
    assert leader.loop.now == TTL + 2 * LEASE_SECONDS, "no clock was waited for"


def test_a_lease_with_many_keys_counts_for_many(leader: Leader) -> None:
    leader.grant(12, keys=AT_ONCE // 2 - 1)
    leader.loop.advance(TTL + 2 * LEASE_SECONDS)
    sizes = []
    while leader.rounds:
        leader.confirm()
        sizes.append(leader.apply())
    assert sizes == [4, 4, 4]


def test_a_lease_with_more_keys_than_that_ends_too(leader: Leader) -> None:
    leader.grant(2, keys=3 * AT_ONCE)
    leader.loop.advance(TTL + 2 * LEASE_SECONDS)
    leader.confirm()
    assert leader.apply() == 1
    leader.confirm()
    assert leader.apply() == 1


def test_a_round_that_could_not_be_asked_for_is_tried_again(leader: Leader) -> None:
    leader.grant(1)
    leader.full = True
    leader.loop.advance(TTL + 2 * LEASE_SECONDS)
    assert not leader.rounds
    leader.full = False
    leader.loop.advance(2 * LEASE_SECONDS)
    leader.confirm()
    assert leader.apply() == 1


def test_what_could_not_be_proposed_is_found_again_by_the_clock(leader: Leader) -> None:
    leader.grant(2)
    leader.loop.advance(TTL + 2 * LEASE_SECONDS)
    leader.confirm()
    while leader.proposed:
        leader.proposed.popleft()[1](None, error("LEADER_CHANGED"))
    leader.loop.run()
    assert not leader.rounds, "no hurry: who refused once will do so again"
    leader.loop.advance(LEASE_SECONDS)
    leader.confirm()
    assert leader.apply() == 2
