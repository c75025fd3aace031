"""Pods from their binding to their end, over the simulated runtime and a fake API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_one_node import container, new_agent, one_node, pod, status, until

from node_agent.pod.actions import Start
from node_agent.pod.fields import ConfigProblem
from node_agent.pod.restart import backoff_key
from node_agent.runtime.simulated import SimulatedRuntime, World
from node_agent.shell.pretended import NoVolumes
from node_agent.shell.starter import CannotRun
from node_agent.volumes.problem import VolumeProblem


def test_a_pod_runs_and_is_removed_when_it_is_deleted() -> None:
    async def life() -> None:
        async with one_node() as (api, runtime, _):
            api.put("pods", pod("web"))
            await until(lambda: status(api, "web").get("phase") == "Running", "the pod runs")
            ready = {c["type"]: c["status"] for c in status(api, "web")["conditions"]}
            assert ready == {
                "PodReadyToStartContainers": "True",
                "Initialized": "True",
                "Ready": "True",
                "ContainersReady": "True",
                "PodScheduled": "True",
            }
            assert container(api, "web")["containerID"].startswith("simulated://")
            assert status(api, "web")["startTime"]
            assert api.reasons("web") == ["Pulling", "Pulled", "Created", "Started"]
            doomed = api.of("pods", "web", "default")
            assert doomed is not None
            doomed["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}
            api.put("pods", doomed)
            await until(lambda: api.of("pods", "web", "default") is None, "the pod is gone")
            assert await runtime.list_sandboxes() == []
            assert await runtime.container_statuses() == []
            assert "Killing" in api.reasons("web")

    asyncio.run(life())


def test_an_agent_that_starts_again_touches_nothing() -> None:
    async def life() -> None:
        world = World()
        async with one_node(world) as (api, runtime, _):
            api.put("pods", pod("web"))
            await until(lambda: status(api, "web").get("phase") == "Running", "the pod runs")
            before = await runtime.container_statuses()
        again = SimulatedRuntime(world, "n1")
        agent = new_agent(api, again)
        await agent.start()
        try:
            await until(lambda: agent.dispatch.workers, "the pod was taken over")
            await until(lambda: agent.dispatch._api_heard, "the API was heard")
            assert await again.container_statuses() == before
            assert container(api, "web")["restartCount"] == 0
        finally:
            await agent.stop()

    asyncio.run(life())


def _waiting(entry: dict[str, Any], reason: str) -> dict[str, Any] | None:
    found = (entry.get("state") or {}).get("waiting") or {}
    return found if found.get("reason") == reason else None


def test_a_debugger_is_told_whose_processes_it_sees() -> None:
    async def life() -> None:
        async with one_node() as (api, runtime, agent):
            api.put("pods", pod("web"))
            await until(lambda: status(api, "web").get("phase") == "Running", "the pod runs")
            worker = next(iter(agent.dispatch.workers.values()))
            (running,) = await runtime.list_containers()
            assert worker.starter._target(worker.pod, {"name": "d", "targetContainerName": "web"}) == running.id
            assert worker.starter._target(worker.pod, {"name": "d"}) == ""
            with pytest.raises(ConfigProblem, match="unable to find target container nope"):
                worker.starter._target(worker.pod, {"name": "d", "targetContainerName": "nope"})

    asyncio.run(life())


class _Missing(NoVolumes):
    """A volume whose secret is not there."""

    async def set_up(self, pod: dict[str, Any]) -> None:
        raise VolumeProblem("s", 'secret "s" not found')


def test_a_volume_that_is_missing_is_waited_for_without_pulling() -> None:
    """Each try pulled the image again, and told of it."""

    async def life() -> None:
        async with one_node(volumes=_Missing(), retry=0.005) as (api, _, _agent):
            api.put("pods", pod("web"))
            await until(lambda: api.reasons("web").count("FailedMount") >= 2, "it was tried twice")
            assert set(api.reasons("web")) == {"FailedMount"}

    asyncio.run(life())


def test_a_container_that_cannot_be_started_is_counted_once_a_try() -> None:
    """A second run that could not be started doubled its delay twice: 10 s, 40 s, 160 s."""

    async def life() -> None:
        async with one_node() as (api, _, agent):
            api.put("pods", pod("web", simulate="start-error=no such file"))
            await until(lambda: "Failed" in api.reasons("web"), "it was tried")
            worker = next(iter(agent.dispatch.workers.values()))
            key = backoff_key(worker.pod, worker.pod["spec"]["containers"][0])
            now = agent.context.now()
            assert agent.context.restarts.delay(key, now) == 10
            with pytest.raises(CannotRun):
                await worker.starter.start(worker.pod, Start("web", 1, "exited with code 128"))
            assert agent.context.restarts.delay(key, now) == 20

    asyncio.run(life())


def test_a_crashing_container_backs_off_in_kubernetes_words() -> None:
    async def life() -> None:
        async with one_node() as (api, _, agent):
            api.put("pods", pod("crash", simulate="run=1ms, exit=3"))
            waiting = await until(lambda: _waiting(container(api, "crash"), "CrashLoopBackOff"), "the container waits")
            uid = next(iter(agent.dispatch.workers))
            assert waiting["message"] == f"back-off 10s restarting failed container=web pod=crash_default({uid})"
            entry = container(api, "crash")
            assert entry["restartCount"] == 1
            assert entry["lastState"]["terminated"]["exitCode"] == 3
            assert entry["lastState"]["terminated"]["reason"] == "Error"
            assert status(api, "crash")["phase"] == "Running"
            assert "BackOff" in api.reasons("crash")

    asyncio.run(life())
