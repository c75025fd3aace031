"""Answers to our own puts that are made while the disks work, and given when the entry is committed, if they still
hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.errors import error
from kvstore.invariant import InvariantViolation
from kvstore.member.apply.applying import Applying
from kvstore.member.consensus.changes import ChangeQueue
from kvstore.member.consensus.proposals import Proposal, ProposalQueue
from kvstore.member.requests import RequestKind
from kvstore.raft.types import Entry

PUT, OTHER = int(RequestKind.PUT), int(RequestKind.COMPACT)
ORIGIN, TERM = 7, 3


class Applier:
    """Notes what is applied; every put takes a revision."""

    def __init__(self, notes: list[Any]) -> None:
        self.notes = notes
        self.revision = 10
        self.sure = True

    @property
    def foreseen(self) -> int:
        return self.revision + 1 if self.sure else 0

    def begin(self, now: float, index: int) -> None:
        pass

    def put_run(self, requests: Any, start: int, end: int) -> int:
        count = sum(request[0] == PUT for request in requests[start:end])
        self.revision += count
        self.notes.append(f"applied {count}")
        return count

    def apply(self, kind: int, body: bytes, request: Any = None) -> Any:
        self.notes.append("applied another")
        return SimpleNamespace(revision=self.revision)


class Waiter:
    """A client whose answer can be prepared."""

    def __init__(self, notes: list[Any]) -> None:
        self.notes = notes

    def __call__(self, result: Any, problem: Any) -> None:
        self.notes.append("answered alone")

    @staticmethod
    def answer_run(waiters: list[Waiter], first: int, *, at_once: bool) -> None:
        waiters[0].notes.append(f"answered {len(waiters)} from {first}")

    @staticmethod
    def prepare_run(waiters: list[Waiter], first: int) -> Any:
        notes = waiters[0].notes
        notes.append("prepared")
        return lambda: notes.append(f"told {len(waiters)} from {first}")


class Site:
    """The applying half of one member; the entry at index 5 is applied."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.applier = Applier(self.notes)
        self.queue = ProposalQueue(ORIGIN, 1)
        self.state = SimpleNamespace(
            applier=self.applier,
            store=SimpleNamespace(unfinished=False),
            applied_index=5,
            applied_term=TERM,
            applied_requests=0,
        )
        self.applying = Applying(
            cast(Any, SimpleNamespace(time=lambda: 0.0)),
            ORIGIN,
            cast(Any, self.state),
            self.queue,
            ChangeQueue(1, 1),
            configure=lambda entry: None,
            wake=lambda: None,
        )

    def batch(self, count: int, **last: Any) -> tuple[int, Entry]:
        """Puts of clients, as the entry that comes next, and the batch's first sequence."""
        for number in range(count):
            proposal = Proposal(PUT, b"p", None, Waiter(self.notes), 1.0)
            self.queue.add(proposal._replace(**last) if number == count - 1 else proposal)
        taken = self.queue.take(TERM)
        assert taken is not None
        return taken[0], Entry(TERM, 6, 0, taken[1])

    def apply(self, entry: Entry) -> None:
        assert self.applying.apply(entry, lambda: False)


@pytest.fixture
def site() -> Site:
    return Site()


def test_what_was_prepared_is_told_first_and_once(site: Site) -> None:
    sequence, entry = site.batch(3)
    site.applying.foresee(6, TERM, sequence)
    assert site.notes == ["prepared"]
    site.apply(entry)
    assert site.notes == ["prepared", "told 3 from 11", "applied 3"]
    assert site.state.applied_index == 6
    # It was for that entry alone.
    _, entry = site.batch(2)
    entry.index = 7
    site.apply(entry)
    assert site.notes[3:] == ["answered 2 from 14", "applied 2"]


def test_an_entry_that_was_left_out_stops_the_member(site: Site) -> None:
    """Going on would make its state another one than that of the others, which nothing would tell."""
    _, entry = site.batch(1)
    entry.index = 7
    with pytest.raises(InvariantViolation, match="entry 7 cannot be applied to the state of 5"):
        site.apply(entry)
    assert site.notes == []
    assert site.state.applied_index == 5


@pytest.mark.parametrize(
    "change", ["another index", "another term", "another revision", "not sure", "a snapshot", "a new term"]
)
def test_it_is_not_told_if_something_came_between(site: Site, change: str) -> None:
    sequence, entry = site.batch(2)
    site.applying.foresee(6, TERM, sequence)
    if change == "another index":
        entry.index, site.state.applied_index = 7, 6
    elif change == "another term":
        entry.term = TERM + 1
        site.state.applied_term = TERM + 1
    elif change == "another revision":
        site.applier.revision += 1
    elif change == "not sure":
        site.applier.sure = False
    elif change == "a new term":
        site.applying.doubt()
    else:
        site.applying.forget()
    site.apply(entry)
    first = site.applier.revision - 1
    answer = f"answered 2 from {first}"
    applied = "applied 2"
    assert site.notes == ["prepared", *((applied, answer) if change == "not sure" else (answer, applied))]


@pytest.mark.parametrize(
    ("count", "last"),
    [(65, {}), (2, {"kind": OTHER, "done": lambda result, problem: None}), (1, {"done": lambda result, problem: None})],
)
def test_only_few_and_plain_puts_are_foreseen(site: Site, count: int, last: dict[str, Any]) -> None:
    sequence, _ = site.batch(count, **last)
    site.applying.foresee(6, TERM, sequence)
    assert site.notes == []


@pytest.mark.parametrize("unfit", ["not the next", "unsure", "not in flight"])
def test_nothing_is_foreseen_of_what_is_not_known(site: Site, unfit: str) -> None:
    sequence, _ = site.batch(1)
    site.applier.sure = unfit != "unsure"
    site.applying.foresee(7 if unfit == "not the next" else 6, TERM, sequence + (unfit == "not in flight"))
    assert site.notes == []


def test_who_was_told_meanwhile_that_it_takes_too_long_hears_nothing_else(site: Site) -> None:
    """The batch is applied all the same: the put may be in the log."""
    sequence, entry = site.batch(2)
    site.applying.foresee(6, TERM, sequence)
    late = site.queue.overdue(2.0)
    for proposal in late:
        proposal.done(None, error("TIMEOUT"))
    site.apply(entry)
    # Calls that are over take no second answer: tests/wire/test_wire_replies.py.
    assert site.notes == ["prepared", "answered alone", "answered alone", "told 2 from 11", "applied 2"]
