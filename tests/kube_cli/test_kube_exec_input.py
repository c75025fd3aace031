"""Standard input of `fluyt kube exec -i`, whatever it is: a file, /dev/null, a pipe."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from control.cli.kube.exec import _Stream
from kvstore.cli.exits import CommandError

CONTENT = b"line\n" * 5000


class Socket:
    """A connection that breaks once the input is closed."""

    protocol = "v5.channel.k8s.io"

    def __init__(self) -> None:
        self.input, self.closed = b"", asyncio.Event()

    async def send_bytes(self, data: bytes) -> None:
        if data[0] == 255:
            self.closed.set()
        else:
            self.input += data[1:]

    def __aiter__(self) -> Socket:
        return self

    async def __anext__(self) -> Any:
        await asyncio.wait_for(self.closed.wait(), 20)
        raise StopAsyncIteration


@pytest.fixture(params=["a file", "nothing", "a pipe"])
def standard_input(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bytes]:
    """Descriptor 0 is that for the test; what is to be read from it."""
    before = os.dup(0)
    if request.param == "a pipe":
        given, into = os.pipe()
        os.write(into, CONTENT)
        os.close(into)
    else:
        (tmp_path / "input").write_bytes(CONTENT)
        given = os.open(tmp_path / "input" if request.param == "a file" else os.devnull, os.O_RDONLY)
    os.dup2(given, 0)
    os.close(given)
    yield b"" if request.param == "nothing" else CONTENT
    os.dup2(before, 0)
    os.close(before)


def test_all_of_it_is_sent_and_then_closed(standard_input: bytes) -> None:
    """A file was never sent, nor its end: the command waited for ever."""

    async def send() -> bytes:
        socket = Socket()
        with pytest.raises(CommandError, match="the connection broke"):
            await _Stream(cast(Any, socket), True, False).run()
        return socket.input

    assert asyncio.run(send()) == standard_input
