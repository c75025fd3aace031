"""fdatasync that nobody waits for: the kernel does it, and says on the loop when it has.

Linux takes the order with io_submit(2) (IOCB_CMD_FDSYNC) and counts up an eventfd at its end. To hand the wait to a
thread of ours costs two changes of threads and a fight for the GIL; this costs one system call, and a wake-up that a
busy loop has anyway. Errors are those of fdatasync(2) of the same descriptor.
Faults assumed: the kernel has no such calls, a sandbox refuses them, or all their slots are taken (fs.aio-max-nr): then
there is none of these, and a thread does the work. Source: io_submit(2), include/uapi/linux/aio_abi.h.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

FDSYNC = 3  # IOCB_CMD_FDSYNC
TELL_EVENTFD = 1  # IOCB_FLAG_RESFD


class Numbers(NamedTuple):
    """The system calls' numbers on one kind of machine."""

    setup: int
    destroy: int
    getevents: int
    submit: int


NUMBERS = {
    "x86_64": Numbers(setup=206, destroy=207, getevents=208, submit=209),
    "aarch64": Numbers(setup=0, destroy=1, getevents=4, submit=2),
    "riscv64": Numbers(setup=0, destroy=1, getevents=4, submit=2),
}


class _Order(ctypes.Structure):
    """struct iocb of a little-endian machine."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("fd", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("eventfd", ctypes.c_uint32),
    )


class _Result(ctypes.Structure):
    """struct io_event."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("order", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("more", ctypes.c_int64),
    )


class KernelSync:
    """One fdatasync at a time. Use open()."""

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Callable[[OSError | None], None]) -> None:
        self._numbers = NUMBERS[platform.machine()]
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        self._call(self._numbers.setup, 1, ctypes.byref(self._context))
        try:
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError:
            self._call(self._numbers.destroy, self._context)
            raise
        self._order = _Order(opcode=FDSYNC, flags=TELL_EVENTFD, eventfd=self._event)
        self._orders = (ctypes.POINTER(_Order) * 1)(ctypes.pointer(self._order))
        self._result = _Result()
        self._loop = loop
        self._done = done
        self.busy = False
        loop.add_reader(self._event, self._told)

    @classmethod
    def open(cls, loop: asyncio.AbstractEventLoop, done: Callable[[OSError | None], None]) -> KernelSync | None:
        """done: called on the loop when one has ended. None where there is no such thing."""
        if sys.platform != "linux" or sys.byteorder != "little" or platform.machine() not in NUMBERS:
            return None
        try:
            return cls(loop, done)
        except OSError:
            return None

    def _call(self, *arguments: Any) -> int:
        result: int = self._syscall(*arguments)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def start(self, fd: int) -> bool:
        """Begin; not while one is under way. False, and nothing begun, if the kernel does not take it."""
        self._order.fd = fd
        try:
            self._call(self._numbers.submit, self._context, 1, self._orders)
        except OSError:
            return False
        self.busy = True
        return True

    def _told(self) -> None:
        os.eventfd_read(self._event)
        if self.busy:
            self._done(self._take(0))

    def _take(self, least: int) -> OSError | None:
        """How it ended. least: 1 waits for the end."""
        while self.busy:
            try:
                found = self._call(self._numbers.getevents, self._context, least, 1, ctypes.byref(self._result), None)
            except OSError as problem:
                if problem.errno != errno.EINTR:
                    raise
                continue
            self.busy = not found
        code = -self._result.result
        return OSError(code, os.strerror(code)) if code else None

    def close(self) -> OSError | None:
        """Wait for the one under way, and let go of everything. How that one ended, which is not told otherwise."""
        self._loop.remove_reader(self._event)
        problem = self._take(1) if self.busy else None
        self._call(self._numbers.destroy, self._context)
        os.close(self._event)
        return problem
