"""When a commit index is held back, and that it always gets there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from kvstore.member.outbox import FLOW_SECONDS, HOLD_SECONDS, WAITING_SECONDS, Outbox
from kvstore.raft.types import COMMIT_ONLY, Entry, Message, MessageKind


class Bench:
    """An outbox on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[list[Message]] = []
        self.timers: list[tuple[float, Any]] = []
        self.box = Outbox(cast(asyncio.AbstractEventLoop, self), self._send, lambda: self.now)

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


def entries(to: int, commit: int) -> Message:
    return Message(MessageKind.APPEND, to=to, entries=[Entry(1, 1)], commit=commit)


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
