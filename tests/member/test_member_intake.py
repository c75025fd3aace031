"""Batches that followers pass on are taken once, in whatever order they come; and what must not be proposed again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from kvstore.errors import EtcdError
from kvstore.member.consensus.intake import Intake
from kvstore.member.consensus.proposals import Proposal, ProposalQueue
from kvstore.member.requests import RequestKind
from kvstore.storage.data_dir import DataDir


def test_a_batch_that_was_lost_is_taken_after_a_younger_one() -> None:
    intake = Intake()
    intake.turn_to(3)
    assert intake.take(1, 0, number=12, oldest=10)
    assert intake.take(1, 0, number=10, oldest=10)
    assert not intake.take(1, 0, number=12, oldest=10)
    assert intake.take(2, 0, number=12, oldest=12), "another member's numbers are its own"


def test_what_its_sender_waits_for_no_more_is_not_taken() -> None:
    intake = Intake()
    intake.turn_to(3)
    assert intake.take(1, 0, number=20, oldest=20)
    assert not intake.take(1, 0, number=10, oldest=10), "a late repetition of a batch that was applied long ago"


def test_another_term_begins_anew() -> None:
    intake = Intake()
    assert intake.turn_to(3)
    assert intake.take(1, 0, number=20, oldest=20)
    assert not intake.turn_to(3)
    assert intake.turn_to(4)
    assert intake.take(1, 0, number=20, oldest=20)


def test_every_batch_exactly_once_over_a_link_that_loses_repeats_and_reorders(seed: int) -> None:
    dice = random.Random(seed)
    intake = Intake()
    intake.turn_to(1)
    waiting = dict.fromkeys(range(1, 200))
    taken: list[int] = []
    while waiting:
        oldest = min(waiting)
        for number in dice.sample(list(waiting), min(len(waiting), 8)):
            if dice.random() < 0.6 and intake.take(1, 0, number, oldest):
                taken.append(number)
        for number in [n for n in waiting if n in taken and dice.random() < 0.5]:
            del waiting[number]
    assert sorted(taken) == list(range(1, 200))
    assert all(len(numbers) <= 200 for numbers in intake._taken.values())


class Told:
    def __init__(self) -> None:
        self.answers: list[tuple[Any, EtcdError | None]] = []

    def proposal(self, kind: int, body: bytes = b"x") -> Proposal:
        return Proposal(kind, body, None, lambda result, problem: self.answers.append((result, problem)), 100.0)


def test_what_a_snapshot_may_hold_is_not_proposed_again() -> None:
    told, queue = Told(), ProposalQueue(7, 1000)
    queue.add(told.proposal(RequestKind.PUT, b"in the snapshot, or lost"))
    assert queue.take(term=3)
    queue.add(told.proposal(RequestKind.PUT, b"of a later term"))
    assert queue.take(term=4)
    assert len(queue.overtaken(3)) == 1
    assert queue.lost_before(5) == 1, "only the one that cannot be in it"
    assert len(queue) == 1


def test_an_expiry_dies_with_the_leadership_that_found_it() -> None:
    told, queue = Told(), ProposalQueue(7, 1000)
    queue.add(told.proposal(RequestKind.LEASE_EXPIRE))
    assert queue.take(term=3)
    queue.add(told.proposal(RequestKind.PUT))
    assert queue.take(term=3)
    queue.add(told.proposal(RequestKind.LEASE_CHECKPOINT))
    queue.withdraw()
    assert queue.lost_before(4) == 1, "the put alone is proposed again"
    assert [problem is not None for _, problem in told.answers] == [True, True]
    assert len(queue) == 1


def test_each_life_has_a_higher_number_whatever_the_clock_says(tmp_path: Path) -> None:
    numbers = []
    for _ in range(4):
        data_dir = DataDir.open(tmp_path / "data")
        numbers.append(data_dir.begin_life())
        data_dir.close()
    assert numbers == [1, 2, 3, 4]
