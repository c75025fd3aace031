"""`fluyt kube exec`: a command in a container, over a WebSocket with channels (v5.channel.k8s.io).

Each message's first byte is its channel: 0 stdin, 1 stdout, 2 stderr, 3 the Status at the end, 4 the terminal's size;
255 and a channel closes that one. Source: Kubernetes' remotecommand protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from enum import IntEnum
from typing import Any, Final

import aiohttp
import click

from control.cli.kube import pods
from control.cli.kube.grammar import KubeCommand
from control.cli.kube.session import Session, run
from kvstore.cli.exits import CommandError


class _Channel(IntEnum):
    """The first byte of a message."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    STATUS = 3
    RESIZE = 4
    CLOSE = 255


_PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")


@click.command(
    "exec",
    cls=KubeCommand,
    context_settings={"allow_interspersed_args": True},
    examples="""
    fluyt kube exec web-1 -- date
    fluyt kube exec -it deployment/web -- sh
    """,
)
@click.argument("word", metavar="POD | TYPE/NAME")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND [ARGS…]")
@click.option("-c", "--container", default="", help="Of the pod.  [default: the first]")
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Standard input is a terminal, and the command gets one.")
@click.option("-q", "--quiet", is_flag=True, help="Only what the command says.")
@click.pass_context
def exec_(
    ctx: click.Context, /, word: str, command: tuple[str, ...], container: str, stdin: bool, terminal: bool, quiet: bool
) -> int:
    """Run a command in a container; ends with its exit code."""
    if terminal and not sys.stdin.isatty():
        terminal = False
        if not quiet:
            click.echo("Unable to use a TTY - input is not a terminal or the right kind of file", err=True)
    return run(ctx, lambda session: _exec(session, word, command, container, stdin, terminal))


async def _exec(
    session: Session, word: str, command: tuple[str, ...], container: str, stdin: bool, terminal: bool
) -> int:
    pod = (await pods.named(session, word))[0]
    kind = await session.client.kind("pods")
    path = kind.url(pod["metadata"]["namespace"], pod["metadata"]["name"], "exec")
    query = [
        ("container", pods.container(pod, container)),
        *(("command", each) for each in command),
        ("stdin", "true" if stdin else "false"),
        ("stdout", "true"),
        ("stderr", "false" if terminal else "true"),
        ("tty", "true" if terminal else "false"),
    ]
    async with session.client.transport.websocket(path, query, _PROTOCOLS) as socket:
        with _raw(terminal):
            return await _Stream(socket, stdin, terminal).run()


@contextlib.contextmanager
def _raw(terminal: bool) -> Iterator[None]:
    """Every key goes to the command, Ctrl-C among them."""
    if not terminal:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        # Now, and without dropping what was typed already.
        tty.setraw(0, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


class _Stream:
    """One command's standard streams."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, stdin: bool, terminal: bool) -> None:
        self._socket, self._stdin, self._terminal = socket, stdin, terminal
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """The command's exit code."""
        loop = asyncio.get_running_loop()
        if self._stdin:
            self._tasks.append(asyncio.create_task(self._send_input()))
        if self._terminal:
            loop.add_signal_handler(signal.SIGWINCH, self._resized)
            self._resized()
        try:
            return await self._receive()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _receive(self) -> int:
        async for message in self._socket:
            data = message.data if isinstance(message.data, bytes) else str(message.data).encode()
            if not data:
                continue
            match data[0]:
                case _Channel.STDOUT:
                    _write(_Channel.STDOUT, data[1:])
                case _Channel.STDERR:
                    _write(_Channel.STDERR, data[1:])
                case _Channel.STATUS:
                    return _exit_code(data[1:])
        raise CommandError("the connection broke before the command's end was told", prefix="error: ")

    async def _send_input(self) -> None:
        async for data in _standard_input():
            await self._socket.send_bytes(bytes([_Channel.STDIN]) + data)
        if self._socket.protocol == _PROTOCOLS[0]:
            await self._socket.send_bytes(bytes([_Channel.CLOSE, _Channel.STDIN]))

    def _resized(self) -> None:
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(0)
            body = json.dumps({"Width": size.columns, "Height": size.lines}).encode()
            self._tasks.append(asyncio.create_task(self._socket.send_bytes(bytes([_Channel.RESIZE]) + body)))


async def _standard_input() -> AsyncIterator[bytes]:
    """What comes on it, in pieces of at most 16 KiB."""
    mode = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0)):
        # A file or /dev/null: no loop can be told when there is more of it, and reading it waits for nobody.
        while data := await asyncio.to_thread(os.read, 0, 16384):
            yield data
        return
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb", 0)
    )
    while data := await reader.read(16384):
        yield data


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _exit_code(body: bytes) -> int:
    """What the Status at the end says. Raises CommandError when the command could not be run."""
    try:
        status: dict[str, Any] = json.loads(body)
    except ValueError:
        raise CommandError(f"the command's end cannot be read: {body[:100]!r}", prefix="error: ") from None
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).isdigit():
            click.echo(f"command terminated with exit code {cause['message']}", err=True)
            return int(cause["message"])
    raise CommandError(str(status.get("message") or "the command failed"), prefix="error: ")
