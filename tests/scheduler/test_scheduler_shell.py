"""The shell: mistakes, terms that end, writes that fail, and what is decided in one slice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest
from scheduler_at_work import AtWork
from scheduling_objects import node, pod_object
from scheduling_turns import promised, with_field

from control.api.status import Cause as StatusCause
from control.api.status import StatusError, conflict
from control.client.errors import Unreachable
from control.scheduler.shell import MOST_WRITES


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


AWAY = StatusError(503, "ServiceUnavailable", "the store is away")


@scenario
async def test_a_mistake_in_deciding_costs_only_that_pod(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at_work = AtWork()
    decide, model = at_work.model.decide, at_work.model
    bad = True

    def mistaken(pod: Any, now: float) -> Any:
        if pod.name == "bad" and bad:
            raise OverflowError("too large")
        return decide(pod, now)

    monkeypatch.setattr(model, "decide", mistaken)
    for one in (node("a"), pod_object("bad", "1", priority=9), pod_object("good", "1")):
        at_work.hear(None, one)
    with caplog.at_level(logging.ERROR):
        async with at_work.term():
            await at_work.until(lambda: "bind good" in at_work.client.notes, "the other is bound")
            await at_work.rest()
            assert model.queue.next_at(0.0) == 1.0, "it is tried again after its backoff"
            assert [reason for name, reason, _ in at_work.told if name == "bad"] == ["FailedScheduling"]
            bad = False
            at_work.later(1.0)
            await at_work.until(lambda: "bind bad" in at_work.client.notes, "it is bound when it can be")
    (record,) = caplog.records
    assert record.exc_info is not None, "the traceback is in the log"
    assert "default/bad" in record.message


@scenario
async def test_a_mistake_in_writing_costs_only_that_pod() -> None:
    at_work = AtWork()
    at_work.client.refuse = lambda note: KeyError("mistake") if note == "bind bad" else None
    for one in (node("a"), pod_object("bad", "1", priority=9), pod_object("good", "2")):
        at_work.hear(None, one)
    async with at_work.term():
        await at_work.until(lambda: at_work.model.queue.count("backoff") == 1, "the bad one backs off")
        await at_work.until(lambda: "bind good" in at_work.client.notes, "the other is bound")
        await at_work.rest()
        assert at_work.model.cluster.used[at_work.model.cluster.rows["a"], 0] == 2000, "the bad one has no place"
        at_work.client.refuse = lambda _note: None
        at_work.later(1.0)
        await at_work.until(lambda: at_work.client.notes.count("bind bad") == 2, "it is tried again")


@scenario
async def test_a_write_that_the_fence_refuses_ends_the_term() -> None:
    at_work = AtWork()
    lost = conflict("pods", "p", "another leads", [StatusCause("FenceLost", "another leads")])
    at_work.client.refuse = lambda _note: lost
    for one in (node("a"), pod_object("p", "1")):
        at_work.hear(None, one)
    async with at_work.term() as work:
        await at_work.until(work.done, "the term ends")
    assert at_work.slots == MOST_WRITES
    assert not at_work.told, "that is no mistake about the pod"


@scenario
async def test_whoever_is_in_hand_when_a_term_ends_is_tried_in_the_next() -> None:
    """Nobody answers: one pod more than may be written has been taken and waits for its turn to be decided on."""
    at_work, pods = AtWork(), MOST_WRITES + 6
    at_work.client.answers.clear()
    at_work.hear(None, node("a", cpu="400", pods="400"))
    for number in range(pods):
        at_work.hear(None, pod_object(f"p{number}", "1"))
    async with at_work.term():
        await at_work.until(lambda: len(at_work.client.notes) == MOST_WRITES, "no more may be under way")
    assert at_work.slots == MOST_WRITES
    assert at_work.model.queue.in_hand() == []
    at_work.client.answers.set()
    at_work.client.notes.clear()
    at_work.later(1.0)
    async with at_work.term():
        await at_work.until(lambda: len(at_work.client.notes) == pods, "all are bound")
    assert at_work.slots == MOST_WRITES


@scenario
async def test_a_term_that_ends_in_the_middle_of_a_search_keeps_nothing() -> None:
    at_work = AtWork()
    for number in range(200):
        at_work.hear(None, node(f"n{number}"))
        for each in range(10):
            at_work.hear(None, pod_object(f"low{number}-{each}", "400m", node=f"n{number}", priority=1))
    at_work.hear(None, pod_object("vip", "2", priority=10))
    before = at_work.model.cluster.used.copy()
    async with at_work.term():
        await at_work.until(lambda: at_work.slots < MOST_WRITES, "it searches")
        assert at_work.model.queue.count("hand") == 1
    assert (at_work.slots, at_work.model.queue.count("hand"), at_work.client.notes) == (MOST_WRITES, 0, [])
    assert (at_work.model.cluster.used == before).all()
    at_work.hear(None, node("empty"))
    at_work.later(1.0)
    async with at_work.term():
        await at_work.until(lambda: at_work.client.notes == ["bind vip"], "it is bound in the next")


@scenario
async def test_writes_that_never_began_give_their_slots_back() -> None:
    at_work = AtWork()
    at_work.client.answers.clear()
    at_work.hear(None, node("a", cpu="400", pods="400"))
    for turns in range(8):
        for number in range(20):
            at_work.hear(None, pod_object(f"p{turns}-{number}", "1"))
        async with at_work.term():
            for _ in range(turns):
                await asyncio.sleep(0)
        assert at_work.slots == MOST_WRITES


@scenario
async def test_what_was_acknowledged_keeps_its_place_when_the_term_ends() -> None:
    at_work = AtWork()
    for one in (node("a"), pod_object("p", "3")):
        at_work.hear(None, one)
    async with at_work.term():
        await at_work.until(lambda: len(at_work.model.queue) == 0, "it is bound")
    at_work.hear(None, pod_object("q", "3"))
    at_work.later(10.0)
    async with at_work.term():
        await at_work.until(lambda: "patch pods/q" in at_work.client.notes, "q must wait")
    assert "bind q" not in at_work.client.notes


@scenario
async def test_two_that_are_decided_on_in_one_slice_do_not_chase_the_same_pod() -> None:
    at_work = AtWork()
    for name in "ab":
        at_work.hear(None, node(name))
        at_work.hear(None, pod_object(f"low-{name}", "4", node=name, priority=1))
    for number in (1, 2):
        at_work.hear(None, pod_object(f"vip{number}", "4", priority=10))
    async with at_work.term():
        await at_work.until(lambda: sum("delete" in note for note in at_work.client.notes) == 2, "two must leave")
        await at_work.rest()
    assert sorted(promised(at_work.model).values()) == ["a", "b"]
    assert {"delete pods/low-a", "delete pods/low-b"} <= set(at_work.client.notes)


@scenario
async def test_a_preemption_that_cannot_be_written_is_tried_again_after_the_backoff() -> None:
    at_work = AtWork()
    at_work.client.refuse = lambda _note: AWAY
    for one in (node("a"), pod_object("low", "4", node="a", priority=1), pod_object("vip", "4", priority=10)):
        at_work.hear(None, one)
    async with at_work.term():
        await at_work.until(lambda: at_work.model.queue.count("backoff") == 1, "it backs off")
        assert promised(at_work.model) == {}, "nobody was told to go"
        at_work.client.refuse = lambda _note: None
        at_work.later(1.0)
        await at_work.until(lambda: "delete pods/low" in at_work.client.notes, "then it is done")
        assert promised(at_work.model) == {"vip": "a"}


@scenario
async def test_of_two_victims_one_could_not_be_told() -> None:
    at_work = AtWork()
    lows = {name: pod_object(name, "2", node="a", priority=1) for name in ("low1", "low2")}
    for one in (node("a"), *lows.values(), pod_object("vip", "4", priority=10)):
        at_work.hear(None, one)

    def deleted() -> list[str]:
        return [note for note in at_work.client.notes if note.startswith("delete")]

    at_work.client.refuse = lambda note: AWAY if len(deleted()) == 2 and note == deleted()[1] else None
    async with at_work.term():
        await at_work.until(lambda: at_work.model.queue.count("backoff") == 1, "it backs off")
        assert promised(at_work.model) == {"vip": "a"}
        first, second = (note.rpartition("/")[2] for note in deleted())
        at_work.client.refuse = lambda _note: None
        at_work.hear(lows[first], None)
        at_work.later(1.0)
        await at_work.until(lambda: len(deleted()) == 3, "the other is told in the next turn")
        assert deleted()[2] == f"delete pods/{second}"


@scenario
async def test_a_nomination_without_sense_is_taken_back() -> None:
    at_work = AtWork()
    low = pod_object("low", "4", node="a", priority=1)
    vip = pod_object("vip", "4", priority=10, nodeSelector={"disk": "ssd"})
    for one in (node("a", labels={"disk": "ssd"}), low, vip):
        at_work.hear(None, one)
    async with at_work.term():
        await at_work.until(lambda: "delete pods/low" in at_work.client.notes, "low must leave")
        (patch, *_) = at_work.client.patches
        assert patch["status"]["nominatedNodeName"] == "a"
        at_work.hear(vip, with_field(vip, "status", nominatedNodeName="a"))
        at_work.client.patches.clear()
        at_work.hear(node("a", labels={"disk": "ssd"}), node("a"))
        at_work.later(1.0)
        await at_work.until(lambda: at_work.client.patches, "it is told")
        (patch,) = at_work.client.patches
        assert patch["status"]["nominatedNodeName"] is None
        assert promised(at_work.model) == {}


@scenario
async def test_what_stands_is_left_as_it_is() -> None:
    """While they leave, the nomination is neither written again nor taken back; nor is that of who preempts nobody."""
    at_work = AtWork()
    low, vip = pod_object("low", "4", node="a", priority=1), pod_object("vip", "4", priority=10)
    for one in (node("a"), low, vip):
        at_work.hear(None, one)
    async with at_work.term():
        await at_work.until(lambda: "delete pods/low" in at_work.client.notes, "low must leave")
        at_work.client.patches.clear()
        at_work.hear(vip, with_field(vip, "metadata", labels={"new": "one"}))
        meek = pod_object("meek", "4", priority=9, preemptionPolicy="Never", status={"nominatedNodeName": "a"})
        at_work.hear(None, meek)
        at_work.later(1.0)
        await at_work.until(lambda: len(at_work.client.patches) == 2, "both are told why they wait")
        assert all("nominatedNodeName" not in patch["status"] for patch in at_work.client.patches)
        said = sorted(patch["status"]["conditions"][0]["message"] for patch in at_work.client.patches)
        assert said[0].endswith("preemption: not eligible due to a terminating pod on the nominated node.")
        assert said[1].endswith("preemption: not eligible due to preemptionPolicy=Never.")
        assert sum("delete" in note for note in at_work.client.notes) == 1


@scenario
async def test_a_victim_is_told_by_which_scheduler_it_must_leave() -> None:
    at_work = AtWork()
    at_work.model._names = frozenset({"mine"})
    vip = pod_object("vip", "4", priority=10, schedulerName="mine")
    for one in (node("a"), pod_object("low", "4", node="a", priority=1), vip):
        at_work.hear(None, one)
    async with at_work.term():
        await at_work.until(lambda: "delete pods/low" in at_work.client.notes, "low must leave")
    (condition,) = at_work.client.patches[1]["status"]["conditions"]
    assert condition["message"] == "mine: preempting to accommodate a higher priority pod"


@scenario
@pytest.mark.parametrize("applied", [True, False])
async def test_a_place_whose_binding_nobody_answered_is_not_given_to_another(applied: bool) -> None:
    at_work = AtWork()
    p, q = pod_object("p", "3"), pod_object("q", "3")
    at_work.client.refuse = lambda _note: Unreachable({"server": "gone"}, maybe_applied=True)
    at_work.hear(None, node("a"))
    at_work.hear(None, p)
    async with at_work.term():
        await at_work.until(lambda: at_work.model.queue.count("backoff") == 1, "nobody answers")
        at_work.client.refuse = lambda _note: None
        at_work.hear(None, q)
        await at_work.until(lambda: "patch pods/q" in at_work.client.notes, "q must wait")
        if applied:
            at_work.hear(p, with_field(p, "spec", nodeName="a"))
            assert len(at_work.model.queue) == 1
        else:
            at_work.hear(p, with_field(p, "metadata", labels={"new": "one"}))
            at_work.later(4.0)
            await at_work.rest()
            assert at_work.client.notes.count("bind p") == 1
            at_work.later(5.0)
            await at_work.until(lambda: at_work.client.notes.count("bind p") == 2, "p is bound again")
        assert at_work.model.cluster.used[at_work.model.cluster.rows["a"], 0] == 3000
    assert "bind q" not in at_work.client.notes
