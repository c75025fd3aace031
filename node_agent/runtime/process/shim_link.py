"""The agent's side of the shims: start one, ask one something, hold streams through one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import node_agent
from node_agent.runtime.errors import CannotStart, NotRunning, RuntimeUnavailable
from node_agent.runtime.process.shim.frames import BadFrame, FrameReader, frame
from node_agent.runtime.refusals import RefusedStream
from node_agent.runtime.streams import Channel

_PACKAGES = str(Path(node_agent.__file__).resolve().parent.parent)
_RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {module} import main; main()"
_START_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_PIECE = 1 << 16
_WAITING = 32
_T = TypeVar("_T")


def program(module: str, *arguments: str) -> list[str]:
    """argv of one of our small programs: isolated, without site-packages, so that it starts in a few milliseconds."""
    return [sys.executable, "-I", "-S", "-c", _RUN.format(module=module), _PACKAGES, *arguments]


async def to_its_end(work: Awaitable[_T]) -> _T:
    """Who waits may be cancelled, but hears of it when the work is over: a shim, once begun, starts on by itself, and
    what it became must be known to whoever clears up.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        # Looked at, or the loop would complain that nobody did.
        _ = task.cancelled() or task.exception()
        raise asyncio.CancelledError
    return task.result()


async def start_shim(folder: Path) -> None:
    """Start the container in `folder`; returns when its program runs. Raises CannotStart."""
    out, into = os.pipe2(os.O_CLOEXEC)
    try:
        with open(folder / "shim.log", "wb") as log:
            first = await asyncio.create_subprocess_exec(
                *program("node_agent.runtime.process.shim.main", str(folder), str(into)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(into,),
                env={},
                start_new_session=True,
            )
    except BaseException:
        os.close(out)
        raise
    finally:
        os.close(into)
    said = await _said(out)
    await first.wait()
    if said != "ok":
        raise CannotStart(said or f"the container's shim ended: {_tail(folder / 'shim.log')}")


async def _said(descriptor: int) -> str:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    file = os.fdopen(descriptor, "rb")
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    try:
        async with asyncio.timeout(_START_SECONDS):
            return (await reader.read(-1)).decode("utf-8", "replace")
    except TimeoutError:
        return f"the container did not start within {_START_SECONDS:g} s"
    finally:
        transport.close()


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError):
        lines = path.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "without a word"
    return "without a word"


