"""The process runtime: containers without a daemon. See interface.Runtime for the promises, shim/ for who keeps them.

What survives what: containers survive the agent (each has a shim, which is init's child) and lose nothing; a shim
that is killed takes its container with it (exit code 137, ContainerStatusUnknown); a restart of the machine ends
all, and they are found as ended.
"""

from __future__ import annotations

from importlib import metadata

from node_agent.runtime.errors import RuntimeFault
from node_agent.runtime.process.container_calls import ContainerCalls
from node_agent.runtime.process.stream_calls import StreamCalls
from node_agent.runtime.types import Health, Version


class ProcessRuntime(ContainerCalls, StreamCalls):
    """`ProcessRuntime(root, network=None)`; see interface.Runtime."""

    async def open(self) -> None:
        await self.open_node()

    async def close(self) -> None:
        self.close_node()

    async def version(self) -> Version:
        try:
            return Version("fluyt-process", metadata.version("fluyt"))
        except metadata.PackageNotFoundError:
            return Version("fluyt-process", "0.0.0")

    async def health(self) -> Health:
        degraded = (*self.able.degraded, *self.cgroups.layout.lacks)
        try:
            usage = await self.image_fs()
        except RuntimeFault as problem:
            return Health(ready=False, reason="RuntimeUnavailable", message=str(problem), degraded=degraded)
        if not usage.available:
            message = f"the disk of {usage.mountpoint} is full: no container can be made"
            return Health(ready=False, reason="DiskFull", message=message, degraded=degraded)
        return Health(ready=True, degraded=degraded)
