"""Many fake nodes in one process: for tests of controllers and schedulers, and to see what a cluster would be like.

They share one connection, one informer on all pods, one recorder and one world with its clock. Each has an address of
its own from 127.0.0.0/8, so that one server on one port can answer for all. What a fake node costs while nothing
happens is one renewal of its Lease every ten seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from control.client.client import Client
from control.client.informer import Informer
from control.client.objects import slim
from control.client.recorder import EventRecorder
from node_agent.machine.facts import read_machine
from node_agent.node.facts import Machine
from node_agent.node.settings import NodeSettings
from node_agent.pod import spec
from node_agent.pod.spec import Object
from node_agent.probes.pretended import PretendedHandlers
from node_agent.runtime.simulated import SimulatedRuntime, World
from node_agent.settings import AgentSettings
from node_agent.shell.agent import NodeAgent, Parts
from node_agent.shell.pretended import NoSources, NoVolumes
from node_agent.shell.records import WARNING, pod_reference

MOST_NODES: Final = 50_000
_AT_ONCE: Final = 32  # nodes that start beside each other
_LOOK: Final = (30.0, 300.0)  # the simulated runtime tells what happens; looking is for lost news only
Handler = Callable[[Object | None, Object | None], None]


class Share:
    """The pods of one node, from an informer on all of them."""

    def __init__(self, shared: SharedPods, node: str) -> None:
        self._shared, self._node = shared, node

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        return self._shared.subscribe(self._node, handler)

    async def start(self) -> None:
        await self._shared.started.wait()

    async def stop(self) -> None:
        return


class SharedPods:
    """One informer on all pods; what changes is told to the node that it concerns.

    annotated(node, pod): the annotations of a pod of that node are others than before.
    """

    def __init__(self, client: Client, annotated: Callable[[str, Object], None]) -> None:
        self._annotated = annotated
        self.informer = Informer(client, "pods", indexes={"node": _node_of}, transform=slim)
        self.started = asyncio.Event()
        self._handlers: dict[str, Handler] = {}

    async def start(self) -> None:
        await self.informer.start()
        self.informer.subscribe(self._tell)
        self.started.set()

    def subscribe(self, node: str, handler: Handler) -> Callable[[], None]:
        for pod in self.informer.by_index("node", node):
            handler(None, pod)
        self._handlers[node] = handler
        return lambda: self._handlers.pop(node, None) and None

    def _tell(self, old: Object | None, new: Object | None) -> None:
        before = spec.spec(old).get("nodeName", "") if old is not None else ""
        after = spec.spec(new).get("nodeName", "") if new is not None else ""
        if before and before != after:
            self._call(before, old, None)
            old = None
        if after:
            if old is not None and new is not None and spec.annotations_of(old) != spec.annotations_of(new):
                self._annotated(after, new)
            self._call(after, old if before == after else None, new)
        elif before and before == after:
            self._call(before, old, new)

    def _call(self, node: str, old: Object | None, new: Object | None) -> None:
        handler = self._handlers.get(node)
        if handler is not None:
            handler(old, new)


def _node_of(pod: Object) -> list[str]:
    return [spec.spec(pod)["nodeName"]] if spec.spec(pod).get("nodeName") else []


def address_of(number: int) -> str:
    """127.1.0.1 for the first, and so on; distinct up to MOST_NODES."""
    high, low = divmod(number, 250 * 250)
    return f"127.{1 + high}.{low // 250}.{1 + low % 250}"


class SimulatedNodes:
    """start(), then stop(); `agents` in between."""

    def __init__(self, settings: AgentSettings, client: Client, world: World | None = None) -> None:
        self._world = world or World(seed=settings.simulated_seed)
        if settings.simulated_error_rate:
            self._world.err(settings.simulated_error_rate)
        self._runtimes: dict[str, SimulatedRuntime] = {}
        self._recorder = EventRecorder(client, "kubelet", settings.node.name)
        self._pods = SharedPods(client, self._annotated)
        self._client = client
        machine = read_machine(settings.root)
        self.agents = [self._agent(settings, machine, number) for number in range(settings.simulated_nodes)]

    def _agent(self, settings: AgentSettings, machine: Machine, number: int) -> NodeAgent:
        name = f"{settings.node.name}-{number}"
        node: NodeSettings = replace(settings.node, name=name, ips=(address_of(number),), status_frequency=60.0)
        runtime = self._runtimes[name] = SimulatedRuntime(self._world, name)
        parts = Parts(
            client=self._client,
            pods=Share(self._pods, name),
            runtime=runtime,
            recorder=self._recorder,
            lookup=NoSources(),
            volumes=NoVolumes(),
            handlers=PretendedHandlers(runtime),
            log_root=str(settings.log_root or settings.root / "logs" / "pods"),
            root=Path("/"),
            whole_machine=False,
            look_every=_LOOK,
        )
        return NodeAgent(node, machine, parts)

    def _annotated(self, node: str, pod: Object) -> None:
        runtime = self._runtimes.get(node)
        if runtime is None:
            return
        try:
            runtime.set_load(spec.uid(pod), spec.annotations_of(pod))
        except ValueError as problem:
            self._recorder.record(pod_reference(pod), WARNING, "FailedToSimulate", str(problem))

    async def start(self) -> None:
        """Returns when all nodes are registered."""
        await self._recorder.start()
        await self._pods.start()
        slots = asyncio.Semaphore(_AT_ONCE)

        async def start(agent: NodeAgent) -> None:
            async with slots:
                await agent.start()
                await agent.registration.registered.wait()

        await asyncio.gather(*(start(agent) for agent in self.agents))

    async def stop(self) -> None:
        await asyncio.gather(*(agent.stop() for agent in self.agents))
        await self._pods.informer.stop()
        await self._recorder.close()
        await self._world.close()
