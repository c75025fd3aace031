"""Exec, attach and port-forward of the process runtime."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from node_agent.runtime.collected import run_collected
from node_agent.runtime.errors import NotRunning
from node_agent.runtime.netns import socket_within
from node_agent.runtime.process.node import ProcessNode
from node_agent.runtime.process.shim_link import open_attach, open_exec
from node_agent.runtime.sockets import SocketStream
from node_agent.runtime.streams import ByteStream, ProcessStream
from node_agent.runtime.types import ExecResult


class StreamCalls(ProcessNode):
    """See interface.Streams."""

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float = 0.0) -> ExecResult:
        return await run_collected(await self.exec(container_id, command), command, timeout)

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> ProcessStream:
        return await open_exec(self.running(container_id).folder, command, tty=tty, stdin=stdin)

    async def attach(self, container_id: str, *, stdin: bool = False) -> ProcessStream:
        return await open_attach(self.running(container_id).folder, stdin=stdin)

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        sandbox = self.sandbox(sandbox_id)
        if sandbox.stopped:
            raise NotRunning(f"sandbox {sandbox_id[:12]} does not run")
        sock = await socket_within(sandbox.netns) if sandbox.netns else socket.socket()
        return await SocketStream.connect(sock, ("127.0.0.1", port))
