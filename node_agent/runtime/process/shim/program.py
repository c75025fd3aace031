"""A child of the shim: the container's own program, or one that was exec'd into it. Its pipes or terminal, its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct
import termios
from collections.abc import Callable
from functools import partial

from node_agent.runtime.process.shim import terminal as terminals
from node_agent.runtime.process.shim.poller import Poller

_READ = 65536
_PIPE = 1 << 20  # the most that waits in a pipe
_MAX_STDIN = 1 << 18
_DRAIN_SECONDS = 1.0
STDOUT, STDERR = "stdout", "stderr"
# What the child gets: the descriptors of its three streams, or the socket on which it sends its terminal.
Ends = tuple[int, int, int] | socket.socket


class StartError(Exception):
    """The program did not get as far as running."""


class Program:
    """`on_output(stream, data)`; `on_end(exit code)` after the last output. `code` is None while it runs."""

    def __init__(self, poller: Poller, *, terminal: bool, stdin: bool) -> None:
        self._poller = poller
        self.terminal = terminal
        self._wants_stdin = stdin
        self.pid = 0
        self.code: int | None = None
        self._outputs: dict[int, str] = {}
        self._stdin = -1
        self._stdin_waiting = bytearray()
        self._stdin_ends = False
        self._ended = False
        self._paused = False
        self.on_output: Callable[[str, bytes], None] = lambda stream, data: None
        self.on_end: Callable[[int], None] = lambda code: None
        self.on_stdin_room: Callable[[], None] = lambda: None

    def start(self, child: Callable[[Ends], None]) -> None:
        """Fork; `child(ends)` must not return but exec. Returns when it has. Raises StartError."""
        if self.terminal:
            self._start_with_terminal(child)
            return
        ours, theirs = self._pipes()
        try:
            self._fork(child, theirs)
        except StartError:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in set(theirs):
                os.close(descriptor)

    def _start_with_terminal(self, child: Callable[[Ends], None]) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._fork(child, theirs)
            theirs.close()
            master = _received(ours)
        self._stdin = os.dup(master)
        self._outputs = {master: STDOUT}

    def _fork(self, child: Callable[[Ends], None], theirs: Ends) -> None:
        problem_out, problem_in = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            _run_child(child, theirs, problem_in)
        os.close(problem_in)
        problem = _read_all(problem_out)
        if problem:
            os.waitpid(self.pid, 0)
            raise StartError(problem.decode("utf-8", "replace"))

    def _pipes(self) -> tuple[list[int], tuple[int, int, int]]:
        theirs_in, self._stdin = os.pipe() if self._wants_stdin else (os.open("/dev/null", os.O_RDONLY), -1)
        out, theirs_out = os.pipe()
        err, theirs_err = os.pipe()
        self._outputs = {out: STDOUT, err: STDERR}
        ours = [out, err] + ([self._stdin] if self._stdin >= 0 else [])
        return ours, (theirs_in, theirs_out, theirs_err)

    def watch(self) -> None:
        """Begin to read what it says."""
        for descriptor in (*self._outputs, self._stdin):
            if descriptor >= 0:
                os.set_blocking(descriptor, False)
        self.pause(False)

    def pause(self, paused: bool) -> None:
        """Leave its output in the pipe; it will have to wait."""
        self._paused = paused
        for descriptor in self._outputs:
            self._poller.on_readable(descriptor, None if paused else partial(self._read, descriptor))

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal whose last user left answers EIO
        if data:
            self.on_output(self._outputs[descriptor], data)
            return
        self._close_output(descriptor)
        self._finish_if_silent()

    def _close_output(self, descriptor: int) -> None:
        self._poller.forget(descriptor)
        os.close(descriptor)
        del self._outputs[descriptor]

    def write(self, data: bytes) -> bool:
        """Queue for its stdin; False: leave it there until `on_stdin_room`."""
        if self._stdin >= 0 and not self._stdin_ends:
            self._stdin_waiting += data
            self._write_stdin()
        return len(self._stdin_waiting) < _MAX_STDIN

    def close_stdin(self) -> None:
        if self.terminal:
            self.write(b"\x04")
        else:
            self._stdin_ends = True
            self._write_stdin()

    def _write_stdin(self) -> None:
        if self._stdin < 0:
            return
        was_full = len(self._stdin_waiting) >= _MAX_STDIN
        try:
            while self._stdin_waiting:
                del self._stdin_waiting[: os.write(self._stdin, self._stdin_waiting[:_READ])]
        except BlockingIOError:
            pass
        except OSError:
            self._drop_stdin()
            return
        if not self._stdin_waiting and self._stdin_ends:
            self._drop_stdin()
            return
        self._poller.on_writable(self._stdin, self._write_stdin if self._stdin_waiting else None)
        if was_full and len(self._stdin_waiting) < _MAX_STDIN:
            self.on_stdin_room()

    def _drop_stdin(self) -> None:
        self._stdin_waiting.clear()
        if self._stdin >= 0:
            self._poller.forget(self._stdin)
            os.close(self._stdin)
            self._stdin = -1
        self.on_stdin_room()

    def resize(self, columns: int, rows: int) -> None:
        if self.terminal and self._stdin >= 0:
            size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
            fcntl.ioctl(self._stdin, termios.TIOCSWINSZ, size)

    def signal(self, number: int) -> None:
        if self.code is None:
            os.kill(self.pid, number)

    def kill_all(self) -> None:
        """It and its process group; no harm when they are gone."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    def reaped(self, wait_status: int) -> None:
        """It has ended; its output may go on for a moment, or be held open by what it left behind."""
        code = os.waitstatus_to_exitcode(wait_status)
        self.code = 128 - code if code < 0 else code
        self._poller.after(_DRAIN_SECONDS, self._last_look)
        self._finish_if_silent()

    def _last_look(self) -> None:
        """Its time for last words is over, unless we have not listened: paused, or kept from running ourselves."""
        if self._paused and not self._ended:
            self._poller.after(_DRAIN_SECONDS, self._last_look)
            return
        for descriptor in list(self._outputs):
            with contextlib.suppress(OSError):
                if data := os.read(descriptor, _PIPE):
                    self.on_output(self._outputs[descriptor], data)
        self._finish()

    def _finish_if_silent(self) -> None:
        if not self._outputs and self.code is not None:
            self._finish()

    def _finish(self) -> None:
        if self._ended:
            return
        self._ended = True
        for descriptor in list(self._outputs):
            self._close_output(descriptor)
        self._drop_stdin()
        assert self.code is not None
        self.on_end(self.code)


def _received(link: socket.socket) -> int:
    try:
        return terminals.receive(link)
    except OSError as problem:
        raise StartError(_in_words(problem)) from problem


def _run_child(child: Callable[[Ends], None], ends: Ends, problem: int) -> None:
    try:
        signal.set_wakeup_fd(-1)
        child(ends)
    except BaseException as refusal:  # whatever it is: this process must not go on as a second shim
        os.write(problem, _in_words(refusal).encode("utf-8", "replace")[:4096])
    os._exit(127)


def _in_words(refusal: BaseException) -> str:
    if isinstance(refusal, OSError) and refusal.errno is not None:
        text = refusal.strerror or str(refusal)
        return f"{refusal.filename}: {text}" if refusal.filename else text
    return str(refusal) or type(refusal).__name__


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()
