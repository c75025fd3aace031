"""When a commit index, or entries, are held back, and that they always get there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from kvstore.member.outbox import (
    FLOW_SECONDS,
    HELD_BYTES,
    HOLD_SECONDS,
    TOGETHER_SECONDS,
    WAITING_SECONDS,
    Outbox,
)
from kvstore.raft.types import COMMIT_ASKING, COMMIT_ONLY, Entry, Message, MessageKind


class Bench:
    """An outbox on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[list[Message]] = []
        self.timers: list[tuple[float, Any]] = []
        self.voters = frozenset({2, 3})
        self.needed = 2  # both: nobody's entries wait unless a test says so
        self.box = Outbox(
            cast(asyncio.AbstractEventLoop, self), self._send, lambda: (self.voters, self.needed), lambda: self.now
        )

    def _send(self, messages: Iterable[Message]) -> None:
        self.sent.append(list(messages))

    def call_later(self, delay: float, work: Any) -> None:
        self.timers.append((self.now + delay, work))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, work in due:
            work()

    def flow(self) -> None:
        """Two sends of entries, close together."""
        for _ in range(2):
            self.box.send([entries(2, 1), entries(3, 1)])
            self.advance(FLOW_SECONDS / 4)
        self.sent.clear()

    def rounds(self, count: int, first: int, *, slow: float = 0.0) -> None:
        """Entries for both, each stored by 2 a quarter of a millisecond later (plus `slow`), and committed."""
        for index in range(first, first + count):
            self.box.send([entries(to, index - 1, index) for to in (2, 3)])
            self.advance(0.00025 + slow)
            self.box.answered(2, index)
            self.box.send([commit_only(to, index) for to in (2, 3)])
            self.advance(0.00025)

    def all(self, peer: int) -> list[int]:
        """The same in a row."""
        return [index for batch in self.indexes(peer) for index in batch]

    def indexes(self, peer: int) -> list[list[int]]:
        """The entries that left for a follower, by the time they left."""
        batches = [[m.index + 1 for m in batch if m.to == peer and m.entries] for batch in self.sent]
        return [batch for batch in batches if batch]


def entries(to: int, commit: int, index: int = 1, size: int = 0) -> Message:
    return Message(MessageKind.APPEND, to=to, index=index - 1, entries=[Entry(1, index, 0, bytes(size))], commit=commit)


def commit_only(to: int, commit: int) -> Message:
    return Message(MessageKind.APPEND, to=to, commit=commit, context=COMMIT_ONLY)


def test_an_isolated_commit_leaves_at_once() -> None:
    bench = Bench()
    bench.box.send([entries(2, 1)])
    bench.box.send([commit_only(2, 2)])
    assert [m.commit for batch in bench.sent for m in batch] == [1, 2]
    assert not bench.timers


def test_in_a_flow_it_is_dropped_for_the_append_that_follows() -> None:
    bench = Bench()
    bench.flow()
    bench.box.send([commit_only(2, 5), commit_only(3, 5)])
    assert bench.sent == []
    bench.box.send([entries(2, 5), entries(3, 5)])
    assert [[m.to for m in batch] for batch in bench.sent] == [[2, 3]]
    bench.advance(HOLD_SECONDS)
    assert len(bench.sent) == 1, "nothing was left to send"


def test_it_is_sent_when_the_flow_stops() -> None:
    bench = Bench()
    bench.flow()
    bench.box.send([commit_only(2, 5)])
    bench.box.send([commit_only(2, 6)])
    bench.advance(HOLD_SECONDS)
    assert [m.commit for batch in bench.sent for m in batch] == [6], "the newest, once"


def test_it_goes_before_anything_else_to_that_follower() -> None:
    bench = Bench()
    bench.flow()
    bench.box.send([commit_only(2, 5)])
    bench.box.send([Message(MessageKind.READ_INDEX_REPLY, to=2, index=5), Message(MessageKind.HEARTBEAT, to=3)])
    kinds = [(m.kind, m.to) for batch in bench.sent for m in batch]
    assert kinds == [(MessageKind.APPEND, 2), (MessageKind.READ_INDEX_REPLY, 2), (MessageKind.HEARTBEAT, 3)]


def test_a_follower_that_passes_requests_on_is_told_at_once() -> None:
    bench = Bench()
    bench.box.waits(2)
    bench.flow()
    bench.box.send([commit_only(2, 5), commit_only(3, 5)])
    assert [[m.to for m in batch] for batch in bench.sent] == [[2]]
    bench.advance(WAITING_SECONDS)
    bench.flow()
    bench.box.send([commit_only(2, 6)])
    assert bench.sent == [], "it has passed nothing on for a while"


def test_a_pause_ends_the_flow() -> None:
    bench = Bench()
    bench.flow()
    bench.advance(FLOW_SECONDS * 2)
    bench.box.send([commit_only(2, 5)])
    assert [m.commit for batch in bench.sent for m in batch] == [5]


