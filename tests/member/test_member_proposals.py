"""The queue of proposals: order, bounds, and what becomes of requests when leaders change."""

from __future__ import annotations

from typing import Any

import pytest

from kvstore.errors import EtcdError
from kvstore.member.consensus import proposals as module
from kvstore.member.consensus.proposals import Proposal, ProposalQueue
from kvstore.member.requests import RequestKind, decode

ORIGIN = 7


class Answers:
    """Collects what each request was told."""

    def __init__(self) -> None:
        self.told: dict[bytes, Any] = {}

    def waiter(self, body: bytes, deadline: float = 100.0) -> Proposal:
        def done(result: Any, problem: EtcdError | None) -> None:
            assert body not in self.told, "told twice"
            self.told[body] = problem or result

        return Proposal(RequestKind.PUT, body, None, done, deadline)


def queue_with(*bodies: bytes, answers: Answers | None = None, deadline: float = 100.0) -> ProposalQueue:
    answers = answers or Answers()
    queue = ProposalQueue(ORIGIN, 1000)
    for body in bodies:
        queue.add(answers.waiter(body, deadline))
    return queue


def bodies_of(data: bytes) -> list[bytes]:
    return [body for _, body in decode(data).requests]


def test_one_batch_takes_all_that_waits_in_order() -> None:
    queue = queue_with(b"a", b"b", b"c")
    taken = queue.take(term=3)
    assert taken is not None
    first, data = taken
    assert (first, decode(data).origin, decode(data).first_sequence) == (1000, ORIGIN, 1000)
    assert bodies_of(data) == [b"a", b"b", b"c"]
    assert queue.take(term=3) is None
    assert [p.body for p in queue.applied(first) or []] == [b"a", b"b", b"c"]
    assert len(queue) == 0


def test_batches_are_bounded_by_requests_and_by_bytes() -> None:
    queue = queue_with(*(b"%d" % i for i in range(module.BATCH_REQUESTS + 1)))
    first = queue.take(1)
    assert first is not None
    assert len(bodies_of(first[1])) == module.BATCH_REQUESTS
    second = queue.take(1)
    assert second is not None
    assert second[0] == 1000 + module.BATCH_REQUESTS
    large = queue_with(b"x" * module.BATCH_BYTES, b"y" * 10)
    taken = large.take(1)
    assert taken is not None
    assert len(bodies_of(taken[1])) == 1, "a request over the bound travels alone, and whole"


def test_a_batch_raft_refused_goes_back_in_order() -> None:
    queue = queue_with(b"a", b"b")
    taken = queue.take(1)
    assert taken is not None
    queue.untake(taken[0])
    queue.add(Answers().waiter(b"c"))
    again = queue.take(1)
    assert again is not None
    assert bodies_of(again[1]) == [b"a", b"b", b"c"]


def test_what_a_lost_leader_left_behind_is_proposed_again_and_nothing_else() -> None:
    queue = queue_with(b"old1")
    assert queue.take(term=1)
    queue.add(Answers().waiter(b"old2"))
    assert queue.take(term=1)
    queue.add(Answers().waiter(b"new"))
    assert queue.take(term=2)
    assert queue.lost_before(2) == 2
    again = queue.take(term=2)
    assert again is not None
    assert bodies_of(again[1]) == [b"old1", b"old2"]
    assert queue.take(term=2) is None, "what was proposed in the new term is not proposed twice"


def test_applied_batches_are_not_proposed_again() -> None:
    queue = queue_with(b"a")
    taken = queue.take(term=1)
    assert taken is not None
    assert queue.applied(taken[0]) is not None
    assert queue.lost_before(2) == 0
    assert queue.applied(taken[0]) is None, "nobody waits for a batch of an earlier life"


def test_the_bound_refuses_with_etcds_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REQUESTS", 2)
    queue = queue_with(b"a", b"b")
    with pytest.raises(EtcdError, match="etcdserver: too many requests"):
        queue.add(Answers().waiter(b"c"))
    taken = queue.take(1)
    assert taken is not None
    queue.applied(taken[0])
    queue.add(Answers().waiter(b"c"))


def test_queued_requests_expire_and_are_never_proposed() -> None:
    queue = queue_with(b"early", deadline=5.0)
    queue.add(Answers().waiter(b"late", deadline=50.0))
    assert [p.body for p in queue.expire(5.0)] == [b"early"]
    taken = queue.take(1)
    assert taken is not None
    assert bodies_of(taken[1]) == [b"late"]


def test_a_client_that_timed_out_in_flight_is_told_once_and_its_lost_request_is_dropped() -> None:
    answers = Answers()
    queue = queue_with(b"slow", b"fast", answers=answers, deadline=5.0)
    taken = queue.take(term=1)
    assert taken is not None
    assert [p.body for p in queue.overdue(6.0)] == [b"slow", b"fast"]
    assert queue.overdue(7.0) == []
    assert queue.lost_before(2) == 0, "nobody waits any more: proposing it again could surprise its client"
    assert queue.take(2) is None
    assert len(queue) == 0


def test_a_client_that_timed_out_does_not_hear_of_a_late_apply() -> None:
    answers = Answers()
    queue = queue_with(b"slow", answers=answers, deadline=5.0)
    taken = queue.take(term=1)
    assert taken is not None
    for proposal in queue.overdue(6.0):
        proposal.done(None, EtcdError(14, "timed out"))  # type: ignore[arg-type]
    for proposal in queue.applied(taken[0]) or []:
        proposal.done("result", None)
    assert isinstance(answers.told[b"slow"], EtcdError)


def test_drain_gives_everything_back_once() -> None:
    queue = queue_with(b"a")
    queue.take(1)
    queue.add(Answers().waiter(b"b"))
    assert sorted(p.body for p in queue.drain()) == [b"a", b"b"]
    assert len(queue) == 0
    assert queue.drain() == []
