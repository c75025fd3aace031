"""Committed entries on their way into the state, in order, as many in a turn of the loop as there is time for."""

from __future__ import annotations

import time
from collections import deque

from kvstore.member.consensus.state_machine import StateMachine
from kvstore.raft.types import Entry

SLICE_SECONDS = 0.004


class Committed:
    """Entries that wait to be applied. applied: index of the last one that was."""

    def __init__(self, machine: StateMachine, applied: int) -> None:
        self._machine = machine
        self.waiting: deque[Entry] = deque()
        self.applied = applied

    def apply(self) -> None:
        """A slice of them. Hot."""
        waiting, apply, clock = self.waiting, self._machine.apply, time.perf_counter
        # Not loop.time(): uvloop's stands still during a turn.
        until = clock() + SLICE_SECONDS

        def late() -> bool:
            return clock() > until

        while waiting:
            entry = waiting[0]
            if not apply(entry, late):
                return
            waiting.popleft()
            self.applied = entry.index
            if late():
                return

    def jump(self, index: int) -> None:
        """A snapshot stands for everything up to the index."""
        self.waiting.clear()
        self.applied = index