def test_one_whose_answer_is_not_needed_gets_entries_together() -> None:
    bench = Bench()
    bench.needed = 1
    bench.rounds(40, 1)
    mine, others = bench.indexes(2), bench.indexes(3)
    assert mine == [[index] for index in range(1, 41)], "at once"
    assert [index for batch in others for index in batch] == list(range(1, sum(map(len, others)) + 1)), (
        "in order, none left out"
    )
    assert len(others) < 8
    bench.advance(TOGETHER_SECONDS)
    assert bench.all(3) == list(range(1, 41)), "all of them in the end"


def test_the_others_get_them_when_no_answer_comes() -> None:
    bench = Bench()
    bench.needed = 1
    bench.rounds(10, 1)
    bench.advance(TOGETHER_SECONDS / 5)
    bench.sent.clear()
    bench.box.send([entries(to, 10, 11) for to in (2, 3)])
    bench.advance(HOLD_SECONDS)
    bench.advance(HOLD_SECONDS)
    assert 11 in bench.all(3)


def test_who_has_fallen_silent_loses_its_place() -> None:
    bench = Bench()
    bench.needed = 1
    bench.rounds(20, 1)
    for index in range(21, 30):  # from here on only 3 answers
        bench.box.send([entries(to, index - 1, index) for to in (2, 3)])
        bench.advance(HOLD_SECONDS)
        bench.box.answered(3, index)
    bench.sent.clear()
    bench.box.send([entries(to, 29, 30) for to in (2, 3)])
    assert bench.indexes(3)[-1][-1] == 30, "at once"
    assert bench.indexes(2) == []


def test_what_is_large_leaves_at_once() -> None:
    bench = Bench()
    bench.needed = 1
    bench.rounds(3, 1)
    bench.box.send([entries(3, 3, 4, size=HELD_BYTES + 1)])
    assert bench.all(3) == [1, 2, 3, 4]


def test_who_passes_requests_on_gets_entries_at_once() -> None:
    bench = Bench()
    bench.needed = 1
    bench.box.waits(3)
    bench.rounds(5, 1)
    assert bench.indexes(3) == [[1], [2], [3], [4], [5]]


def test_a_new_term_begins_with_nothing_held() -> None:
    bench = Bench()
    bench.needed = 1
    bench.rounds(5, 1)
    bench.box.forget()
    before = len(bench.sent)
    bench.advance(TOGETHER_SECONDS)
    assert len(bench.sent) == before


def test_without_a_flow_one_gets_entries_at_once_and_the_other_with_the_commit() -> None:
    bench = Bench()
    bench.needed = 1
    bench.box.send([entries(2, 0, 1), entries(3, 0, 1)])
    assert [(m.to, m.commit) for batch in bench.sent for m in batch] == [(2, 0)]
    bench.advance(0.001)
    bench.box.answered(2, 1)
    bench.sent.clear()
    bench.box.send([commit_only(2, 1), asking(3, 1)])
    (batch,) = bench.sent
    assert [(m.to, len(m.entries), m.commit) for m in batch] == [(2, 0, 1), (3, 1, 1)]


def test_without_a_commit_the_other_gets_entries_all_the_same() -> None:
    bench = Bench()
    bench.needed = 1
    bench.box.send([entries(2, 0, 1), entries(3, 0, 1)])
    for _ in range(2):
        bench.advance(HOLD_SECONDS)
    assert bench.indexes(3) == [[1]]


def test_a_commit_of_other_entries_is_a_message_of_its_own() -> None:
    bench = Bench()
    bench.needed = 1
    bench.box.send([entries(2, 0, 1), entries(3, 0, 1)])
    bench.sent.clear()
    bench.box.send([asking(3, 2)])
    (batch,) = bench.sent
    assert [(m.index, len(m.entries), m.commit) for m in batch] == [(0, 1, 0), (2, 0, 2)]


def test_what_comes_last_is_a_commit_that_nobody_waits_for() -> None:
    bench = Bench()
    assert bench.box.can_come_last([commit_only(2, 1), asking(3, 1)])
    assert not bench.box.can_come_last([commit_only(2, 1), entries(3, 1)])
    assert not bench.box.can_come_last([Message(MessageKind.HEARTBEAT, to=2)])
    bench.box.waits(3)
    assert not bench.box.can_come_last([commit_only(2, 1), asking(3, 1)])
    bench.advance(2 * WAITING_SECONDS)
    assert bench.box.can_come_last([commit_only(2, 1), asking(3, 1)])
    bench.flow()
    assert not bench.box.can_come_last([commit_only(2, 1)])


def asking(to: int, index: int) -> Message:
    """A commit index for one that has not answered yet."""
    return Message(MessageKind.APPEND, to=to, log_term=1, index=index, commit=index, context=COMMIT_ASKING)
