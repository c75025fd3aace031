"""Docker's logs: what a stream that ended early has left out is there in the end, once."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from node_agent.runtime.docker.logs import LogFollower

FIRST, LATER = "2026-01-01T00:00:00.000000001Z", "2026-01-01T00:00:00.5Z"
# The pieces of one long line have one time.
SAID = [(1, f"{FIRST} one\n"), (1, f"{LATER} a"), (1, f"{LATER} b"), (1, f"{LATER} c\n"), (2, f"{LATER} end\n")]
WHOLE = ["one", "a", "b", "c", "end"]


class ShortEngine:
    """A container that has ended; the stream that follows it ends `early`."""

    def __init__(self, early: int) -> None:
        self.early = early

    async def follow(self, path: str, query: dict[str, str], method: str = "GET") -> AsyncIterator[bytes]:
        if path.endswith("/wait"):
            yield b"{}"
            return
        for channel, text in SAID[: self.early] if query["follow"] == "1" else SAID:
            yield struct.pack(">BxxxI", channel, len(text)) + text.encode()


@pytest.mark.parametrize("early", range(len(SAID) + 1))
def test_the_last_lines_are_asked_for_once_more(tmp_path: Path, early: int) -> None:
    path = tmp_path / "0.log"

    async def copy() -> None:
        follower = LogFollower(cast(Any, ShortEngine(early)), "c" * 64, str(path), tty=False)
        follower.start()
        await follower.finished(5)
        await follower.stop()

    asyncio.run(copy())
    assert [line.split(" ", 3)[3] for line in path.read_text().splitlines()] == WHOLE
    asyncio.run(copy())  # an agent that comes back
    assert [line.split(" ", 3)[3] for line in path.read_text().splitlines()] == WHOLE
