"""The kernel's fdatasync by io_uring: one entry in the ring of orders, one in the ring of results.

Its work is done by a thread that the scheduler puts on whatever core is free. io_submit's interrupts the leader on its
own core instead, for a sixth of its time at 32 puts in flight; and a process that is killed waits 30 ms for io_submit's
context before its sockets are closed (docs/design/0026).
Source: io_uring_setup(2), io_uring_enter(2), include/uapi/linux/io_uring.h. The rings are little-endian memory that we
share with the kernel; the system calls that follow our writes, and precede our reads, are the barriers.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct

from kvstore.member.disk.kernel_sync import KernelSync

# System calls, the same on every kind of machine that is known here.
SETUP, ENTER, REGISTER = 425, 426, 427
_REGISTER_EVENTFD = 4
_GETEVENTS = 1
_SINGLE_MMAP = 1  # both rings are in one mapping: since Linux 5.4
_ENTRIES_AT = 0x10000000  # offset of the orders in the descriptor

# struct io_uring_params: sizes of the rings, flags and features; then offsets in either ring.
_PARAMS_BYTES = 120
_SIZES = struct.Struct("<6I")  # orders, results, flags, thread's core, thread's idleness, features
_OFFSETS = struct.Struct("<8I")
_ORDERS_AT, _RESULTS_AT = 40, 80
_WORD = struct.Struct("<I")
# struct io_uring_sqe: opcode, flags, priority, fd, offset, address, length, fsync flags.
_ORDER = struct.Struct("<BBHiQQII")
_ORDER_BYTES = 64
_FSYNC, _DATASYNC = 3, 1
# struct io_uring_cqe: whose, result.
_RESULT = struct.Struct("<Qi")
_RESULT_BYTES = 16


class RingSync(KernelSync):
    """One fdatasync at a time. Use open()."""

    def _set_up(self) -> None:
        params = ctypes.create_string_buffer(_PARAMS_BYTES)
        self._ring = self._call(SETUP, 1, params)
        try:
            self._map(params.raw)
            event = ctypes.c_int(self._event)
            self._call(REGISTER, self._ring, _REGISTER_EVENTFD, ctypes.byref(event), 1)
        except (OSError, ValueError) as problem:
            os.close(self._ring)
            raise OSError(errno.ENOSYS, f"no usable io_uring: {problem}") from problem

    def _map(self, params: bytes) -> None:
        orders, results, *_, features = _SIZES.unpack_from(params)
        if not features & _SINGLE_MMAP:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        # Offsets: head, tail, mask, …; then where the ring's own entries are.
        _, self._orders_tail, _, _, _, _, numbers, _ = _OFFSETS.unpack_from(params, _ORDERS_AT)
        self._results_head, self._results_tail, mask, _, _, self._results, _, _ = _OFFSETS.unpack_from(
            params, _RESULTS_AT
        )
        size = max(numbers + orders * _WORD.size, self._results + results * _RESULT_BYTES)
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._rings = mmap.mmap(self._ring, size, flags)
        self._entries = mmap.mmap(self._ring, orders * _ORDER_BYTES, flags, offset=_ENTRIES_AT)
        self._mask = self._word(mask)
        self._given = self._word(self._orders_tail)
        self._taken = self._word(self._results_head)

    def _word(self, at: int) -> int:
        word: int = _WORD.unpack_from(self._rings, at)[0]
        return word

    def _order(self, fd: int) -> bool:
        # The ring has one place, number 0, and its list of places says so from the beginning.
        _ORDER.pack_into(self._entries, 0, _FSYNC, 0, 0, fd, 0, 0, 0, _DATASYNC)
        following = self._given + 1 & 0xFFFFFFFF
        _WORD.pack_into(self._rings, self._orders_tail, following)
        try:
            taken = self._call(ENTER, self._ring, 1, 0, 0, None, 0)
        except OSError:
            taken = 0
        if not taken:
            _WORD.pack_into(self._rings, self._orders_tail, self._given)
            return False
        self._given = following
        return True

    def _ended(self, wait: bool) -> int | None:
        while self._word(self._results_tail) == self._taken:
            if not wait:
                return None
            try:
                self._call(ENTER, self._ring, 0, 1, _GETEVENTS, None, 0)
            except OSError as problem:
                if problem.errno != errno.EINTR:
                    raise
        at = self._results + (self._taken & self._mask) * _RESULT_BYTES
        result: int = _RESULT.unpack_from(self._rings, at)[1]
        self._taken = self._taken + 1 & 0xFFFFFFFF
        _WORD.pack_into(self._rings, self._results_head, self._taken)
        return result

    def _let_go(self) -> None:
        self._rings.close()
        self._entries.close()
        os.close(self._ring)
