"""The shell: lagging views, slow start, mistakes, conflicts, outages, terms and fences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import pytest
from ctl_fake_client import FakeClient, World
from ctl_manifests import node, workload

from control.api.kind import Kind
from control.api.status import StatusError, conflict, forbidden
from control.client.cause import Fence
from control.client.client import Client
from control.client.errors import Unreachable
from control.controllers.reconcilers import replicaset
from control.controllers.running.informers import Informers
from control.controllers.running.manager import Manager
from control.controllers.values.actions import Decision, Event, Key, Patch, Read, UpdateStatus
from control.controllers.values.controller import EVERYTHING, Controller, controller_or_selectors, itself
from control.controllers.values.objects import cause, with_status
from control.controllers.values.observed import Observed

SETS = "replicasets.apps"
PODS = frozenset({"pods"})
FENCE = Fence("/fluyt/leaders/controllers/1", 7)


def _replicasets(**options: Any) -> Controller:
    wakes = {SETS: itself, "pods": controller_or_selectors("ReplicaSet", SETS)}
    return Controller("replicaset-controller", SETS, replicaset.reconcile, wakes, **options)


@dataclass
class FakeTerm:
    fence: Fence | None = FENCE
    lost: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Running:
    """A manager at work in a term, and the events it told."""

    world: World
    manager: Manager
    term: FakeTerm
    events: list[Event]
    work: asyncio.Task[None]

    async def until(self, condition: Callable[[], Any], reason: str) -> None:
        """Wait for a condition; 10 seconds at most."""
        async with asyncio.timeout(10):
            while not condition():
                if self.work.done():
                    await self.work
                    raise AssertionError(f"the term ended before: {reason}")
                await asyncio.sleep(0.002)

    async def rest(self) -> None:
        """Until no key is ready, at work, or waited for by the view."""
        await self.until(lambda: all(shell.queue.idle for shell in self.manager._shells), "rest")


@asynccontextmanager
async def running(world: World, *controllers: Controller, term: FakeTerm | None = None) -> AsyncIterator[Running]:
    events: list[Event] = []
    manager = Manager(cast(Client, FakeClient(world)), controllers, lambda _name: events.append)
    await manager.start()
    elected = term or FakeTerm()
    work = asyncio.create_task(manager.serve(elected))
    try:
        yield Running(world, manager, elected, events, work)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await manager.close()


def _put(world: World, name: str = "web", replicas: int = 3) -> None:
    world.api.put(SETS, workload("ReplicaSet", name, replicas=replicas))


@pytest.fixture
def run() -> Iterator[Callable[[Any], Any]]:
    with asyncio.Runner() as runner:
        yield lambda coroutine: runner.run(coroutine)


def test_it_converges_and_writes_no_more_than_needed(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        world = World(SETS, "pods")
        _put(world)
        async with running(world, _replicasets()) as at_work:
            await at_work.until(lambda: len(world.api.list("pods")) == 3, "three pods")
            await at_work.rest()
            assert world.writes("create") == 3
            assert {fence for _, _, fence in world.calls} == {at_work.term.fence}
            assert sorted({event.reason for event in at_work.events}) == ["SuccessfulCreate"]

    run(scenario())


def test_a_view_that_lags_never_makes_it_create_twice(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        world = World(SETS, "pods")
        world.held.add("pods")
        async with running(world, _replicasets()) as at_work:
            _put(world)
            await at_work.until(lambda: world.writes("create") == 3, "three creates")
            for size in (4, 5):
                # Each of these wakes the key up; what it wrote is still not to be seen.
                world.api.change(SETS, "default", "web", {"spec": {"replicas": size}})
                await asyncio.sleep(0.02)
            assert world.writes("create") == 3
            world.release("pods")
            reported = lambda: world.api.get(SETS, "default", "web")["status"]["replicas"]  # noqa: E731
            await at_work.until(lambda: reported() == 5, "five pods")
            assert world.writes("create") == 5

    run(scenario())


def test_a_refusal_costs_one_call_a_pass_not_hundreds(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        world = World(SETS, "pods")

        def refuse(verb: str, _obj: Any) -> None:
            if verb == "create" and len(world.api.list("pods")) >= 3:
                raise forbidden("pods", "x", "exceeded quota: q")

        world.before = refuse
        _put(world, replicas=100)
        async with running(world, _replicasets(workers=1)) as at_work:
            failed = lambda: (world.api.get(SETS, "default", "web").get("status") or {}).get("conditions")  # noqa: E731
            await at_work.until(failed, "ReplicaFailure")
            assert len(world.api.list("pods")) == 3
            # 1, then 2, then 4 of which none worked; later passes: one each.
            assert world.writes("create") <= 7 + 20
            assert "FailedCreate" in {event.reason for event in at_work.events}

    run(scenario())


def test_a_mistake_in_one_key_is_an_event_and_the_others_go_on(
    run: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        tries = []

        def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
            if key.name == "broken":
                tries.append(key)
                raise KeyError("nodeName")
            return replicaset.reconcile(key, observed, now)

        world = World(SETS, "pods")
        for name in ("a", "broken", "z"):
            _put(world, name, replicas=1)
        async with running(world, Controller("c", SETS, reconcile, {SETS: itself}, reads=PODS)) as at_work:
            await at_work.until(lambda: len(world.api.list("pods")) == 2 and len(tries) >= 3, "the others")
            told = next(event for event in at_work.events if event.reason == "ReconcileError")
            assert told.about["metadata"]["name"] == "broken"
            assert "KeyError" in told.message
        assert "nodeName" in caplog.text

    run(scenario())


def test_a_conflict_is_no_event_and_is_tried_again(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        world = World(SETS, "pods")
        conflicts = iter([conflict("x", "y"), conflict("x", "y")])

        def refuse(verb: str, _obj: Any) -> None:
            if verb == "status" and (problem := next(conflicts, None)) is not None:
                raise problem

        world.before = refuse
        _put(world, replicas=1)
        async with running(world, _replicasets()) as at_work:
            await at_work.until(
                lambda: (world.api.get(SETS, "default", "web").get("status") or {}).get("replicas") == 1, "status"
            )
            assert {event.reason for event in at_work.events} == {"SuccessfulCreate"}

    run(scenario())


def test_an_outage_is_waited_out_and_what_may_have_arrived_is_looked_for(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        world = World(SETS, "pods")
        world.held.add("pods")
        lost = []

        def cut(verb: str, obj: Any) -> None:
            if verb == "create" and not lost:
                # It arrives, but the answer does not.
                lost.append(world.api.put("pods", obj))
                raise Unreachable({"a": "reset"}, maybe_applied=True)

        world.before = cut
        _put(world, replicas=1)
        async with running(world, _replicasets()) as at_work:
            await at_work.until(lambda: lost, "a lost answer")
            world.release("pods")
            await at_work.rest()
            assert len(world.api.list("pods")) == 1
            assert world.writes("create") == 1

    run(scenario())


def test_a_patch_and_a_status_in_one_pass_do_not_conflict(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
            rs = observed.get(SETS, key.namespace, key.name)
            if rs is None or rs.get("status"):
                return Decision()
            because = cause(SETS, rs, "test")
            patch = Patch(SETS, key.namespace, key.name, {"metadata": {"annotations": {"a": "b"}}}, because)
            return Decision([patch, UpdateStatus(SETS, with_status(rs, {"replicas": 9}), because)])

        world = World(SETS, "pods")
        _put(world)
        world.api.change(SETS, "default", "web", {"metadata": {"annotations": {"a": "before"}}})
        async with running(world, Controller("c", SETS, reconcile, {SETS: itself})) as at_work:
            await at_work.until(lambda: world.api.get(SETS, "default", "web").get("status"), "status")
            assert [call[0] for call in world.calls] == ["patch", "status"]
            annotations = world.api.get(SETS, "default", "web")["metadata"]["annotations"]
            assert annotations == {"a": "b"}, "the status takes annotations along: those that were just written"

    run(scenario())


def test_questions_are_answered_before_anything_is_done(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        question = Read("pods", "default", "nobody")
        seen = []

        def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
            if question not in observed.answers:
                return Decision(reads=[question])
            seen.append(observed.answers[question].code)
            return Decision()

        world = World(SETS, "pods")
        _put(world)
        async with running(world, Controller("c", SETS, reconcile, {SETS: itself})) as at_work:
            await at_work.until(lambda: seen, "an answer")
            assert seen == [404]

    run(scenario())


def test_a_reconciler_that_never_stops_asking_is_a_mistake(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        counter = iter(range(10_000))

        def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
            return Decision(reads=[Read("pods", "default", f"x{next(counter)}")])

        world = World(SETS, "pods")
        _put(world)
        async with running(world, Controller("c", SETS, reconcile, {SETS: itself})) as at_work:
            await at_work.until(lambda: at_work.events, "an event")
            assert "still asking" in at_work.events[0].message

    run(scenario())


# ---- terms ----


def test_nothing_is_written_before_the_term_and_after_it(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        world = World(SETS, "pods")
        _put(world, replicas=2)
        manager = Manager(cast(Client, FakeClient(world)), [_replicasets()], lambda _name: lambda _event: None)
        await manager.start()
        assert world.calls == []
        assert not manager.leads
        for replicas in (2, 5):
            world.api.change(SETS, "default", "web", {"spec": {"replicas": replicas}})
            term = FakeTerm()
            work = asyncio.create_task(manager.serve(term))
            async with asyncio.timeout(10):
                while len(world.api.list("pods")) < replicas:
                    await asyncio.sleep(0.002)
            term.lost.set()
            await work
            done = len(world.calls)
            world.api.change(SETS, "default", "web", {"spec": {"replicas": 9}})
            await asyncio.sleep(0.02)
            assert len(world.calls) == done
            assert not manager.leads
        await manager.close()

    run(scenario())


def test_a_refused_fence_ends_the_term_at_once_and_is_counted(
    run: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        world = World(SETS, "pods")
        world.fence = Fence("/fluyt/leaders/controllers/2", 99)
        _put(world, replicas=50)
        async with running(world, _replicasets()) as at_work:
            await asyncio.wait_for(at_work.work, 10)
            assert world.api.list("pods") == []
            assert len(world.calls) <= 5
            metric = at_work.manager.metrics.registry.get_sample_value("fluyt_fenced_writes_refused_total")
            assert metric is not None
            assert metric >= 1
        assert "the term is over" in caplog.text

    run(scenario())


def test_a_mistake_in_telling_all_keys_stops_nobody(
    run: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        def keys(_observed: Observed) -> list[Key]:
            raise ZeroDivisionError("keys")

        world = World(SETS, "pods")
        async with running(world, _replicasets(keys=keys)) as at_work:
            await at_work.until(lambda: at_work.manager.leads, "the term's beginning")
            _put(world)
            await at_work.until(lambda: len(world.api.list("pods")) == 3, "what changes tell")
        assert "ZeroDivisionError" in caplog.text

    run(scenario())


# ---- every kind ----


BOATS = Kind("example.com", "v1", "Boat", "boats", "", subresources=())


def test_custom_kinds_are_followed_as_they_come_and_go(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        seen: list[tuple[str, bool]] = []

        def wake(resource: str, old: Any, new: Any, observed: Observed) -> list[Key]:
            if resource == BOATS.resource:
                seen.append((resource, new is not None))
            return []

        definitions = "customresourcedefinitions.apiextensions.k8s.io"
        world = World(SETS, "pods", definitions)
        controller = Controller("c", SETS, replicaset.reconcile, {EVERYTHING: wake})
        async with running(world, controller) as at_work:
            world.serve(BOATS.resource, BOATS)
            world.api.put(definitions, {"metadata": {"name": BOATS.resource}})
            view = at_work.manager.informers
            known = lambda: ("example.com/v1", "Boat") in view.observed.kinds  # noqa: E731
            await at_work.until(known, "the new kind")
            world.api.put(BOATS.resource, {"metadata": {"name": "b", "namespace": "default"}})
            await at_work.until(lambda: (BOATS.resource, True) in seen, "a boat")
            world.kinds.remove(BOATS)
            world.api.put(definitions, {"metadata": {"name": "other"}})
            await at_work.until(lambda: (BOATS.resource, False) in seen, "no boats any more")
            assert BOATS.resource not in view.observed.stores

    run(scenario())


class Lagging(FakeClient):
    """Some lists are asked of a server that does not serve the resource yet. refusals: by resource, how many more."""

    def __init__(self, world: World, refusals: dict[str, int]) -> None:
        super().__init__(world)
        self.refusals = refusals

    async def list(self, resource: str, namespace: str = "", **options: Any) -> dict[str, Any]:
        if self.refusals.get(resource):
            self.refusals[resource] -= 1
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        return await super().list(resource, namespace, **options)


@pytest.mark.parametrize("everything", [True, False])
def test_what_a_lagging_server_refused_is_followed_later(
    run: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr("control.controllers.running.informers._AGAIN", 0.02)
        world = World(SETS, "pods")
        _put(world)
        view = Informers(cast(Client, Lagging(world, {SETS: 3})))
        await view.start({SETS, "pods"}, everything=everything)
        assert set(view.observed.stores) == {"pods"}
        async with asyncio.timeout(10):
            while SETS not in view.observed.stores or not view.observed.stores[SETS].objects:
                await asyncio.sleep(0.002)
        await view.stop()

    run(scenario())


def test_what_a_lagging_server_did_not_name_is_found_later(
    run: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr("control.controllers.running.informers._AGAIN", 0.02)
        world = World(SETS, "pods")
        view = Informers(cast(Client, FakeClient(world)))
        await view.start((), everything=True)
        # No definition is seen to change: it had been seen already when the server that lags was asked.
        world.serve(BOATS.resource, BOATS)
        async with asyncio.timeout(10):
            while BOATS.resource not in view.observed.stores:
                await asyncio.sleep(0.002)
        assert ("example.com/v1", "Boat") in view.observed.kinds
        await view.stop()

    run(scenario())


def test_when_nodes_were_heard_of_is_by_a_clock_that_nobody_sets(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        world = World("nodes")
        world.api.put("nodes", node("a"))
        seconds = iter([7.0, 9.0])
        view = Informers(cast(Client, FakeClient(world)), clock=lambda: next(seconds))
        await view.start({"nodes"}, everything=False)
        seen = view.look({}, "")
        assert (seen.heard, seen.uptime) == ({"a": 7.0}, 9.0)
        await view.stop()

    run(scenario())


def test_servers_that_are_away_at_the_start_are_waited_for(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        world = World(SETS, "pods")
        client = FakeClient(world)
        answers: list[Exception] = [Unreachable({"a": "refused"}), StatusError(403, "Forbidden", "not yet")]

        async def away() -> list[Kind]:
            if answers:
                raise answers.pop()
            return list(world.kinds)

        client.directory.all = away  # type: ignore[method-assign]
        wakes = {EVERYTHING: itself}
        manager = Manager(
            cast(Client, client), [Controller("c", SETS, replicaset.reconcile, wakes)], lambda _: lambda _: None
        )
        await asyncio.wait_for(manager.start(), 10)
        assert set(manager.informers.observed.stores) == {SETS, "pods"}
        await manager.close()

    run(scenario())
