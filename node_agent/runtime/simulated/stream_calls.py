"""Exec, attach and port-forward of a simulated node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from node_agent.runtime.errors import ExecTimeout, NotRunning
from node_agent.runtime.simulated import programs
from node_agent.runtime.simulated.node import SimulatedNode
from node_agent.runtime.simulated.streams import GreetingStream, ScriptedStream
from node_agent.runtime.streams import ByteStream, ProcessStream
from node_agent.runtime.types import ExecResult


class StreamCalls(SimulatedNode):
    """See interface.Streams."""

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float = 0.0) -> ExecResult:
        self.allow("exec_sync")
        takes, result = self._answer(container_id, command)
        if timeout and takes > timeout:
            await self.world.until(self.world.now() + timeout)
            raise ExecTimeout(f"command {command[0]!r} timed out after {timeout:g} s")
        await self.world.until(self.world.now() + takes)
        return result

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> ProcessStream:
        self.allow("exec")
        takes, result = self._answer(container_id, command)

        async def run() -> ExecResult:
            await self.world.until(self.world.now() + takes)
            return result

        return ScriptedStream(run, echo=stdin and programs.reads_stdin(command))

    async def attach(self, container_id: str, *, stdin: bool = False) -> ProcessStream:
        self.allow("attach")
        container = self.running(container_id)

        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        container.when_ended.append(lambda: None if ended.done() else ended.set_result(None))

        async def result() -> ExecResult:
            await ended
            return ExecResult(container.exit_code, b"", b"")

        return ScriptedStream(result)

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        self.allow("port_forward")
        sandbox = self.sandbox(sandbox_id)
        if sandbox.stopped:
            raise NotRunning(f"sandbox {sandbox_id[:12]} does not run")
        return GreetingStream(sandbox.config.name)

    def _answer(self, container_id: str, command: Sequence[str]) -> tuple[float, ExecResult]:
        container = self.running(container_id)
        age = self.world.now() - container.started_at
        return programs.answer(command, container.behaviour, age, container.config, container.sandbox.config)
