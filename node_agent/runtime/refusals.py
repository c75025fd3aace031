"""Commands that could not be started: exit codes and streams for them. Pure."""

from __future__ import annotations

from node_agent.runtime.streams import Channel

_NOT_FOUND = ("executable file not found", "no such file or directory", "not found in $path")


def refusal_code(message: str) -> int:
    """As a shell has it: 127 not found, 126 found but not to be run."""
    return 127 if any(words in message.lower() for words in _NOT_FOUND) else 126


class RefusedStream:
    """A command that could not be started: it says why, and has ended. See streams.ProcessStream."""

    def __init__(self, message: str) -> None:
        self._code = refusal_code(message)
        self._left = [(Channel.STDERR, message.encode() + b"\n")]

    async def read(self) -> tuple[Channel, bytes] | None:
        return self._left.pop() if self._left else None

    async def write(self, data: bytes) -> None:
        """Nobody reads it."""

    async def close_stdin(self) -> None:
        """Nobody reads it."""

    async def resize(self, columns: int, rows: int) -> None:
        """It has no terminal."""

    async def wait(self) -> int:
        return self._code

    async def close(self) -> None:
        """Nothing is open."""
