"""The agent is stopped and started again at random while pods come, crash and go, and the runtime errs.

At every moment at most one run of a container runs; at the end what runs is what is wanted, and nothing else is left.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

from agent_fake_api import FakeApi
from agent_one_node import new_agent, pod, status, until

from node_agent.pod.labels import CONTAINER_NAME, POD_UID
from node_agent.runtime.errors import RuntimeFault, RuntimeUnavailable
from node_agent.runtime.simulated import SimulatedRuntime, World
from node_agent.runtime.types import ContainerState
from node_agent.shell.agent import NodeAgent
from node_agent.shell.checkpoint import Checkpoint

_KINDS = ("", "run=20ms, exit=1", "run=30ms, exit=0", "start=20ms, stop=20ms", "sandbox=10ms")


class Node:
    """One fake machine; its agents come and go."""

    def __init__(self, chance: random.Random, folder: Path) -> None:
        self.chance, self.folder = chance, folder
        self.api, self.errs = FakeApi(), True
        self.world = World(seed=chance.randrange(1 << 30), refuse=self._refuse)
        self.agent: NodeAgent | None = None
        self.runtime = SimulatedRuntime(self.world, "n1")

    def _refuse(self, node: str, operation: str) -> RuntimeFault | None:
        wrong = self.errs and operation not in ("open", "version", "health") and self.chance.random() < 0.05
        return RuntimeUnavailable(f"{operation} failed by chance") if wrong else None

    async def start(self) -> None:
        self.agent = new_agent(
            self.api,
            SimulatedRuntime(self.world, "n1"),
            look_every=(0.02, 0.05),
            memory=Checkpoint(self.folder),
            retry=0.01,
        )
        context = self.agent.context
        for delays in (context.restarts, context.retries, context.pulls):
            delays.initial, delays.longest = 0.02, 2.0
        await self.agent.start()

    async def stop(self) -> None:
        if self.agent is not None:
            await self.agent.stop()
        self.agent = None

    def running(self) -> Counter[tuple[str, str]]:
        """(pod uid, container) → runs that run now."""
        now = self.world.now()
        found = (
            c.config.labels for c in self.runtime.state.containers.values() if c.state(now) is ContainerState.RUNNING
        )
        return Counter((of[POD_UID], of[CONTAINER_NAME]) for of in found)

    def check(self) -> None:
        assert not [key for key, count in self.running().items() if count > 1], "a container runs twice"

    def act(self, number: int) -> None:
        """One thing that a user does."""
        names = [name for _, name in self.api.objects.get("pods", {})]
        if names and self.chance.random() < 0.4:
            name = self.chance.choice(names)
            doomed = self.api.of("pods", name, "default")
            if doomed is not None and self.chance.random() < 0.7:
                doomed["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 1}
                self.api.put("pods", doomed)
            elif doomed is not None:
                self.api.drop("pods", name, "default")
            return
        containers = [{"name": name} for name in "abc"[: self.chance.randint(1, 3)]]
        policy = self.chance.choice(("Always", "OnFailure", "Never"))
        simulate = self.chance.choice(_KINDS)
        self.api.put("pods", pod(f"p{number}", *containers, simulate=simulate, restartPolicy=policy))

    def unsettled(self) -> str:
        """What is not as it should be, for the failed test."""
        pods = {p["metadata"]["uid"]: p for p in self.api.objects.get("pods", {}).values()}
        here = {s.config.uid: s.stopped for s in self.runtime.state.sandboxes.values()}
        workers = self.agent.dispatch.workers if self.agent else {}
        lines = [f"left over: {uid} {here[uid]} {uid in workers}" for uid in here if uid not in pods]
        for uid, found in pods.items():
            deleting = found["metadata"].get("deletionTimestamp")
            phase = found["status"].get("phase")
            if deleting or uid not in here or phase == "Pending":
                worker = workers.get(uid)
                state = worker and (worker._task, worker._timer, worker.failures, worker.killer.ids)
                lines.append(f"{uid} {phase} deleting {deleting} sandbox {here.get(uid)}: {state}")
        return "\n".join(lines)

    def settled(self) -> bool:
        """Whether every pod is at rest: running, ended for good, or crashing as it must."""
        pods = self.api.objects.get("pods", {}).values()
        if any(p["metadata"].get("deletionTimestamp") for p in pods):
            return False
        uids = {p["metadata"]["uid"] for p in pods}
        here = {s.config.uid for s in self.runtime.state.sandboxes.values()}
        phases = {status(self.api, p["metadata"]["name"]).get("phase") for p in pods}
        return here == uids and phases <= {"Running", "Succeeded", "Failed"}


def test_restarts_at_random(seed: int, tmp_path: Path) -> None:
    async def life() -> None:
        chance = random.Random(seed)
        node = Node(chance, tmp_path)
        await node.start()
        for number in range(50):
            node.act(number)
            if chance.random() < 0.15:
                await node.stop()
                if chance.random() < 0.3:
                    node.act(number + 1000)
                node.check()
                await node.start()
            await asyncio.sleep(chance.random() * 0.02)
            node.check()
        node.errs = False
        try:
            await until(node.settled, "what is wanted runs, and nothing else", 30)
        except TimeoutError:
            raise AssertionError(node.unsettled()) from None
        node.check()
        await node.stop()
        await node.world.close()

    asyncio.run(life())
