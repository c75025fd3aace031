"""What a leader says at once, what it keeps back, and that it always gets there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from kvstore.member.consensus.outbox import (
    FLOW_SECONDS,
    HELD_BYTES,
    HOLD_SECONDS,
    TOGETHER_SECONDS,
    WAITING_SECONDS,
    Outbox,
)
from kvstore.raft.config import Config
from kvstore.raft.node import RawNode
from kvstore.raft.types import ConfState, Message, MessageKind, SnapshotMeta
from kvstore.storage.log import Log


class Leader:
    """Member 1 of three, on a clock that the test moves; the followers are played by the test."""

    def __init__(self, folder: Path, voters: tuple[int, ...] = (1, 2, 3)) -> None:
        self.now = 100.0
        self.sent: list[Message] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.soon: list[Callable[[], None]] = []
        self.silent = False
        self.wal = Log.create(folder / "log", metadata=b"test", fsync=False)
        self.wal.install_snapshot(SnapshotMeta(0, 0, ConfState(voters=voters)))
        self.raw = RawNode(Config(id=1, randrange=lambda n: 0), self.wal)
        loop = cast(asyncio.AbstractEventLoop, self)
        self.box = Outbox(loop, self.raw, self._send, lambda: self.silent, lambda: self.now)
        self.raw.campaign()
        for kind in (MessageKind.PRE_VOTE_REPLY, MessageKind.VOTE_REPLY):
            self.save()
            for peer in voters[1:]:
                self.raw.step(Message(kind, to=1, from_=peer, term=1))
        self.save()
        self.box.forget()
        for peer in voters[1:]:
            self.store(peer)
        self.advance(1.0)
        self.box.speak()
        self.tell()
        self.sent.clear()

    def save(self) -> None:
        """What Raft wants written is durable, and what is committed applied."""
        while self.raw.has_ready():
            ready = self.raw.ready()
            self.wal.append(ready.entries, ready.hard_state)
            self.raw.saved(ready)
            if ready.committed:
                self.raw.applied(ready.committed[-1].index)
            self.sent += ready.messages

    def _send(self, messages: Iterable[Message]) -> None:
        self.sent += messages

    def call_later(self, delay: float, work: Callable[[], None]) -> object:
        self.timers.append((self.now + delay, work))
        return self.timers[-1]

    def call_soon(self, work: Callable[..., None], *arguments: Any) -> None:
        self.soon.append(lambda: work(*arguments))

    def advance(self, seconds: float) -> None:
        """In steps, so that a timer that is set again comes again."""
        until = self.now + seconds
        while (due := min(self.timers, default=(until + 1, None), key=lambda timer: timer[0]))[0] <= until:
            self.timers.remove(cast(Any, due))
            self.now = due[0]
            cast(Any, due[1])()
        self.now = until

    def tell(self) -> None:
        """The end of a turn: answers were made."""
        self.box.tell_commits_last()
        while self.soon:
            self.soon.pop(0)()

    def propose(self, size: int = 1) -> int:
        """One entry is proposed, said and written; its index."""
        assert self.raw.propose(bytes(size))
        self.box.speak()
        self.save()
        return self.raw.last_index

    def store(self, peer: int, index: int = 0) -> None:
        """The follower has stored everything up to there."""
        index = index or self.raw.last_index
        self.box.answered(peer, index)
        self.raw.step(Message(MessageKind.APPEND_REPLY, to=1, from_=peer, term=1, index=index))

    def round(self, quick: int = 2) -> int:
        """Proposed, stored by the quicker follower and committed within half a millisecond; told if it may be."""
        index = self.propose()
        self.advance(0.0003)
        self.store(quick)
        self.box.speak()
        self.save()
        self.advance(0.0002)
        return index

    def entries(self, peer: int) -> list[list[int]]:
        """The entries that left for a follower, message by message."""
        messages = [m for m in self.sent if m.to == peer and m.kind is MessageKind.APPEND and m.entries]
        return [[entry.index for entry in m.entries] for m in messages]

    def commits(self, peer: int) -> list[int]:
        """The commit indexes it was told in messages of their own."""
        return [m.commit for m in self.sent if m.to == peer and m.kind is MessageKind.APPEND and not m.entries]


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Leader]:
    made = Leader(tmp_path)
    yield made
    made.wal.close()


def test_without_a_flow_one_gets_entries_at_once_and_the_other_with_the_commit(leader: Leader) -> None:
    index = leader.propose()
    assert (leader.entries(2), leader.entries(3)) == ([[index]], [])
    leader.advance(0.001)
    leader.store(2)
    leader.box.speak()
    assert not leader.commits(2), "behind the answers"
    leader.tell()
    assert leader.commits(2) == [index]
    assert leader.entries(3) == [[index]]
    assert leader.sent[-1].commit == index
    leader.advance(1.0)
    assert len(leader.sent) == 3


def test_in_a_flow_commits_ride_on_the_next_entries(leader: Leader) -> None:
    leader.round()
    leader.sent.clear()
    for _ in range(3):
        index = leader.round()
        leader.tell()
    assert leader.commits(2) == []
    assert [(m.entries[0].index, m.commit) for m in leader.sent if m.to == 2] == [
        (at, at - 1) for at in range(index - 2, index + 1)
    ]


def test_when_the_flow_stops_everybody_is_told(leader: Leader) -> None:
    for _ in range(4):
        index = leader.round()
    leader.sent.clear()
    leader.advance(2 * HOLD_SECONDS)
    assert (leader.commits(2), leader.entries(3)[-1][-1]) == ([index], index)
    leader.store(3)
    leader.box.speak()
    leader.sent.clear()
    leader.advance(1.0)
    assert (leader.sent, leader.timers) == ([], [])


def test_a_pause_ends_the_flow(leader: Leader) -> None:
    leader.round()
    leader.round()
    leader.advance(FLOW_SECONDS * 2)
    leader.sent.clear()
    index = leader.round()
    leader.tell()
    assert leader.commits(2) == [index]


def test_one_whose_answer_is_not_needed_gets_entries_together(leader: Leader) -> None:
    first = leader.raw.last_index + 1
    for _ in range(40):
        index = leader.round()
    mine, others = leader.entries(2), leader.entries(3)
    assert mine == [[at] for at in range(first, index + 1)], "at once"
    assert len(others) < 4
    assert [at for batch in others for at in batch] == list(range(first, others[-1][-1] + 1)), "in order, none left out"
    leader.advance(TOGETHER_SECONDS)
    assert leader.entries(3)[-1][-1] == index, "all of them in the end"


def test_the_others_get_them_when_no_answer_comes(leader: Leader) -> None:
    for _ in range(10):
        leader.round()
    leader.sent.clear()
    index = leader.propose()
    leader.advance(2 * HOLD_SECONDS)
    assert leader.entries(3)[-1][-1] == index


def test_who_has_fallen_silent_loses_its_place(leader: Leader) -> None:
    for _ in range(10):
        leader.round()
    for _ in range(9):  # from here on only 3 answers
        leader.propose()
        leader.advance(2 * HOLD_SECONDS)
        leader.store(3)
        leader.box.speak()
    leader.sent.clear()
    index = leader.propose()
    assert (leader.entries(2), leader.entries(3)) == ([], [[index]])


def test_what_is_large_leaves_for_everybody_at_once(leader: Leader) -> None:
    first = leader.raw.last_index + 1
    for _ in range(3):
        leader.round()
    index = leader.propose(HELD_BYTES + 1)
    assert leader.entries(3) == [list(range(first, index + 1))]


def test_who_passes_requests_on_gets_everything_at_once(leader: Leader) -> None:
    leader.box.waits(3)
    assert leader.box.somebody_waits
    first = leader.raw.last_index + 1
    for _ in range(5):
        index = leader.round()
    assert leader.entries(3) == [[at] for at in range(first, index + 1)]
    assert leader.commits(3) == list(range(first, index + 1))
    leader.advance(WAITING_SECONDS)
    assert not leader.box.somebody_waits
    leader.sent.clear()
    leader.round()
    assert (leader.entries(3), leader.commits(3)) == ([], []), "it has passed nothing on for a while"


def test_where_all_are_needed_all_are_asked(tmp_path: Path) -> None:
    leader = Leader(tmp_path, voters=(1, 2))
    index = leader.round()
    assert leader.entries(2) == [[index]]
    leader.wal.close()


def test_rounds_of_reads_and_heartbeats_go_to_everybody(leader: Leader) -> None:
    for _ in range(3):
        leader.round()
    leader.sent.clear()
    assert leader.raw.read_index(b"context")
    assert leader.box.speak()
    assert [(m.kind, m.to) for m in leader.sent] == [(MessageKind.HEARTBEAT, 2), (MessageKind.HEARTBEAT, 3)]


def test_who_lacks_many_entries_is_written_to_all_the_same(leader: Leader) -> None:
    """Its window is what holds it, not the other follower's pace."""
    for _ in range(100):
        leader.propose()
        leader.store(2)
    assert leader.entries(3)[0][0] == leader.entries(2)[0][0]


