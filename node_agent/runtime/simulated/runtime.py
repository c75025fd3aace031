"""A node that only says that it runs containers.

Invariants: no task and no timer per container that just runs; a state is computed from times when someone looks.
Everything lives in the World under the node's name, so a runtime that is opened again finds what an earlier one
started.
"""

from __future__ import annotations

from node_agent.runtime.simulated.container_calls import ContainerCalls
from node_agent.runtime.simulated.image_calls import ImageCalls
from node_agent.runtime.simulated.stream_calls import StreamCalls
from node_agent.runtime.types import Health, Version


class SimulatedRuntime(ImageCalls, ContainerCalls, StreamCalls):
    """One fake node's runtime; see interface.Runtime."""

    async def open(self) -> None:
        self.allow("open")

    async def close(self) -> None:
        self.close_events()

    async def version(self) -> Version:
        self.allow("version")
        return Version("simulated", "1.0.0")

    async def health(self) -> Health:
        fault = self.world.refuse and self.world.refuse(self.name, "health")
        return Health(ready=False, reason="RuntimeUnavailable", message=str(fault)) if fault else Health(ready=True)
