"""Drives the watch hub from the event loop: deliveries once a loop turn, history in slices between other work.

The first events of a turn, if few watchers want them, leave where they are made: on a store that is not busy they are
all that is waited for, and before the next turn come the answers to those who wrote, and the rest of applying.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.mvcc.watch import WatchHub

# Events of history read at a time: a few milliseconds.
SLICE = 1000
# Watchers that are served at once: each of them is a system call, for which answers wait.
AT_ONCE = 4


class WatchPump:
    """Calls flush and catch_up when the hub has work, and lets the loop breathe in between."""

    def __init__(self, hub: WatchHub, call_soon: Callable[[Callable[[], None]], Any], slice: int = SLICE) -> None:
        """call_soon: the loop's. Takes over hub.wake."""
        self._hub = hub
        self._call_soon = call_soon
        self._slice = slice
        self._scheduled = False
        hub.wake = self.wake

    def wake(self) -> None:
        """Run in the next turn of the loop, and serve a few watchers now."""
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._run)
            self._hub.hurry(AT_ONCE)

    def _run(self) -> None:
        self._scheduled = False
        self._hub.flush()
        if self._hub.catch_up(self._slice):
            self.wake()
