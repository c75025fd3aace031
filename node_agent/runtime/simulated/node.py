"""What the calls of a simulated node stand on: its state, its chance to refuse, its events."""

from __future__ import annotations

from collections.abc import AsyncIterator

from node_agent.runtime.errors import NotFound, NotRunning
from node_agent.runtime.events import EventQueues
from node_agent.runtime.simulated.behaviour import Behaviour
from node_agent.runtime.simulated.images import SimulatedImages
from node_agent.runtime.simulated.records import ContainerRecord, SandboxRecord
from node_agent.runtime.simulated.world import World
from node_agent.runtime.types import ContainerState, EventType, RuntimeEvent


class NodeState:
    """What stays while agents come and go."""

    def __init__(self) -> None:
        self.images = SimulatedImages()
        self.sandboxes: dict[str, SandboxRecord] = {}
        self.containers: dict[str, ContainerRecord] = {}


class SimulatedNode:
    """`state` lives in the world under the node's name."""

    def __init__(self, world: World, node: str) -> None:
        self.world = world
        self.name = node
        self._events = EventQueues()
        state = world.nodes.setdefault(node, NodeState())
        assert isinstance(state, NodeState)
        self.state = state

    def allow(self, operation: str) -> None:
        """Raises what the world wants to go wrong."""
        fault = self.world.refuse and self.world.refuse(self.name, operation)
        if fault:
            raise fault

    def events(self) -> AsyncIterator[RuntimeEvent]:
        return self._events.subscribe()

    def close_events(self) -> None:
        self._events.close()

    def tell(self, type_: EventType, sandbox: str, container: str = "") -> None:
        self._events.put(RuntimeEvent(type_, sandbox, container, self.world.now()))

    async def take(self, seconds: float, behaviour: Behaviour, identity: str) -> None:
        """Let the time pass that something takes."""
        await self.world.until(
            self.world.now() + self.world.varied(seconds, behaviour.jitter, f"{self.name}/{identity}")
        )

    def sandbox(self, sandbox_id: str) -> SandboxRecord:
        found = self.state.sandboxes.get(sandbox_id)
        if found is None:
            raise NotFound(f"sandbox {sandbox_id[:12]} is not there")
        return found

    def container(self, container_id: str) -> ContainerRecord:
        found = self.state.containers.get(container_id)
        if found is None:
            raise NotFound(f"container {container_id[:12]} is not there")
        return found

    def running(self, container_id: str) -> ContainerRecord:
        found = self.container(container_id)
        if found.state(self.world.now()) is not ContainerState.RUNNING:
            raise NotRunning(f"container {container_id[:12]} does not run")
        return found

    def within(self, sandbox_id: str) -> list[ContainerRecord]:
        return [each for each in self.state.containers.values() if each.sandbox.id == sandbox_id]

    def end(self, container: ContainerRecord, at: float, code: int, reason: str = "") -> None:
        """Have it end then, and say so then."""
        if at < container.ends_at:
            container.end(at, code, reason)
            self.world.at(at, lambda: self._ended(container))

    def _ended(self, container: ContainerRecord) -> None:
        if container.ends_at > self.world.now() or container.told_end:
            return
        container.told_end = True
        self.tell(EventType.STOPPED, container.sandbox.id, container.id)
        for waiter in container.when_ended:
            waiter()
        container.when_ended.clear()
