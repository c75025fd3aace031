"""Open streams into containers: exec, attach, port-forward."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol


class Channel(IntEnum):
    """Numbers as on kubectl's WebSocket."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2


class ProcessStream(Protocol):
    """A program's standard streams. With a terminal, everything it says is STDOUT.

    One task reads while another writes. Both sides wait for each other (backpressure): a reader that does not read
    makes the program wait, except that an attached client which is too slow is cut off rather than stalling the
    container.
    """

    async def read(self) -> tuple[Channel, bytes] | None:
        """The next piece of output, at most 64 KiB; None after the last one."""
        ...

    async def write(self, data: bytes) -> None:
        """Into its stdin; returns when there is room for more. What comes after its end is dropped."""
        ...

    async def close_stdin(self) -> None:
        """No more input. Harmless when repeated."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Tell its terminal; nothing happens where it has none."""
        ...

    async def wait(self) -> int:
        """Exit code: of the command (exec), of the container (attach; 0 when only the attachment ended).

        Raises RuntimeUnavailable when the runtime went away before it was known.
        """
        ...

    async def close(self) -> None:
        """Let go. An exec'd command is hung up (killed if it does not end); an attached container goes on."""
        ...


class ByteStream(Protocol):
    """A connection to a port of a sandbox."""

    async def read(self) -> bytes:
        """At most 64 KiB; empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more. Raises ConnectionError when the other side is gone."""
        ...

    async def close_write(self) -> None:
        """No more will be written; reading goes on."""
        ...

    async def close(self) -> None: ...
