"""A Docker engine behind our interface. Containers survive the agent; with the engine's live-restore they survive
it, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

from node_agent.runtime import ownership
from node_agent.runtime.collected import run_collected
from node_agent.runtime.docker import messages
from node_agent.runtime.docker.container_calls import ContainerCalls
from node_agent.runtime.docker.engine import CallFailed
from node_agent.runtime.docker.process_tree import kill_tree
from node_agent.runtime.docker.streams import DockerStream, settled
from node_agent.runtime.errors import NotRunning, RuntimeFault
from node_agent.runtime.netns import socket_within
from node_agent.runtime.refusals import RefusedStream
from node_agent.runtime.sockets import SocketStream
from node_agent.runtime.streams import ByteStream, ProcessStream
from node_agent.runtime.types import (
    ContainerState,
    EventType,
    ExecResult,
    Health,
    RuntimeEvent,
    SandboxState,
    Version,
)

_EVENTS = {
    "create": EventType.CREATED,
    "start": EventType.STARTED,
    "die": EventType.STOPPED,
    "destroy": EventType.DELETED,
}


class DockerRuntime(ContainerCalls):
    """`DockerRuntime("unix:///var/run/docker.sock", owner="node-1")`; see interface.Runtime."""

    async def open(self) -> None:
        await self.version()
        for status in await self.container_statuses():
            if status.state in (ContainerState.RUNNING, ContainerState.EXITED):
                await self.follow_log(status.id)

    async def close(self) -> None:
        logs, self._logs = self._logs, {}
        for follower in logs.values():
            await follower.stop()
        await self.engine.close()

    async def version(self) -> Version:
        found = await self.engine.call(lambda api: api.version())
        return Version("docker", str(found["Version"]), str(found["ApiVersion"]))

    async def health(self) -> Health:
        try:
            info = await self.engine.call(lambda api: api.info())
        except RuntimeFault as problem:
            return Health(ready=False, network_ready=False, reason="RuntimeUnavailable", message=str(problem))
        live = () if info.get("LiveRestoreEnabled") else ("live-restore is off: containers end with the engine",)
        return Health(ready=True, degraded=(*live, *(str(line) for line in info.get("Warnings") or ())))

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        wanted = f'{{"type":["container"],"label":["{ownership.OWNER}={self.owner}"]}}'
        with contextlib.suppress(RuntimeFault):
            async for found in self.engine.documents("/events", {"filters": wanted}):
                event = self._event(found)
                if event is not None:
                    yield event

    @staticmethod
    def _event(found: dict[str, Any]) -> RuntimeEvent | None:
        type_ = _EVENTS.get(found.get("Action", ""))
        if type_ is None:
            return None
        labels, identity = found["Actor"]["Attributes"], found["Actor"]["ID"]
        at = found.get("timeNano", 0) / 1e9
        if ownership.ours(labels, "kind") == messages.SANDBOX:
            return RuntimeEvent(type_, identity, "", at)
        return RuntimeEvent(type_, ownership.ours(labels, "sandbox"), identity, at)

    # streams

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float = 0.0) -> ExecResult:
        return await run_collected(await self.exec(container_id, command), command, timeout)

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> ProcessStream:
        await self.running(container_id)
        try:
            made = await self.engine.call(
                lambda api: api.exec_create(container_id, list(command), stdin=stdin, tty=tty, stdout=True, stderr=True)
            )
            identity = str(made["Id"])
            streams = await self.engine.hijack(f"/exec/{identity}/start", {"Detach": False, "Tty": tty})
        except CallFailed as problem:
            if problem.status == 409:
                raise NotRunning(str(problem)) from problem
            return RefusedStream(str(problem))

        async def look() -> int | None:
            found = await self.engine.call(lambda api: api.exec_inspect(identity))
            return None if found["Running"] or found["ExitCode"] is None else int(found["ExitCode"])

        async def resize(columns: int, rows: int) -> None:
            await self.engine.call(lambda api: api.exec_resize(identity, height=rows, width=columns))

        async def process() -> int | None:
            """Its number on the machine, 0 once it has ended; output may come before the engine knows it."""
            found = await self.engine.call(lambda api: api.exec_inspect(identity))
            return int(found.get("Pid") or 0) or None if found["Running"] else 0

        async def hang_up() -> None:
            """Docker cannot end what was exec'd; on this machine its process can be killed."""
            pid = await settled(process)
            if pid:
                await asyncio.to_thread(kill_tree, pid)

        return DockerStream(streams, tty=tty, code=lambda: settled(look), resize=resize, hang_up=hang_up)

    async def attach(self, container_id: str, *, stdin: bool = False) -> ProcessStream:
        await self.running(container_id)
        found = await self.engine.call(lambda api: api.inspect_container(container_id))
        tty = bool(found["Config"]["Tty"])
        query = f"stream=1&stdout=1&stderr=1&stdin={int(stdin)}"
        try:
            streams = await self.engine.hijack(f"/containers/{container_id}/attach?{query}")
        except CallFailed as problem:
            raise NotRunning(str(problem)) from problem

        async def look() -> int | None:
            status = await self.container_status(container_id)
            return status.exit_code if status.state is ContainerState.EXITED else None

        async def resize(columns: int, rows: int) -> None:
            await self.engine.call(lambda api: api.resize(container_id, height=rows, width=columns))

        async def leave() -> None:
            """The container goes on."""

        return DockerStream(streams, tty=tty, code=lambda: settled(look), resize=resize, hang_up=leave)

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        sandbox = await self.sandbox_status(sandbox_id)
        if sandbox.state is not SandboxState.READY:
            raise NotRunning(f"sandbox {sandbox_id[:12]} does not run")
        sock = await socket_within(sandbox.netns) if sandbox.netns else socket.socket()
        return await SocketStream.connect(sock, ("127.0.0.1", port))
