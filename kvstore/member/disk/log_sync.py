"""How what was appended to the log becomes durable: on the loop, by the kernel, or in a thread.

Waiting on the loop is the quickest way to one answer (no wake-up in between), and right where there is nothing else to
do meanwhile. A leader with several requests under way has: to read them, to answer others. So the kernel syncs for it,
and for everybody where the wait may be long. A thread does what is more than one fdatasync: a new segment's name,
removals, the next segment's space.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from kvstore.member.disk.aio_sync import AioSync
from kvstore.member.disk.kernel_sync import KernelSync
from kvstore.member.disk.ring_sync import RingSync
from kvstore.member.disk.sync_thread import SyncThread
from kvstore.storage.errors import StorageError
from kvstore.storage.log import Log

# A sync of little data, on a disk that has been this quick lately, may be waited for on the loop.
QUICK_BYTES = 64 * 1024
QUICK_SECONDS = 0.001


class LogSync:
    """One sync of the log at a time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wal: Log,
        *,
        durable: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """durable: what had been appended at the start is on the disk. failed: the disk refused; never tried again."""
        self._wal = wal
        self._durable = durable
        self._failed = failed
        self._thread = SyncThread(loop, "log-sync", wal.sync, self._thread_done)
        done = self._kernel_done
        self._kernel: KernelSync | None = RingSync.open(loop, done) or AioSync.open(loop, done)
        self._began = 0.0
        # A disk that stalled once is not waited for on the loop again before it has been quick for a while.
        self._lately = QUICK_SECONDS
        # It waits for here().
        self.due = False
        self.observer: Callable[[float], None] | None = None

    def start(self, size: int, busy: bool) -> None:
        """Begin with what was appended, so many octets; or set `due`, if here() is to wait for it.

        busy: this member has something to do while the disk works.
        """
        quick = size <= QUICK_BYTES and self._lately < QUICK_SECONDS
        if quick and not busy:
            self.due = True
        elif not self._ask_kernel():
            if quick:
                self.due = True
            else:
                self._thread.start()

    def _ask_kernel(self) -> bool:
        if self._kernel is None:
            return False
        descriptor = self._wal.begin_sync()
        if descriptor is None:
            return False
        self._began = time.perf_counter()
        return self._kernel.start(descriptor)

    def here(self) -> None:
        """Wait for the disk now, if that is due."""
        if not self.due:
            return
        # Before the sync: one that has failed is never tried again, the second try could claim what is not so.
        self.due = False
        began = time.perf_counter()
        try:
            self._wal.sync()
        except StorageError as problem:
            self._failed(problem)
            return
        self._ended(time.perf_counter() - began)

    def _kernel_done(self, problem: OSError | None) -> None:
        try:
            self._wal.end_sync(problem)
        except StorageError as refused:
            self._failed(refused)
            return
        self._ended(time.perf_counter() - self._began)

    def _thread_done(self, problem: BaseException | None) -> None:
        if problem is not None:
            self._failed(problem)
        else:
            self._ended(self._thread.seconds)

    def _ended(self, seconds: float) -> None:
        self._lately = max(seconds, self._lately * 0.98)
        self._durable()  # first: others wait for what that has to say
        if self.observer is not None:
            self.observer(seconds)

    def stop(self) -> None:
        """Wait for the one under way. That the kernel has ended one well is not told any more.

        That it has not, the log must know: it would sync again when it is closed, and say that all of it is durable.
        """
        self._thread.stop()
        if self._kernel is not None:
            kernel, self._kernel = self._kernel, None
            problem = kernel.close()
            if problem is not None:
                self._kernel_done(problem)
