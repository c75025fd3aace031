"""The end of pods: how long it may take, what shortens it, and what is said of it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agent_fake_api import FakeApi, Object
from agent_one_node import container, one_node, pod, status, until

from node_agent.pod.actions import Verdict
from node_agent.runtime.simulated import SimulatedRuntime
from node_agent.shell.agent import NodeAgent
from node_agent.shell.worker import Worker

SICK: Object = {"exec": {"command": ["x"]}, "periodSeconds": 1, "failureThreshold": 1}
Work = Callable[[FakeApi, SimulatedRuntime, NodeAgent], Awaitable[None]]


def run(work: Work) -> None:
    async def life() -> None:
        async with one_node() as (api, runtime, agent):
            await work(api, runtime, agent)

    asyncio.run(life())


def delete(api: FakeApi, name: str, grace: int) -> None:
    doomed = api.of("pods", name, "default")
    assert doomed is not None
    doomed["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
    api.put("pods", doomed)


def worker_of(agent: NodeAgent) -> Worker | None:
    return next(iter(agent.dispatch.workers.values()), None)


async def being_ended(api: FakeApi, agent: NodeAgent) -> Worker:
    """A pod that ends slowly, and whose liveness probe has failed."""
    api.put("pods", pod("web", {"name": "web", "livenessProbe": SICK}, simulate="exec-exit=1, stop=1h"))

    def found() -> Worker | None:
        worker = worker_of(agent)
        return worker if worker is not None and worker.killer.ids else None

    return await until(found, "it is being ended")


def test_a_deletion_shortens_an_end_that_is_under_way() -> None:
    async def work(api: FakeApi, runtime: SimulatedRuntime, agent: NodeAgent) -> None:
        await being_ended(api, agent)
        delete(api, "web", grace=0)
        await until(lambda: api.of("pods", "web", "default") is None, "it is gone", 5)

    run(work)


def test_so_does_an_eviction() -> None:
    async def work(api: FakeApi, runtime: SimulatedRuntime, agent: NodeAgent) -> None:
        worker = await being_ended(api, agent)
        worker.condemn(Verdict("Evicted", "low on memory"), 0.0)
        await until(lambda: not worker.killer.ids, "it has ended", 5)
        await until(lambda: status(api, "web").get("phase") == "Failed", "and failed")

    run(work)


def _graces(runtime: SimulatedRuntime) -> list[float]:
    """The graces that containers get from now on, each as it is stopped; they end at once."""
    found: list[float] = []
    stop = runtime.stop_container

    async def stop_container(container_id: str, grace: float) -> None:
        found.append(grace)
        await stop(container_id, 0)

    runtime.stop_container = stop_container  # type: ignore[method-assign]
    return found


def test_sidecars_have_what_the_others_left_of_the_time() -> None:
    """The grace period counted anew for each of them."""

    async def work(api: FakeApi, runtime: SimulatedRuntime, agent: NodeAgent) -> None:
        now = 1_000_000.0
        sidecars = [{"name": name, "image": "i", "restartPolicy": "Always"} for name in ("s1", "s2", "s3")]
        api.put("pods", pod("web", {"name": "a"}, {"name": "b"}, initContainers=sidecars))
        await until(lambda: status(api, "web").get("phase") == "Running", "it runs")
        agent.context.now = lambda: now
        graces = _graces(runtime)
        stop = runtime.stop_container

        async def takes_twelve_seconds(container_id: str, grace: float) -> None:
            nonlocal now
            await stop(container_id, grace)
            now += 12.0

        runtime.stop_container = takes_twelve_seconds  # type: ignore[method-assign]
        delete(api, "web", grace=40)
        await until(lambda: len(graces) == 5, "all were stopped")
        assert graces == [40.0, 40.0, 16.0, 4.0, 2.0]

    run(work)


def test_an_end_by_force_leaves_sidecars_no_time_either() -> None:
    async def work(api: FakeApi, runtime: SimulatedRuntime, agent: NodeAgent) -> None:
        sidecars = [{"name": "s1", "image": "i", "restartPolicy": "Always"}]
        api.put("pods", pod("web", {"name": "a"}, initContainers=sidecars))
        await until(lambda: status(api, "web").get("phase") == "Running", "it runs")
        graces = _graces(runtime)
        delete(api, "web", grace=0)
        await until(lambda: len(graces) == 2, "both were stopped")
        assert graces == [0.0, 0.0]

    run(work)


class Phases(FakeApi):
    """Keeps what was reported of pods: (phase, reason, whether something ran then)."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str, bool]] = []

    async def patch(self, resource: str, name: str, patch: Any, **more: Any) -> Object:
        made = await super().patch(resource, name, patch, **more)
        if resource == "pods":
            now = made["status"]
            entries = now.get("containerStatuses", []) + now.get("initContainerStatuses", [])
            runs = any("running" in entry["state"] for entry in entries)
            self.said.append((now["phase"], now.get("reason", ""), runs))
        return made


def said_of(made: Object, last: str) -> list[tuple[str, str, bool]]:
    """What was reported of the pod until it was in its last phase."""

    async def life() -> list[tuple[str, str, bool]]:
        api = Phases()
        async with one_node(api=api):
            api.put("pods", made)
            await until(lambda: status(api, made["metadata"]["name"]).get("phase") == last, "it is over", 20)
        return api.said

    return asyncio.run(life())


def test_a_pod_that_is_out_of_time_has_failed_once_nothing_of_it_runs() -> None:
    """Who watches the phase took its place on the node for free while its containers still ran."""
    made = pod("late", simulate="stop=1s", activeDeadlineSeconds=1, restartPolicy="Never")
    said = said_of(made, "Failed")
    assert said[-1] == ("Failed", "DeadlineExceeded", False)
    assert {phase for phase, _, runs in said if runs} == {"Running"}
    assert {reason for _, reason, runs in said if runs} == {""}


def test_a_job_has_succeeded_once_its_sidecar_has_ended() -> None:
    made = pod("job", initContainers=[{"name": "s1", "image": "i", "restartPolicy": "Always"}], restartPolicy="Never")
    made["metadata"]["annotations"] = {"fluyt.dev/simulate.web": "run=10ms", "fluyt.dev/simulate.s1": "stop=700ms"}
    said = said_of(made, "Succeeded")
    assert said[-1] == ("Succeeded", "", False)
    assert "Succeeded" not in {phase for phase, _, runs in said if runs}


def test_an_evicted_pod_is_told_of_when_it_has_ended() -> None:
    async def work(api: FakeApi, runtime: SimulatedRuntime, agent: NodeAgent) -> None:
        api.put("pods", pod("web", simulate="stop=1h"))
        await until(lambda: status(api, "web").get("phase") == "Running", "it runs")
        worker = worker_of(agent)
        assert worker is not None
        worker.condemn(Verdict("Evicted", "low on memory"), 600.0)
        await until(lambda: _ready(api) == "PodFailed", "it is not ready any more")
        assert (status(api, "web")["phase"], "running" in container(api, "web")["state"]) == ("Running", True)
        worker.killer.hurry(worker.pod, 0.0)
        await until(lambda: status(api, "web").get("phase") == "Failed", "it has failed")
        assert (status(api, "web")["reason"], status(api, "web")["message"]) == ("Evicted", "low on memory")

    run(work)


def _ready(api: FakeApi) -> str:
    conditions = {c["type"]: c.get("reason", "") for c in status(api, "web").get("conditions") or []}
    return conditions.get("Ready", "")
