"""How much of the log is kept once the backend holds its effects.

The log below the backend's durable position is only for followers that lag; those further behind get a snapshot. So
the log is cut by size, not by count: an entry here is a batch of anything from one to a thousand requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from kvstore.failpoints import armed, hit
from kvstore.invariant import invariant
from kvstore.member.apply.state import State
from kvstore.raft.types import SnapshotMeta
from kvstore.storage.errors import NoSpace, StorageError
from kvstore.storage.log import Log

log = logging.getLogger(__name__)

KEEP_ENTRIES = 5_000
KEEP_BYTES = 128 * 1024 * 1024


class Retention:
    """Cuts one member's log."""

    def __init__(self, wal: Log, state: State, trigger: int, failed: Callable[[StorageError], None]) -> None:
        """trigger: entries that pile up before the log is cut (--snapshot-count). failed: the disk refused."""
        self._log = wal
        self._failed = failed
        self._trigger = trigger
        self._state = state
        self._marked = 0
        self._durable: SnapshotMeta | None = None

    def durable(self, index: int) -> None:
        """The backend holds everything up to `index` on disk: the log may be cut below it."""
        wal, position = self._log, self._state.saved_position
        invariant(position.index == index, "what became durable is what was saved last")
        self._durable = position
        if index <= self._marked or index < wal.first_index():
            return
        if index - wal.first_index() < self._trigger and wal.size < KEEP_BYTES:
            return
        self._cut(position, max(index - KEEP_ENTRIES, wal.first_index() - 1) if wal.size < KEEP_BYTES else index)

    def give_back(self) -> None:
        """The disk is short of space: keep no more of the log than a restart needs."""
        position = self._durable
        if position is not None and position.index >= self._log.first_index():
            self._cut(position, position.index)

    def _cut(self, position: SnapshotMeta, index: int) -> None:
        # The membership as of that very index: the one in force may be later already.
        if armed:
            hit("retain-before-cut")
        try:
            self._log.set_snapshot(position)
            self._log.compact(index)
        except NoSpace as problem:
            log.warning("the log can't be cut now: %s", problem)
            return
        except StorageError as problem:
            self._failed(problem)
            return
        self._marked = position.index
