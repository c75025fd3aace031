"""A LogStorage in memory that knows what a crash leaves of it."""

from __future__ import annotations

from collections import deque

from kvstore.raft.storage import Compacted, Unavailable
from kvstore.raft.types import ConfState, Entry, HardState, Ready, SnapshotMeta


class MemoryLog:
    """The log, and the writes that are not on disk yet. Reads see every write, as in a real one."""

    def __init__(self, conf_state: ConfState, index: int = 0, term: int = 0) -> None:
        self.hard = HardState(term, 0, index)
        self.point = SnapshotMeta(index, term, conf_state)  # the compaction point
        self.held: list[Entry] = []
        self.snapshot = self.point  # what a follower that is behind would get
        self._pending: deque[Ready] = deque()
        self._durable = self._image()

    def _image(self) -> tuple[HardState, SnapshotMeta, list[Entry], SnapshotMeta]:
        return self.hard, self.point, list(self.held), self.snapshot

    # ---- LogStorage ----

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self.hard, self.point.conf_state

    def first_index(self) -> int:
        return self.point.index + 1

    def last_index(self) -> int:
        return self.point.index + len(self.held)

    def term(self, index: int) -> int:
        if index == self.point.index:
            return self.point.term
        return self._at(index).term

    def _at(self, index: int) -> Entry:
        if index <= self.point.index:
            raise Compacted(index)
        if index > self.last_index():
            raise Unavailable(index)
        return self.held[index - self.first_index()]

    def entries(self, lo: int, hi: int, max_bytes: int) -> list[Entry]:
        found: list[Entry] = []
        size = 0
        for index in range(lo, hi):
            entry = self._at(index)
            size += len(entry.data)
            if found and size > max_bytes:
                break
            found.append(entry)
        return found

    def snapshot_meta(self) -> SnapshotMeta:
        return self.snapshot

    # ---- the owner's side ----

    def write(self, ready: Ready) -> None:
        """Append what a Ready holds; it is lost in a crash until `sync`."""
        if ready.snapshot is not None:
            self.point = self.snapshot = ready.snapshot
            self.held = []
        if ready.entries:
            first = ready.entries[0].index
            assert self.point.index < first <= self.last_index() + 1, "a hole in the log"
            del self.held[first - self.first_index() :]
            self.held.extend(ready.entries)
        if ready.hard_state is not None:
            self.hard = ready.hard_state
        self._pending.append(ready)

    def sync(self) -> list[Ready]:
        """Everything written so far is durable; the Readys it came from."""
        self._durable = self._image()
        done, self._pending = list(self._pending), deque()
        return done

    def compact(self, meta: SnapshotMeta) -> None:
        """Drop entries up to meta.index; a snapshot that stands there can be sent."""
        if meta.index > self.snapshot.index:
            self.snapshot = meta
        if meta.index > self.point.index:
            self.held = self.held[meta.index - self.point.index :]
            self.point = meta

    def crash(self, survive: int = 0) -> None:
        """Lose what is not durable, except the first `survive` writes: the disk may have been quicker than it said."""
        pending, self._pending = self._pending, deque()
        self.hard, self.point, held, self.snapshot = self._durable
        self.held = list(held)
        for ready in list(pending)[:survive]:
            self.write(ready)
        self.sync()

    @property
    def durable_last(self) -> int:
        """The last index that a crash would leave."""
        return self._durable[1].index + len(self._durable[2])

    @property
    def pending(self) -> int:
        """Writes that are not durable."""
        return len(self._pending)
