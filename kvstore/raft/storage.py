"""How Raft reads the log that its owner keeps.

Raft never writes: it hands out in Readys what has to be written. It reads only what it has handed out and what was
there at the start, and it reads an entry from here only after saved() covered it, so the owner may write as late as
it likes.
"""

from __future__ import annotations

from typing import Protocol

from kvstore.raft.types import ConfState, Entry, HardState, SnapshotMeta


class Compacted(Exception):
    """The index lies before what the log still holds."""


class Unavailable(Exception):
    """The index lies behind the log's end."""


class LogStorage(Protocol):
    """The saved part of the log. first_index() - 1 is the snapshot or compaction point, whose term is still known."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What was saved last, and the membership as of snapshot_meta(): RawNode's unless it is told a later one."""

    def first_index(self) -> int:
        """Index of the first entry that is there."""

    def last_index(self) -> int:
        """Index of the last entry; first_index() - 1 if there is none."""

    def term(self, index: int) -> int:
        """The term of an entry, first_index() - 1 <= index <= last_index(). Raises Compacted, Unavailable."""

    def entries(self, lo: int, hi: int, max_bytes: int) -> list[Entry]:
        """Entries lo <= index < hi: at most max_bytes of data, at least one. Raises Compacted, Unavailable."""

    def snapshot_meta(self) -> SnapshotMeta:
        """The point of a snapshot that could be sent to a follower now; index >= first_index() - 1."""
