"""Run a command to its end and keep what it says: exec_sync on top of exec."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from node_agent.runtime.errors import ExecTimeout
from node_agent.runtime.streams import Channel, ProcessStream
from node_agent.runtime.types import ExecResult

MAX_OUTPUT = 16 * 2**20


async def run_collected(stream: ProcessStream, command: Sequence[str], timeout: float) -> ExecResult:
    """The first MAX_OUTPUT bytes of each stream are kept. Raises ExecTimeout, after which the command is killed."""
    kept = {Channel.STDOUT: bytearray(), Channel.STDERR: bytearray()}
    try:
        async with asyncio.timeout(timeout or None):
            while (piece := await stream.read()) is not None:
                channel, data = piece
                kept[channel] += data[: MAX_OUTPUT - len(kept[channel])]
            code = await stream.wait()
    except TimeoutError as problem:
        raise ExecTimeout(f"command {' '.join(command)[:200]!r} timed out after {timeout:g} s") from problem
    finally:
        await stream.close()
    return ExecResult(code, bytes(kept[Channel.STDOUT]), bytes(kept[Channel.STDERR]))