def test_a_silent_member_says_nothing_that_it_had_put_off(leader: Leader) -> None:
    for _ in range(4):
        leader.round()
    leader.sent.clear()
    leader.silent = True
    leader.tell()
    leader.advance(1.0)
    assert not leader.box.speak()
    assert leader.sent == []


def test_an_answered_heartbeat_is_no_reason_to_send_what_is_kept_back(leader: Leader) -> None:
    for _ in range(3):
        leader.round()
    leader.sent.clear()
    leader.raw.step(Message(MessageKind.HEARTBEAT_REPLY, to=1, from_=3, term=1))
    leader.box.speak()
    assert leader.sent == []


def test_in_a_new_term_everybody_is_written_to(leader: Leader) -> None:
    for _ in range(3):
        leader.round()
    leader.raw.step(Message(MessageKind.HEARTBEAT, to=1, from_=2, term=2))
    leader.save()
    leader.box.forget()
    leader.sent.clear()
    leader.advance(1.0)
    assert leader.sent == [], "it does not lead"
    leader.raw.campaign()
    for kind in (MessageKind.PRE_VOTE_REPLY, MessageKind.VOTE_REPLY):
        leader.save()
        for peer in (2, 3):
            leader.raw.step(Message(kind, to=1, from_=peer, term=3))
    leader.sent.clear()
    leader.save()
    assert {m.to for m in leader.sent if m.kind is MessageKind.APPEND} == {2, 3}
