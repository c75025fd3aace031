"""Sandboxes of a simulated node."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.runtime.errors import CannotCreate
from node_agent.runtime.simulated.behaviour import behaviour_of
from node_agent.runtime.simulated.node import SimulatedNode
from node_agent.runtime.simulated.records import KILLED, SandboxRecord
from node_agent.runtime.types import EventType, Sandbox, SandboxConfig, selected


class SandboxCalls(SimulatedNode):
    """See interface.Sandboxes."""

    async def run_sandbox(self, config: SandboxConfig) -> str:
        self.allow("run_sandbox")
        try:
            behaviour = behaviour_of(config.annotations, "", (), ())
        except ValueError as problem:
            raise CannotCreate(str(problem), "CreatePodSandboxError") from problem
        await self.take(behaviour.sandbox, behaviour, config.uid)
        if behaviour.sandbox_error:
            raise CannotCreate(behaviour.sandbox_error, "CreatePodSandboxError")
        ips = () if config.host_network else (self.world.new_address(),)
        sandbox = SandboxRecord(self.world.new_id("sandbox", self.name), config, self.world.now(), ips)
        self.state.sandboxes[sandbox.id] = sandbox
        self.tell(EventType.STARTED, sandbox.id)
        return sandbox.id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        self.allow("stop_sandbox")
        sandbox = self.state.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.stopped:
            return
        for container in self.within(sandbox_id):
            self.end(container, self.world.now(), KILLED)
        sandbox.stopped = True
        self.tell(EventType.STOPPED, sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        self.allow("remove_sandbox")
        for container in self.within(sandbox_id):
            self.forget(container.id)
        if self.state.sandboxes.pop(sandbox_id, None):
            self.tell(EventType.DELETED, sandbox_id)

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> list[Sandbox]:
        self.allow("list_sandboxes")
        return [each.show() for each in self.state.sandboxes.values() if selected(each.config.labels, labels)]

    async def sandbox_status(self, sandbox_id: str) -> Sandbox:
        self.allow("sandbox_status")
        return self.sandbox(sandbox_id).show()

    def forget(self, container_id: str) -> None:
        """Remove a container; one that runs ends."""
        container = self.state.containers.pop(container_id, None)
        if container is not None:
            self.end(container, self.world.now(), KILLED)
            self.tell(EventType.DELETED, container.sandbox.id, container_id)
