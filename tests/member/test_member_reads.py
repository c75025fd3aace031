"""The queue of linearizable reads: which round may serve which read."""

from __future__ import annotations

import pytest

from kvstore.errors import EtcdError
from kvstore.member.consensus import reads as module
from kvstore.member.consensus.reads import ReadQueue


def make() -> tuple[ReadQueue, list[str]]:
    return ReadQueue(first_round=5, retry_after=0.5), []


def add(queue: ReadQueue, served: list[str], name: str, deadline: float = 100.0) -> None:
    queue.add(deadline, lambda problem: served.append(name))


def serve(queue: ReadQueue, applied: int) -> None:
    for done in queue.ready(applied):
        done(None)


def test_one_round_serves_all_that_waited() -> None:
    queue, served = make()
    add(queue, served, "a")
    add(queue, served, "b")
    context = queue.begin(0.0)
    assert context is not None
    queue.confirm(context, 10)
    serve(queue, 9)
    assert served == [], "confirmed, but not applied that far"
    serve(queue, 10)
    assert served == ["a", "b"]


def test_a_read_that_came_during_a_round_waits_for_the_next() -> None:
    queue, served = make()
    add(queue, served, "a")
    first = queue.begin(0.0)
    add(queue, served, "b")
    assert queue.begin(0.1) is None, "one round at a time"
    assert first is not None
    queue.confirm(first, 1)
    serve(queue, 1)
    assert served == ["a"]
    second = queue.begin(0.2)
    assert second is not None
    assert second != first
    queue.confirm(second, 1)
    serve(queue, 1)
    assert served == ["a", "b"]


def test_a_round_without_an_answer_is_tried_again_and_the_old_answer_is_void() -> None:
    queue, served = make()
    add(queue, served, "a")
    lost = queue.begin(0.0)
    assert queue.begin(0.4) is None
    add(queue, served, "b")
    again = queue.begin(0.6)
    assert lost is not None
    assert again is not None
    queue.confirm(lost, 1)
    serve(queue, 1)
    assert served == [], "the old round began before b did"
    queue.confirm(again, 2)
    serve(queue, 2)
    assert served == ["a", "b"]


def test_a_refused_round_leaves_its_reads_waiting() -> None:
    queue, served = make()
    add(queue, served, "a")
    assert queue.begin(0.0) is not None
    queue.refused()
    again = queue.begin(0.01)
    assert again is not None
    queue.confirm(again, 0)
    serve(queue, 0)
    assert served == ["a"]


def test_late_reads_are_told_and_not_served() -> None:
    queue, served = make()
    add(queue, served, "late", deadline=1.0)
    add(queue, served, "fine", deadline=9.0)
    context = queue.begin(0.0)
    assert len(queue.expire(2.0)) == 1
    assert context is not None
    queue.confirm(context, 0)
    serve(queue, 0)
    assert served == ["fine"]


def test_reads_that_had_their_round_are_given_up_too() -> None:
    """What the round found may never be applied here: the disk stalls. They waited for ever."""
    queue, served = make()
    add(queue, served, "late", deadline=1.0)
    add(queue, served, "fine", deadline=9.0)
    context = queue.begin(0.0)
    assert context is not None
    queue.confirm(context, 7)
    assert len(queue.expire(2.0)) == 1
    serve(queue, 7)
    assert served == ["fine"]
    assert not queue.confirmed


def test_the_bound_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_READS", 1)
    queue, served = make()
    add(queue, served, "a")
    with pytest.raises(EtcdError, match="too many requests"):
        add(queue, served, "b")


def test_drain_gives_everything_back() -> None:
    queue, served = make()
    add(queue, served, "confirmed")
    context = queue.begin(0.0)
    assert context is not None
    queue.confirm(context, 99)
    add(queue, served, "current")
    assert queue.begin(0.1) is not None
    add(queue, served, "next")
    for done in queue.drain():
        done(None)
    assert sorted(served) == ["confirmed", "current", "next"]


