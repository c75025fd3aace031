"""When the backend's open transaction is committed, and what becomes durable with it.

The log makes writes durable; the backend only has to follow, so its commits are few: after COMMIT_REQUESTS applied
requests or COMMIT_BYTES of them, or COMMIT_SECONDS after the first. The commit itself runs on the loop: it hands dirty
pages to the kernel, a few microseconds each. How many requests that are depends on the keys: a commit that took longer
than it should is followed by earlier ones. The wait for the disk is in a thread; while it waits, the next transaction
collects, up to CROWDED_BYTES or CROWDED_REQUESTS: its pages are this process's memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from kvstore.invariant import invariant
from kvstore.member.disk.sync_thread import SyncThread
from kvstore.storage.backend import Backend

COMMIT_REQUESTS = 4_000
COMMIT_SECONDS = 1.0
COMMIT_BYTES = 4 << 20
# A commit should take that much of the loop's time; so many requests are always put into one.
COMMIT_CPU = 0.006
FEWEST_REQUESTS = 500
# So much beyond a commit that still waits for the disk is too much.
CROWDED_BYTES = 8 << 20
CROWDED_REQUESTS = 20_000


class Committer:
    """Commits one backend."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        backend: Backend,
        *,
        prepare: Callable[[], int],
        durable: Callable[[int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """prepare.

        Writes the applied index into the transaction and returns it. durable: told the index once it is on disk.
        """
        self._loop = loop
        self._backend = backend
        self._prepare = prepare
        self._durable = durable
        self._failed = failed
        self._thread = SyncThread(loop, "backend-sync", backend.sync, self._synced)
        self._requests = 0
        self._bytes = 0
        self._limit = COMMIT_REQUESTS
        self._index = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[Callable[[], None]] = []
        self._served: list[Callable[[], None]] = []
        self._holds = 0
        self._stopped = False
        self.sync_observer: Callable[[float], None] | None = None

    def applied(self, requests: int, size: int = 0) -> None:
        """So many requests, of `size` bytes, were applied in this slice (0 for entries that hold none)."""
        self._requests += requests or 1
        self._bytes += size
        if self._due:
            self._commit()
        elif self._timer is None:
            self._timer = self._loop.call_later(COMMIT_SECONDS, self._tick)

    @property
    def _due(self) -> bool:
        return self._requests >= self._limit or self._bytes >= COMMIT_BYTES

    @property
    def crowded(self) -> bool:
        """Whether nothing more should be applied before `durable` is told of the commit under way."""
        return self._thread.busy and (self._bytes >= CROWDED_BYTES or self._requests >= CROWDED_REQUESTS)

    def flush(self, done: Callable[[], None]) -> None:
        """Commit what is applied now; `done` on the loop when it is durable."""
        self._waiting.append(done)
        self._requests += 1
        self._commit()

    def hold(self, held: bool) -> None:
        """While anybody holds them there are no commits: the backend file is being replaced.

        Every hold(True) has its hold(False), unless the member ends; the last one commits what waits.
        """
        self._holds += 1 if held else -1
        invariant(self._holds >= 0, "commits are let go that nobody held")
        if self._waiting or self._requests:
            self._commit()

    @property
    def busy(self) -> bool:
        """A sync is under way."""
        return self._thread.busy

    def stop(self) -> None:
        """Wait for the sync under way; commits no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._thread.stop()

    def _tick(self) -> None:
        self._timer = None
        if self._requests:
            self._commit()

    def _commit(self) -> None:
        if self._thread.busy or self._holds or self._stopped:
            return  # _synced comes back to it, or hold
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._index = self._prepare()
        self._requests = self._bytes = 0
        self._served, self._waiting = self._waiting, []
        began = time.thread_time()
        try:
            self._backend.commit()
        except Exception as problem:  # a full or failing disk; the member decides
            self._failed(problem)
            return
        self._adapt(time.thread_time() - began)
        self._thread.start()

    def _adapt(self, took: float) -> None:
        if took > COMMIT_CPU:
            self._limit = max(self._limit * 2 // 3, FEWEST_REQUESTS)
        elif took < COMMIT_CPU / 2:
            self._limit = min(self._limit * 4 // 3, COMMIT_REQUESTS)

    def _synced(self, problem: BaseException | None) -> None:
        if problem is not None:
            self._failed(problem)
            return
        if self.sync_observer is not None:
            self.sync_observer(self._thread.seconds)
        for done in self._served:
            done()
        self._durable(self._index)
        if self._waiting or self._due:
            self._commit()
        elif self._requests and self._timer is None:
            self._timer = self._loop.call_later(COMMIT_SECONDS, self._tick)
