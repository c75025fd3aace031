"""The kernel's fdatasync by io_submit(2) with IOCB_CMD_FDSYNC: where a sandbox refuses io_uring, as containers' do.

Its work is done by a kernel thread that stays on the core of who gave the order, and interrupts it there.
Source: io_submit(2), include/uapi/linux/aio_abi.h.
"""

from __future__ import annotations

import ctypes
import errno
import platform
from typing import NamedTuple

from kvstore.member.disk.kernel_sync import KernelSync

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


class AioSync(KernelSync):
    """One fdatasync at a time. Use open()."""

    def _set_up(self) -> None:
        self._numbers = NUMBERS[platform.machine()]
        self._context = ctypes.c_ulong(0)
        self._call(self._numbers.setup, 1, ctypes.byref(self._context))
        self._one = _Order(opcode=FDSYNC, flags=TELL_EVENTFD, eventfd=self._event)
        self._orders = (ctypes.POINTER(_Order) * 1)(ctypes.pointer(self._one))
        self._result = _Result()

    def _order(self, fd: int) -> bool:
        self._one.fd = fd
        try:
            self._call(self._numbers.submit, self._context, 1, self._orders)
        except OSError:
            return False
        return True

    def _ended(self, wait: bool) -> int | None:
        least = int(wait)
        while True:
            try:
                found = self._call(self._numbers.getevents, self._context, least, 1, ctypes.byref(self._result), None)
            except OSError as problem:
                if problem.errno != errno.EINTR:
                    raise
                continue
            if found:
                return int(self._result.result)
            if not wait:
                return None

    def _let_go(self) -> None:
        self._call(self._numbers.destroy, self._context)