Served = list[tuple[list[str], EtcdError | None]]


def gathered() -> tuple[ReadQueue, Served, module.Serve]:
    served: Served = []
    return (
        ReadQueue(first_round=5, retry_after=0.5),
        served,
        lambda items, problem: served.append((list(items), problem)),
    )


def test_gathered_reads_are_served_in_one_call() -> None:
    queue, served, serve = gathered()
    assert not queue.join(serve, "nothing to join")
    queue.gather(9.0, serve, "a")
    assert queue.join(serve, "b")
    context = queue.begin(0.0)
    assert context is not None
    queue.confirm(context, 10)
    assert queue.ready(9) == []
    for done in queue.ready(10):
        done(None)
    assert served == [(["a", "b"], None)]


def test_nobody_joins_a_round_that_has_begun() -> None:
    queue, served, serve = gathered()
    queue.gather(9.0, serve, "a")
    first = queue.begin(0.0)
    assert not queue.join(serve, "b"), "its index was fixed before this read came"
    queue.gather(9.0, serve, "b")
    assert not queue.due, "one round at a time"
    assert first is not None
    queue.confirm(first, 0)
    assert queue.due
    second = queue.begin(0.1)
    assert second is not None
    queue.confirm(second, 0)
    for done in queue.ready(0):
        done(None)
    assert served == [(["a"], None), (["b"], None)]


def test_nor_one_that_was_refused_once_or_has_waited_for_a_while() -> None:
    queue, _, serve = gathered()
    queue.gather(9.0, serve, "a")
    assert queue.begin(0.0) is not None
    queue.refused()
    assert not queue.join(serve, "b")
    queue.gather(9.0, serve, "b")
    assert queue.expire(1.0) == []
    assert not queue.join(serve, "c"), "its time is counted from its own coming"


def test_each_gathered_read_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_READS", 3)
    queue, served, serve = gathered()
    queue.gather(1.0, serve, "a")
    assert queue.join(serve, "b")
    add(queue, [], "c", deadline=9.0)
    for refused in (lambda: queue.join(serve, "d"), lambda: queue.gather(9.0, serve, "d")):
        with pytest.raises(EtcdError, match="too many requests"):
            refused()
    assert queue.begin(0.0) is not None
    queue.refused()
    with pytest.raises(EtcdError, match="too many requests"):
        add(queue, [], "d")
    (late,) = queue.expire(2.0)
    assert module.count_reads([late]) == 2
    late(problem := EtcdError(4, "late"))
    assert served == [(["a", "b"], problem)]
    for name in ("d", "e"):
        add(queue, [], name)
    with pytest.raises(EtcdError, match="too many requests"):
        add(queue, [], "f")
    assert len(queue.drain()) == 3


def test_a_round_says_since_when_this_member_is_known_to_lead() -> None:
    queue, _ = make()
    add(queue, [], "a")
    assert queue.begin(1.0) is not None
    add(queue, [], "b")
    again = queue.begin(2.0)
    assert again is not None
    assert queue.confirmed_at == float("-inf")
    queue.confirm(again, 0)
    assert queue.confirmed_at == 2.0, "when the try that was answered began, not when the answer came"


def test_a_round_that_another_member_answered_says_nothing_of_this_one() -> None:
    queue, served = make()
    add(queue, served, "a")
    asked_as_follower = queue.begin(1.0)
    assert asked_as_follower is not None
    queue.doubt()  # it leads now, and the old leader's answer comes with the same Ready
    queue.confirm(asked_as_follower, 0)
    assert queue.confirmed_at == float("-inf")
    add(queue, served, "b")
    asked_as_leader = queue.begin(2.0)
    assert asked_as_leader is not None
    queue.confirm(asked_as_leader, 0)
    assert queue.confirmed_at == 2.0
    queue.doubt()
    assert queue.confirmed_at == float("-inf")
    serve(queue, 0)
    assert served == ["a", "b"], "for reads both are good"
