"""How long a follower bears its leader's silence: six tenths of the election timeout, longer where it was wrong."""

from __future__ import annotations

import pytest
from raft_alone import Alone
from raft_memory_log import MemoryLog

from kvstore.raft.config import Config
from kvstore.raft.node import RawNode
from kvstore.raft.types import ConfState, Message, MessageKind, Role

HEARTBEAT = MessageKind.HEARTBEAT


def follower(**options: bool) -> Alone:
    alone = Alone(**{"pre_vote": True, "check_quorum": True, **options})  # type: ignore[arg-type]
    alone.step(HEARTBEAT, 2, 1)
    return alone


def borne(alone: Alone) -> int:
    """Ticks without a word from the leader until a campaign."""
    return next(tick for tick in range(1, 100) if alone.tick())


def heartbeats(alone: Alone, count: int) -> None:
    for _ in range(count):
        alone.tick()
        alone.step(HEARTBEAT, 2, 1)


def test_six_of_ten_ticks() -> None:
    assert borne(follower()) == 6


def test_without_pre_votes_the_whole_timeout() -> None:
    assert borne(follower(pre_vote=False)) == 10


@pytest.mark.parametrize(("heartbeat", "election", "expected"), [(1, 50, 30), (1, 5, 5), (2, 10, 10), (3, 100, 60)])
def test_it_is_a_part_of_the_election_timeout_and_six_heartbeats_at_least(
    heartbeat: int, election: int, expected: int
) -> None:
    config = Config(id=1, randrange=lambda n: 0, heartbeat_ticks=heartbeat, election_ticks=election)
    node = RawNode(config, MemoryLog(ConfState(voters=(1, 2, 3))))
    node.step(Message(HEARTBEAT, to=1, from_=2, term=1))
    ticks = 0
    while node.role is Role.FOLLOWER:
        node.tick()
        ticks += 1
    assert ticks == expected


@pytest.mark.parametrize(("gap", "expected"), [(1, 6), (2, 6), (3, 9), (4, 10), (5, 10)])
def test_a_gap_makes_it_three_times_as_long(gap: int, expected: int) -> None:
    alone = follower()
    assert alone.tick(gap) == []
    alone.step(HEARTBEAT, 2, 1)
    assert borne(alone) == expected


def test_a_wrong_suspicion_makes_it_the_whole_timeout() -> None:
    alone = follower()
    assert borne(alone) == 6
    alone.step(HEARTBEAT, 2, 1)
    assert (alone.node.role, alone.node.leader) == (Role.FOLLOWER, 2)
    assert borne(alone) == 10


def test_a_right_one_does_not() -> None:
    """Another leads the next term: it has not stalled yet."""
    alone = follower()
    assert borne(alone) == 6
    alone.step(HEARTBEAT, 3, 2)
    assert borne(alone) == 6


@pytest.mark.parametrize(("beats", "expected"), [(7, 10), (10, 9), (37, 7), (40, 6), (90, 6)])
def test_trust_is_won_back_by_a_tick_for_each_election_timeout(beats: int, expected: int) -> None:
    alone = follower()
    alone.tick(5)
    alone.step(HEARTBEAT, 2, 1)
    heartbeats(alone, beats)
    assert borne(alone) == expected


@pytest.mark.parametrize(("silence", "granted"), [(4, False), (5, True)])
def test_who_has_heard_the_leader_lately_grants_no_pre_vote(silence: int, granted: bool) -> None:
    """Whoever asks has missed six heartbeats; who has missed five of them agrees."""
    alone = follower()
    alone.tick(silence)
    replies = alone.step(MessageKind.PRE_VOTE, 3, 2, index=9, log_term=9)
    assert [m.reject for m in replies] == ([False] if granted else [])


@pytest.mark.parametrize(("silence", "granted"), [(9, False), (10, True)])
def test_who_has_no_short_patience_grants_none_earlier(silence: int, granted: bool) -> None:
    alone = follower(pre_vote=True)
    alone.tick(5)
    alone.step(HEARTBEAT, 2, 1)
    alone.tick(silence)
    replies = alone.step(MessageKind.PRE_VOTE, 3, 2, index=9, log_term=9)
    assert [m.reject for m in replies if m.kind is MessageKind.PRE_VOTE_REPLY] == ([False] if granted else [])


def test_a_leader_is_not_asked_for_less_than_a_whole_timeout() -> None:
    """It hears its followers, not a leader: a candidate is ignored as long as it may have its quorum."""
    alone = Alone(pre_vote=True, check_quorum=True)
    alone.node.campaign()
    alone.drain()
    alone.step(MessageKind.PRE_VOTE_REPLY, 2, 1)
    alone.step(MessageKind.VOTE_REPLY, 2)
    assert alone.node.role is Role.LEADER
    alone.tick(9)
    assert alone.step(MessageKind.PRE_VOTE, 3, 2, index=9, log_term=9) == []
    assert alone.node.role is Role.LEADER
