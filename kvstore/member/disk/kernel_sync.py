"""fdatasync that nobody waits for: the kernel does it, and says on the loop when it has.

To hand the wait to a thread of ours costs two changes of threads and a fight for the GIL; this costs one system call,
and a wake-up that a busy loop has anyway. Errors are those of fdatasync(2) of the same descriptor.
Linux has two ways to take such an order, io_uring (ring_sync.py) and io_submit (aio_sync.py); either counts up an
eventfd at its end.
Faults assumed: the kernel has no such calls, a sandbox refuses them, or all their slots are taken: then there is none
of these, and a thread does the work.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, Self

# Kinds of machines whose system calls have numbers and layouts that are known here.
MACHINES = ("x86_64", "aarch64", "riscv64")


class KernelSync:
    """One fdatasync at a time. Use open()."""

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Callable[[OSError | None], None]) -> None:
        """Raises OSError where the kernel has no such thing."""
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._set_up()
        except OSError:
            os.close(self._event)
            raise
        self._loop = loop
        self._done = done
        self.busy = False
        loop.add_reader(self._event, self._told)

    @classmethod
    def open(cls, loop: asyncio.AbstractEventLoop, done: Callable[[OSError | None], None]) -> Self | None:
        """done: called on the loop when one has ended. None where there is no such thing."""
        if sys.platform != "linux" or sys.byteorder != "little" or platform.machine() not in MACHINES:
            return None
        try:
            return cls(loop, done)
        except OSError:
            return None

    def _call(self, *arguments: Any) -> int:
        """syscall(2). Raises OSError."""
        result: int = self._syscall(*arguments)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def _set_up(self) -> None:
        """Get from the kernel what the orders need. OSError."""
        raise NotImplementedError

    def _order(self, fd: int) -> bool:
        """Give the order; False if the kernel does not take it."""
        raise NotImplementedError

    def _ended(self, wait: bool) -> int | None:
        """0 or a negative error number, as the one under way has ended; None if it has not, unless it is waited for."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """Give back what _set_up got."""
        raise NotImplementedError

    def start(self, fd: int) -> bool:
        """Begin; not while one is under way. False, and nothing begun, if the kernel does not take it."""
        self.busy = self._order(fd)
        return self.busy

    def _told(self) -> None:
        os.eventfd_read(self._event)
        if self.busy:
            result = self._ended(wait=False)
            if result is not None:
                self.busy = False
                self._done(_problem(result))

    def close(self) -> OSError | None:
        """Wait for the one under way, and let go of everything. How that one ended, which is not told otherwise."""
        self._loop.remove_reader(self._event)
        result = self._ended(wait=True) if self.busy else None
        self.busy = False
        self._let_go()
        os.close(self._event)
        return _problem(result or 0)


def _problem(result: int) -> OSError | None:
    return OSError(-result, os.strerror(-result)) if result < 0 else None
