"""`fluyt` on a terminal of its own, for what it reads from its user and how Ctrl-C ends that."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.binaries import find
from harness.cluster import Cluster
from harness.process import clean_environment
from harness.wait import wait_until


class TypingProcess:
    """A session of its own, whose controlling terminal is ours to type on; killed with the block."""

    def __init__(self, store: Cluster, *words: str) -> None:
        program = find("fluyt")
        assert program is not None
        self._ours, self._theirs = os.openpty()
        self.shown = b""
        self._process = subprocess.Popen(
            ["setsid", "--ctty", program, f"--endpoints={store.endpoints[0]}", *words],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env=clean_environment(),
        )

    def type(self, data: bytes) -> None:
        """Press these keys."""
        os.write(self._ours, data)

    def press_ctrl_c(self) -> None:
        """Once the process waits for more: a read that is only about to begin misses a signal, as every read does."""
        rested: list[str] = []

        def rests() -> bool:
            nonlocal rested
            before, rested = rested, self._switches()
            return rested == before

        wait_until(rests, "the process to wait", interval=0.1)
        self.type(b"\x03")

    def _switches(self) -> list[str]:
        """How often the process was off and on again: it stays the same in one long wait."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return [line for line in status.splitlines() if line.startswith(("State:\tR", "voluntary", "nonvoluntary"))]

    def type_line(self, text: str) -> None:
        """Type it, and wait until it has been read."""
        self.type(text.encode() + b"\n")
        self.wait_shown(text.encode() + b"\r\n")
        wait_until(lambda: fcntl.ioctl(self._theirs, termios.FIONREAD, bytes(4)) == struct.pack("i", 0), "the read")

    def wait_shown(self, text: bytes, timeout: float = 20.0) -> None:
        """Until the text is on the screen."""
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            ready, _, _ = select.select([self._ours], [], [], deadline - time.monotonic())
            assert ready, self.shown
            self.shown += os.read(self._ours, 4096)

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown."""
        return bool(termios.tcgetattr(self._theirs)[3] & termios.ECHO)

    def wait(self, timeout: float = 10.0) -> int:
        """The exit code."""
        return self._process.wait(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)
