"""Drives the watch hub from the event loop: deliveries once a loop turn, history in slices between other work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.mvcc.watch import WatchHub

# Events of history read at a time: a few milliseconds.
SLICE = 1000


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
        """Run in the next turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        self._hub.flush()
        if self._hub.catch_up(self._slice):
            self.wake()
