"""The clock is looked at after few requests that are applied one by one, and after not too many in runs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest

from kvstore.member.apply.applier import Applier
from kvstore.member.apply.batch_apply import BatchApply
from kvstore.member.consensus.proposals import Proposal
from kvstore.member.requests import RequestKind
from kvstore.mvcc.results import PutResult, TxnResult

PLAIN, OTHER = (RequestKind.PUT, b"plain"), (RequestKind.COMPACT, b"other")


class FakeApplier:
    """Plain puts go in runs, nothing else does."""

    def __init__(self) -> None:
        self.revision = 1
        self.singles = 0
        self.sure = False

    @property
    def foreseen(self) -> int:
        return self.revision + 1 if self.sure else 0

    def put_run(self, requests: Any, start: int, end: int) -> int:
        count = 0
        while start + count < end and requests[start + count][:2] == PLAIN:
            count += 1
        self.revision += count
        return count

    def swap_run(self, requests: Any, start: int, end: int) -> list[TxnResult]:
        return []

    def apply(self, kind: int, body: bytes, request: Any = None) -> None:
        self.singles += 1
        self.revision += kind == RequestKind.PUT


def own(requests: list[tuple[int, bytes]], answers: list[Any]) -> list[Proposal]:
    def done(result: Any, problem: Any) -> None:
        answers.append(result)

    return [Proposal(kind, body, None, done, 0.0) for kind, body in requests]


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize(("kinds", "most"), [([OTHER] * 100, 16), ([PLAIN] * 300, 64), ([OTHER, PLAIN] * 60, 16)])
def test_the_clock_is_looked_at_often(ours: bool, kinds: list[tuple[int, bytes]], most: int) -> None:
    applier, answers = FakeApplier(), []  # type: ignore[var-annotated]
    mine = own(kinds, answers) if ours else None
    batch = BatchApply(cast(Applier, applier), () if ours else kinds, mine, 0)
    looks = [0]
    assert batch.step(lambda: bool(looks.append(batch.done)))
    looks.append(batch.done)
    assert max(after - before for before, after in pairwise(looks)) <= most
    assert (batch.done, batch.work) == (len(kinds), len(kinds))
    assert applier.singles == kinds.count(OTHER)
    assert len(answers) == (len(kinds) if ours else 0)


def test_late_stops_between_two_requests_and_step_goes_on() -> None:
    applier = FakeApplier()
    batch = BatchApply(cast(Applier, applier), [OTHER] * 40, None, 0)
    turns = 1
    while not batch.step(lambda: True):
        turns += 1
    assert (turns, batch.done, applier.singles) == (3, 40, 40)


def test_each_put_of_a_run_is_answered_with_its_own_revision_even_if_one_answer_fails() -> None:
    answers: list[Any] = []

    def refuse(result: Any, problem: Any) -> None:
        raise RuntimeError("the client's connection is odd")

    mine = own([PLAIN] * 5, answers)
    mine[2] = mine[2]._replace(done=refuse)
    batch = BatchApply(cast(Applier, FakeApplier()), (), mine, 0)
    assert batch.step(lambda: False)
    assert all(isinstance(answer, PutResult) for answer in answers)
    assert [answer.revision for answer in answers] == [2, 3, 5, 6]


class Waiter:
    """One that can be answered with others of its kind."""

    def __init__(self, name: int, answers: list[Any]) -> None:
        self.name = name
        self.answers = answers

    def __call__(self, result: Any, problem: Any) -> None:
        self.answers.append((self.name, result.revision))

    @staticmethod
    def answer_run(waiters: list[Waiter], first: int, *, at_once: bool) -> None:
        waiters[0].answers.append(([waiter.name for waiter in waiters], first))


def test_puts_of_a_run_are_answered_together_if_all_who_wait_can_be() -> None:
    answers: list[Any] = []
    mine = [Proposal(*PLAIN, None, Waiter(number, answers), 0.0) for number in range(70)]
    assert BatchApply(cast(Applier, FakeApplier()), (), mine, 0).step(lambda: False)
    assert answers == [(list(range(64)), 2), (list(range(64, 70)), 66)]
    answers.clear()
    mine[66] = mine[66]._replace(done=lambda result, problem: answers.append(("other", result.revision)))
    assert BatchApply(cast(Applier, FakeApplier()), (), mine, 0).step(lambda: False)
    assert answers[1:] == [([64, 65], 66), ("other", 68), (67, 69), (68, 70), (69, 71)]


class Watchful(FakeApplier):
    """Notes what is applied among the answers."""

    def __init__(self, notes: list[Any], *, longest_run: int) -> None:
        super().__init__()
        self.sure = True
        self.notes = notes
        self.longest_run = longest_run

    def put_run(self, requests: Any, start: int, end: int) -> int:
        count = super().put_run(requests, start, min(end, start + self.longest_run))
        if count:
            self.notes.append(f"run of {count}")
        return count

    def apply(self, kind: int, body: bytes, request: Any = None) -> None:
        super().apply(kind, body, request)
        self.notes.append("one")


@pytest.mark.parametrize(("longest", "applied"), [(64, ["run of 5"]), (3, ["run of 3", "run of 2"]), (0, ["one"] * 5)])
def test_puts_that_can_be_foreseen_are_answered_before_they_are_applied(longest: int, applied: list[str]) -> None:
    notes: list[Any] = []
    mine = [Proposal(*PLAIN, None, Waiter(number, notes), 0.0) for number in range(5)]
    batch = BatchApply(cast(Applier, Watchful(notes, longest_run=longest)), (), mine, 0)
    assert batch.step(lambda: bool(notes.append("clock")))
    # Nobody gets a look at the state between an answer and what it says.
    assert notes == [([0, 1, 2, 3, 4], 2), *applied, "clock"]


def test_no_put_is_answered_that_could_still_be_refused() -> None:
    notes: list[Any] = []
    applier = Watchful(notes, longest_run=64)
    applier.sure = False
    mine = [Proposal(*PLAIN, None, Waiter(number, notes), 0.0) for number in range(3)]
    assert BatchApply(cast(Applier, applier), (), mine, 0).step(lambda: False)
    assert notes == ["run of 3", ([0, 1, 2], 2)]
