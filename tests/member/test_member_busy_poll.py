"""How long a loop stays awake for an answer: until it comes, for a bounded time, and only where that has paid."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.member.consensus import busy_poll
from kvstore.member.consensus.busy_poll import POLL_SECONDS, BusyPoll


class Bench:
    """A loop of which every turn takes 10 µs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.soon: deque[Callable[[], None]] = deque()
        self.waits = False
        self.poll = BusyPoll(cast(Any, self), lambda: self.waits)
        monkeypatch.setattr(busy_poll, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def call_soon(self, work: Callable[[], None]) -> None:
        self.soon.append(work)

    def turns(self, most: int) -> int:
        """So many turns, or fewer until the loop may sleep."""
        for number in range(most):
            if not self.soon:
                return number
            self.now += 0.00001
            self.soon.popleft()()
        return most

    def round(self, seconds: float) -> int:
        """A wait that takes that long; the turns in which the loop was awake."""
        self.waits = True
        self.poll.begin()
        awake = self.turns(round(seconds / 0.00001))
        self.now += seconds - awake * 0.00001
        self.waits = False
        self.poll.ended()
        assert self.turns(5) <= 1, "it sleeps once the answer is there"
        return awake


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_it_stays_awake_until_the_answer_comes(bench: Bench) -> None:
    assert bench.round(0.0002) == 20


def test_it_does_not_wait_for_ever(bench: Bench) -> None:
    bench.waits = True
    bench.poll.begin()
    assert bench.turns(1000) <= POLL_SECONDS / 0.00001 + 1


def test_a_quorum_far_away_is_not_waited_for_awake(bench: Bench) -> None:
    awake = [bench.round(0.002) for _ in range(10)]
    assert awake[0]
    assert awake[-1] == 0
    awake = [bench.round(0.0001) for _ in range(40)]
    assert awake[0] == 0
    assert awake[-1], "it has come nearer"


def test_an_answer_that_nobody_waited_for_says_nothing(bench: Bench) -> None:
    """Puts come in crowds as well, of which only one alone is waited for."""
    bench.round(0.0001)
    bench.now += 1000.0
    bench.poll.ended()
    assert bench.round(0.0001)


def test_a_round_in_a_round_is_waited_for_once(bench: Bench) -> None:
    bench.waits = True
    bench.poll.begin()
    bench.poll.begin()
    assert len(bench.soon) == 1
