"""A thread that waits for the disk, so that the loop does not.

fdatasync frees the GIL; while it runs, the loop goes on collecting requests, and all that were written meanwhile are
covered by the next one: that is the group commit.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue


class SyncThread:
    """Runs one blocking call at a time and reports its end on the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        work: Callable[[], object],
        done: Callable[[BaseException | None], None],
    ) -> None:
        self._loop = loop
        self._work = work
        self._done = done
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self.busy = False
        self.seconds = 0.0  # how long the last call took
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Begin one call; `done` is called on the loop when it has ended. Not while one is under way."""
        self.busy = True
        self._orders.put(True)

    def stop(self) -> None:
        """End the thread after the call under way, and wait for it."""
        self._orders.put(False)
        self._thread.join()

    def _run(self) -> None:
        while self._orders.get():
            problem: BaseException | None = None
            began = time.perf_counter()
            try:
                self._work()
            except BaseException as e:  # handed to the loop, which decides; a sync that failed is fatal
                problem = e
            self.seconds = time.perf_counter() - began
            try:
                self._loop.call_soon_threadsafe(self._finished, problem)
            except RuntimeError:
                return  # the loop is closed: the member is gone

    def _finished(self, problem: BaseException | None) -> None:
        self.busy = False
        self._done(problem)
