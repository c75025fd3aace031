"""What an agent that starts again knows of the pods it finds: readiness, what has started, which went meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agent_fake_api import FakeApi, Object
from agent_one_node import container, one_node, pod, status, until

from node_agent.pod.observed import Container, State
from node_agent.probes.handlers import Outcome
from node_agent.probes.prober import Prober
from node_agent.runtime.simulated import World
from node_agent.runtime.types import ExecResult
from node_agent.shell.checkpoint import Checkpoint
from node_agent.shell.records import PodEvents

PROBE: Object = {"exec": {"command": ["x"]}, "periodSeconds": 1, "failureThreshold": 1}


class Listening(FakeApi):
    """Keeps the readiness that was reported."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: list[bool] = []

    async def patch(self, resource: str, name: str, patch: Any, **more: Any) -> Object:
        made = await super().patch(resource, name, patch, **more)
        if resource == "pods":
            self.ready.append(container(self, name).get("ready", False))
        return made


def test_a_ready_pod_stays_ready_when_its_agent_starts_again(tmp_path: Path) -> None:
    async def life() -> None:
        api, world = Listening(), World()
        async with one_node(world, api=api, memory=Checkpoint(tmp_path)):
            api.put("pods", pod("web", {"name": "web", "readinessProbe": PROBE}, simulate="ready-after=200ms"))
            await until(lambda: container(api, "web").get("ready"), "it is ready")
            await asyncio.sleep(0.05)
        api.ready.clear()
        async with one_node(world, api=api, memory=Checkpoint(tmp_path)) as (_, _, agent):
            await until(lambda: agent.prober.counts.get(("readiness", "successful")), "it was probed")
            await asyncio.sleep(0.5)  # longer than a report waits for a newer one
            assert all(api.ready)

    asyncio.run(life())


def test_what_has_started_need_not_start_again(tmp_path: Path) -> None:
    """A startup probe asks for something that may be over by now."""

    async def life() -> None:
        api, world = FakeApi(), World()
        described = {"name": "web", "startupProbe": PROBE, "readinessProbe": PROBE}
        async with one_node(world, api=api, memory=Checkpoint(tmp_path)):
            api.put("pods", pod("web", described))
            await until(lambda: container(api, "web").get("ready"), "it is ready")
            await asyncio.sleep(0.05)
        async with one_node(world, api=api, memory=Checkpoint(tmp_path)) as (_, runtime, agent):

            async def fails(*_: Any) -> ExecResult:
                return ExecResult(1, b"", b"no")

            runtime.exec_sync = fails  # type: ignore[method-assign]
            await until(lambda: agent.prober.counts, "it was probed")
            assert set(agent.prober.counts) == {("readiness", "failed")}
            await until(lambda: not container(api, "web")["ready"], "which is told")
            assert container(api, "web")["started"] is True
            assert "Killing" not in api.reasons("web")

    asyncio.run(life())


class Never:
    """A runner that is asked and does not answer."""

    def __init__(self) -> None:
        self.asked: list[Object] = []

    async def run(self, target: Any, handler: Object, timeout: float) -> Outcome:
        self.asked.append(handler)
        await asyncio.sleep(3600)
        return Outcome(True)


def test_what_the_checkpoint_did_not_know_the_api_servers_first_word_tells() -> None:
    async def life() -> None:
        runner, api = Never(), FakeApi()
        prober = Prober(runner, PodEvents(api), lambda uid: "", lambda uid: None, lambda: 100.0, 50.0, lambda: 0.0)
        described = {"name": "web", "startupProbe": PROBE, "readinessProbe": PROBE}
        before = pod("web", described)
        running = {"web": Container(id="abc", name="web", state=State.RUNNING, started=10.0)}
        prober.follow(before, running)
        assert not prober.results("")["web"].started
        await until(lambda: runner.asked, "the startup probe runs")
        entry = {"name": "web", "containerID": "simulated://abc", "started": True, "ready": True}
        prober.follow({**before, "status": {"containerStatuses": [entry]}}, running)
        assert (prober.results("")["web"].started, prober.results("")["web"].ready) == (True, True)
        found = prober._pods[""]["web"]
        assert not found.running
        assert set(found.timers) == {"readiness"}
        prober.close()

    asyncio.run(life())


def test_a_verdict_of_ones_own_outlives_older_words_of_the_api_server() -> None:
    async def life() -> None:
        prober = Prober(Never(), PodEvents(FakeApi()), lambda uid: "", lambda uid: None, lambda: 100.0, 50.0)
        entry = {"name": "web", "containerID": "simulated://abc", "started": True, "ready": True}
        described = {**pod("web", {"name": "web", "readinessProbe": PROBE}), "status": {"containerStatuses": [entry]}}
        running = {"web": Container(id="abc", name="web", state=State.RUNNING, started=10.0)}
        prober.follow(described, running)
        prober._pods[""]["web"].tracks["readiness"].take(False)
        prober.follow(described, running)
        assert not prober.results("")["web"].ready
        prober.close()

    asyncio.run(life())


def test_the_checkpoint_of_a_pod_that_went_while_the_agent_was_away_goes(tmp_path: Path) -> None:
    async def life() -> None:
        memory = Checkpoint(tmp_path)
        for uid in ("uid-stays", "uid-went"):
            made = pod(uid.removeprefix("uid-"))
            made["metadata"]["uid"] = uid
            memory.remember(made)
        api = FakeApi()
        stays = pod("stays")
        stays["metadata"]["uid"] = "uid-stays"
        api.put("pods", stays)
        async with one_node(api=api, memory=memory) as (_, _, agent):
            await until(lambda: agent.heard and status(api, "stays").get("phase") == "Running", "it runs")
            assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["uid-stays.json"]

    asyncio.run(life())
