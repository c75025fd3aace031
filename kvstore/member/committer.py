"""When the backend's open transaction is committed, and what becomes durable with it.

The log makes writes durable; the backend only has to follow, so its commits are few: after COMMIT_REQUESTS applied
requests, or COMMIT_SECONDS after the first of them. The commit itself runs on the loop (a few milliseconds: it hands
dirty pages to the kernel), the wait for the disk in a thread; while it waits, the next transaction collects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kvstore.member.disk import SyncThread
from kvstore.storage.backend import Backend

COMMIT_REQUESTS = 4_000
COMMIT_SECONDS = 1.0


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
        self._index = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[Callable[[], None]] = []
        self._served: list[Callable[[], None]] = []
        self._held = False
        self.sync_observer: Callable[[float], None] | None = None

    def applied(self, requests: int) -> None:
        """So many requests were applied in this slice (0 for entries that hold none)."""
        self._requests += requests or 1
        if self._requests >= COMMIT_REQUESTS:
            self._commit()
        elif self._timer is None:
            self._timer = self._loop.call_later(COMMIT_SECONDS, self._tick)

    def flush(self, done: Callable[[], None]) -> None:
        """Commit what is applied now; `done` on the loop when it is durable."""
        self._waiting.append(done)
        self._requests += 1
        self._commit()

    def hold(self, held: bool) -> None:
        """While held nothing is committed: the backend file is being replaced."""
        self._held = held

    @property
    def busy(self) -> bool:
        """A sync is under way."""
        return self._thread.busy

    def stop(self) -> None:
        """Wait for the sync under way; commits no more."""
        self._held = True
        if self._timer is not None:
            self._timer.cancel()
        self._thread.stop()

    def _tick(self) -> None:
        self._timer = None
        if self._requests:
            self._commit()

    def _commit(self) -> None:
        if self._thread.busy or self._held:
            return  # _synced comes back to it
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._index = self._prepare()
        self._requests = 0
        self._served, self._waiting = self._waiting, []
        try:
            self._backend.commit()
        except Exception as problem:  # a full or failing disk; the member decides
            self._failed(problem)
            return
        self._thread.start()

    def _synced(self, problem: BaseException | None) -> None:
        if problem is not None:
            self._failed(problem)
            return
        if self.sync_observer is not None:
            self.sync_observer(self._thread.seconds)
        for done in self._served:
            done()
        self._durable(self._index)
        if self._waiting or self._requests >= COMMIT_REQUESTS:
            self._commit()
        elif self._requests and self._timer is None:
            self._timer = self._loop.call_later(COMMIT_SECONDS, self._tick)
