"""The leader dies and its peers' connections break: without a single tick, the survivors have a new one.

Messages keep their order on each way, as on one connection; otherwise everything may happen in any order:
who notices first, how late the others do, whose message is quicker. Logs may differ by what the leader sent last.
"""

from __future__ import annotations

import random

import pytest
from raft_alone import Alone

from kvstore.raft.types import Message, MessageKind, Role


class Survivors:
    """Members 2 … size after leader 1 died; `choose` decides what happens next."""

    def __init__(self, size: int, choose: random.Random) -> None:
        self.choose = choose
        self.ways: dict[tuple[int, int], list[Message]] = {}
        voters = range(1, size + 1)
        lengths = {member: choose.choice((1, 1, 2)) for member in voters}
        self.members = {
            member: Alone(voters, terms=[1] * lengths[member], me=member, pre_vote=True, check_quorum=True)
            for member in voters
            if member != 1
        }
        for member in self.members.values():
            member.step(MessageKind.HEARTBEAT, 1, 1)
        self.unaware = sorted(self.members)

    def run(self) -> None:
        """Until everybody knows and nobody has anything more to say."""
        while self.unaware or self.ways:
            if self.unaware and (not self.ways or self.choose.random() < 0.3):
                member = self.unaware.pop(self.choose.randrange(len(self.unaware)))
                self.members[member].node.peer_lost(1)
                self._send(self.members[member].drain())
            else:
                self._deliver(self.choose.choice(sorted(self.ways)))

    def _deliver(self, way: tuple[int, int]) -> None:
        message = self.ways[way].pop(0)
        if not self.ways[way]:
            del self.ways[way]
        receiver = self.members[way[1]]
        receiver.node.step(message)
        self._send(receiver.drain())

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            if message.to in self.members:
                self.ways.setdefault((message.from_, message.to), []).append(message)

    @property
    def leaders(self) -> list[int]:
        """Who leads."""
        return [member for member, alone in self.members.items() if alone.node.role is Role.LEADER]


def test_three_members_always_have_a_leader_at_once(seed: int) -> None:
    for number in range(400):
        survivors = Survivors(3, random.Random(seed + number))
        survivors.run()
        assert len(survivors.leaders) == 1, f"seed {seed + number}"
        assert {alone.node.leader for alone in survivors.members.values()} == set(survivors.leaders)


@pytest.mark.parametrize(("size", "at_least"), [(4, 160), (5, 120)])
def test_more_members_mostly_do(size: int, at_least: int, seed: int) -> None:
    """With so much disorder two candidates can still split the votes of the rest; then a timeout decides, as ever."""
    elected = 0
    for number in range(200):
        survivors = Survivors(size, random.Random(seed + number))
        survivors.run()
        terms = {survivors.members[leader].node.term for leader in survivors.leaders}
        assert len(terms) == len(survivors.leaders), f"two leaders of one term, seed {seed + number}"
        elected += bool(survivors.leaders)
    assert elected >= at_least