class ShimLink:
    """One connection to a shim. Raises NotRunning when there is none, RuntimeUnavailable when it breaks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()
        self._ready: list[tuple[bytes, bytes]] = []

    @classmethod
    async def open(cls, folder: Path) -> ShimLink:
        """Through a descriptor of the folder: socket addresses are short, paths may be long."""
        try:
            descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as problem:
            raise NotRunning(f"container {folder.name[:12]} is gone") from problem
        except OSError as problem:
            raise _unreachable(folder, problem) from problem
        try:
            reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/shim.sock")
        except (FileNotFoundError, ConnectionRefusedError) as problem:
            raise NotRunning(f"container {folder.name[:12]} does not run") from problem
        except OSError as problem:
            raise _unreachable(folder, problem) from problem
        finally:
            os.close(descriptor)
        return cls(reader, writer)

    async def receive(self) -> tuple[bytes, bytes] | None:
        """The next frame; None: the shim has closed."""
        while not self._ready:
            try:
                data = await self._reader.read(_PIECE)
                self._ready = self._frames.feed(data)[::-1]
            except (OSError, BadFrame) as problem:
                raise RuntimeUnavailable(f"the connection to a container's shim broke: {problem}") from problem
            if not data:
                return None
        return self._ready.pop()

    async def send(self, kind: bytes, body: bytes = b"") -> None:
        try:
            self._writer.write(frame(kind, body))
            await self._writer.drain()
        except OSError as problem:
            raise NotRunning("the container has ended") from problem

    async def ask(self, kind: bytes, request: dict[str, Any] | None = None) -> tuple[bytes, str]:
        """Send a request: (`O`, `F` or `X`; what was said). Raises NotRunning, RuntimeUnavailable."""
        await self.send(kind, json.dumps(request).encode() if request is not None else b"")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await self.receive()
        except TimeoutError as problem:
            raise RuntimeUnavailable(f"a container's shim did not answer within {_ANSWER_SECONDS:g} s") from problem
        if answer is None:
            raise NotRunning("the container has ended")
        return answer[0], answer[1].decode("utf-8", "replace")

    def close(self) -> None:
        self._writer.close()


def _unreachable(folder: Path, problem: OSError) -> RuntimeUnavailable:
    """Nothing is known of the container: the agent may be short of descriptors, or the shim of room for callers."""
    return RuntimeUnavailable(f"the shim of container {folder.name[:12]}: {problem.strerror or problem}")


async def tell(folder: Path, kind: bytes, request: dict[str, Any] | None = None) -> None:
    """One request, one answer. Raises NotRunning, RuntimeUnavailable."""
    link = await ShimLink.open(folder)
    try:
        kind, said = await link.ask(kind, request)
    finally:
        link.close()
    if kind == b"F":
        raise RuntimeUnavailable(said)


async def kill(folder: Path) -> None:
    """Kill the program, and wait until its shim has written that down: then the folder can go. Not there is fine.

    Raises RuntimeUnavailable.
    """
    with contextlib.suppress(NotRunning):
        watching = await ShimLink.open(folder)
        try:
            await watching.ask(b"W")
            await tell(folder, b"K", {"signal": int(signal.SIGKILL)})
            async with asyncio.timeout(_ANSWER_SECONDS):
                await watching.receive()
        except TimeoutError as problem:
            raise RuntimeUnavailable(f"{folder} does not end although it was killed") from problem
        finally:
            watching.close()


class ShimStream:
    """Streams of a program behind a shim; see streams.ProcessStream."""

    def __init__(self, link: ShimLink) -> None:
        self._link = link
        self._out: asyncio.Queue[tuple[Channel, bytes] | None] = asyncio.Queue(_WAITING)
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._code.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._pump = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while (message := await self._link.receive()) is not None:
                kind, body = message
                if kind == b"X":
                    self._set_code(int(json.loads(body)["code"]))
                    break
                if kind in (b"1", b"2"):
                    await self._out.put((Channel.STDOUT if kind == b"1" else Channel.STDERR, body))
        except RuntimeUnavailable:
            pass
        if not self._code.done():
            self._code.set_exception(RuntimeUnavailable("the container ended before its exit code was known"))
        await self._out.put(None)

    def _set_code(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)

    async def read(self) -> tuple[Channel, bytes] | None:
        item = await self._out.get()
        if item is None:
            self._out.put_nowait(None)
        return item

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(NotRunning):
            for start in range(0, len(data), _PIECE):
                await self._link.send(b"I", data[start : start + _PIECE])

    async def close_stdin(self) -> None:
        with contextlib.suppress(NotRunning):
            await self._link.send(b"C")

    async def resize(self, columns: int, rows: int) -> None:
        with contextlib.suppress(NotRunning):
            await self._link.send(b"R", json.dumps({"columns": columns, "rows": rows}).encode())

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    async def close(self) -> None:
        self._pump.cancel()
        self._link.close()
        if not self._code.done():
            self._code.cancel()


async def open_exec(folder: Path, command: Sequence[str], *, tty: bool, stdin: bool) -> ShimStream | RefusedStream:
    """Raises NotRunning, RuntimeUnavailable."""
    link = await ShimLink.open(folder)
    try:
        kind, said = await link.ask(b"E", {"argv": list(command), "tty": tty, "stdin": stdin})
    except BaseException:
        link.close()
        raise
    if kind == b"O":
        return ShimStream(link)
    link.close()
    if kind == b"X":
        raise NotRunning(f"container {folder.name[:12]} has ended")
    return RefusedStream(said)


async def open_attach(folder: Path, *, stdin: bool) -> ShimStream:
    """Raises NotRunning, RuntimeUnavailable."""
    link = await ShimLink.open(folder)
    try:
        kind, _ = await link.ask(b"A", {"stdin": stdin})
    except BaseException:
        link.close()
        raise
    if kind != b"O":
        link.close()
        raise NotRunning(f"container {folder.name[:12]} has ended")
    return ShimStream(link)
