"""Busy polling: the loop does not fall asleep while an answer is due within microseconds.

A linearizable read waits for one message from a follower, some 200 µs on one machine or in one rack; so does a put
that is alone, once the leader's own disk has it; and who reads one thing after the other asks again as soon. Falling
asleep and being woken takes up to 100 µs of that: a core of a virtual machine stops, starts by an interrupt and finds
its caches cold. So the loop asks for events without waiting, for a bounded time, and only where such waits lately
ended within it: where the quorum is farther away, or requests come now and then, it sleeps as ever. It is the bargain
of Linux' own busy_poll for sockets (socket(7)) and of its haltpoll for virtual machines.
Nothing else is held up: every turn handles whatever has come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

POLL_SECONDS = 0.0004
# A round weighs so much in what they took lately.
_WEIGHT = 0.125
# And counts for no more than so many times what is waited awake.
_LONGEST = 16


class BusyPoll:
    """For one kind of wait of one loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, waits: Callable[[], bool], seconds: float | None = None
    ) -> None:
        """waits: whether what is waited for is still to come. seconds: how long at most, if not POLL_SECONDS."""
        self._loop = loop
        self._waits = waits
        self._seconds = POLL_SECONDS if seconds is None else seconds
        self._began = 0.0
        self._polling = False
        self._pending = False
        self.lately = 0.0  # seconds that a wait took, averaged

    def begin(self) -> None:
        """A wait begins."""
        self._began = time.perf_counter()
        self._pending = True
        if not self._polling and self.lately < self._seconds:
            self._polling = True
            self._loop.call_soon(self._poll)

    def ended(self) -> None:
        """The answer has come, if one was waited for."""
        if not self._pending:
            return
        self._pending = False
        # Cut short, so that one that took for ever is forgotten after some that did not.
        took = min(time.perf_counter() - self._began, _LONGEST * self._seconds)
        self.lately += (took - self.lately) * _WEIGHT

    def _poll(self) -> None:
        self._polling = self._waits() and time.perf_counter() - self._began < self._seconds
        if self._polling:
            self._loop.call_soon(self._poll)
