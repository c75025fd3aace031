"""The log as Raft sees it: the owner's storage, and behind it the entries that are not known to be saved yet.

    storage … saved | handed out, being written | not handed out yet
                     `- entries[0] is at offset

Invariants: applied <= applying <= min(committed, saved) while no snapshot is being installed; entries up to
`committed` never change; saved <= last_index. Writes end in the order they were handed out, but a later one may have
replaced the tail of an earlier one meanwhile: `truncate` takes back from every write under way what it can no longer
prove (comparing terms alone is not enough: a tail may come, go and come back with the same terms).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from kvstore.invariant import InvariantViolation, invariant
from kvstore.raft.storage import Compacted, LogStorage, Unavailable
from kvstore.raft.types import Entry, Message, SnapshotMeta


class _Write:
    """What a Ready that is on its way to the disk will have proved: everything up to `upto` is saved."""

    __slots__ = ("number", "snapshot", "upto")

    def __init__(self, number: int, upto: int, snapshot: SnapshotMeta | None) -> None:
        self.number = number
        self.upto = upto
        self.snapshot = snapshot


class RaftLog:
    """Indexes are log indexes throughout; slices are half open."""

    def __init__(self, storage: LogStorage, committed: int, applied: int) -> None:
        """applied may be ahead of committed: the state machine's disk may have been faster than the log's."""
        self.storage = storage
        self.entries: list[Entry] = []
        # Index of the last entry, saved or not. Kept beside `entries`, because everybody asks for it all the time.
        self.last_index = self.saved = storage.last_index()
        self.offset = self.saved + 1
        self.handed = self.saved
        self.snapshot: SnapshotMeta | None = None
        self.snapshot_message: Message | None = None
        self._snapshot_handed = False
        start = storage.first_index() - 1
        self.applied = self.applying = max(applied, start)
        self.committed = max(committed, self.applied)
        self._writes: deque[_Write] = deque()
        # The entry that was appended last, while it is there: nearly all that is asked of terms is asked of it.
        self._tail, self._tail_term = 0, 0
        invariant(self.committed <= self.saved, "the log ends before what it says is committed: entries were lost")

    # ---- what is there ----

    @property
    def first_index(self) -> int:
        """Index of the first entry that can be read."""
        return self.storage.first_index() if self.snapshot is None else self.snapshot.index + 1

    @property
    def last_term(self) -> int:
        """The last entry's term."""
        return self.term(self.last_index)

    def term(self, index: int) -> int:
        """Raises Compacted, Unavailable. The point before the first entry has a term."""
        if index >= self.offset:
            if index > self.last_index:
                raise Unavailable(index)
            return self.entries[index - self.offset].term
        if self.snapshot is None:
            return self.storage.term(index)
        if index == self.snapshot.index:
            return self.snapshot.term
        raise Compacted(index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the entry at index has that term. What is compacted or not there does not match."""
        if index == self._tail and index:
            return term == self._tail_term
        try:
            return self.term(index) == term
        except (Compacted, Unavailable):
            return False

    def up_to_date(self, index: int, term: int) -> bool:
        """Whether a log that ends there is at least as good as ours (Raft paper, 5.4.1)."""
        return (term, index) >= (self.last_term, self.last_index)

    def slice(self, lo: int, hi: int, max_bytes: int) -> list[Entry]:
        """Entries lo <= index < hi: at most max_bytes of data, at least one. Raises Compacted, Unavailable."""
        if lo >= hi:
            return []
        if lo < self.offset and self.snapshot is not None:
            raise Compacted(lo)  # storage, which knows of no snapshot that waits to be installed, might have it
        if hi > self.last_index + 1:
            raise Unavailable(hi - 1)
        if lo >= self.offset:
            return bounded(self.entries[lo - self.offset : hi - self.offset], max_bytes)
        end = min(hi, self.offset)
        found = self.storage.entries(lo, end, max_bytes)
        if end == hi or len(found) < end - lo:
            return found
        room = max_bytes - sum(len(entry.data) for entry in found)
        tail = bounded(self.entries[: hi - self.offset], room)
        return found if len(tail[0].data) > room else found + tail

    def conflict_hint(self, index: int, term: int) -> tuple[int, int]:
        """The last index <= `index` whose term is <= `term`, and that term (0 if it is compacted).

        Terms never fall along a log, so a binary search finds it, however long two logs went separate ways.
        """
        first = self.first_index
        if index < first - 1:
            return index, 0
        span = range(first - 1, min(index, self.last_index) + 1)
        found = bisect_right(span, term, key=self.term)
        at = first - 2 + found
        return (at, 0) if found == 0 else (at, self.term(at))

    # ---- growing and shrinking ----

    def append(self, entries: list[Entry]) -> int:
        """Put entries behind the log, over whatever stands at their indexes; the new last index."""
        if entries:
            if entries[0].index != self.last_index + 1:
                self.truncate(entries[0].index)
            self.entries.extend(entries)
            last = entries[-1]
            self.last_index = self._tail = last.index
            self._tail_term = last.term
        return self.last_index

    def truncate(self, index: int) -> None:
        """Forget everything from index on."""
        last = self.last_index
        invariant(self.committed < index <= last + 1, "committed entries must stay and the log must have no holes")
        if index > last:
            return
        if index < self.offset:
            self.offset = index
            self.entries.clear()
        else:
            del self.entries[index - self.offset :]
        before = self.last_index = index - 1
        self._tail = 0
        self.handed = min(self.handed, before)
        self.saved = min(self.saved, before)
        for write in self._writes:
            write.upto = min(write.upto, before)

    def accept(self, index: int, term: int, entries: list[Entry]) -> int | None:
        """Entries come after (index, term). The last index that now agrees with the leader; None if they do not fit."""
        if not self.matches(index, term):
            return None
        if index == self.last_index:
            return self.append(entries)
        for at, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                self.append(entries[at:])
                break
        return index + len(entries)

    def commit_to(self, index: int) -> bool:
        """Entries up to index are committed. False if that is not new."""
        if index <= self.committed:
            return False
        if index > self.last_index:
            raise InvariantViolation(
                "a leader committed what this member had acknowledged but no longer has: its log was lost"
            )
        self.committed = index
        return True

    def restore(self, meta: SnapshotMeta, message: Message) -> None:
        """Everything is replaced by a snapshot that still has to be installed."""
        self.snapshot, self.snapshot_message = meta, message
        self._tail = 0
        self._snapshot_handed = False
        self.entries = []
        self.offset = meta.index + 1
        self.handed = self.committed = self.last_index = meta.index
        # Nothing that is being written now says anything about the log that replaces it.
        self.saved = 0
        for write in self._writes:
            write.upto = 0

    # ---- handing out ----

    @property
    def has_unwritten(self) -> bool:
        """Whether the owner has something to write that it was not given yet."""
        if self.snapshot is not None and not self._snapshot_handed:
            return True
        return self.handed < self.last_index

    def hand_out(self, number: int) -> tuple[list[Entry], SnapshotMeta | None]:
        """What is to be written, once. A snapshot goes alone; the entries behind it come with the next Ready."""
        if self.snapshot is not None and not self._snapshot_handed:
            self._snapshot_handed = True
            self._writes.append(_Write(number, self.snapshot.index, self.snapshot))
            return [], self.snapshot
        if self.handed == self.last_index:
            return [], None  # nothing to write proves nothing
        entries = self.entries[self.handed + 1 - self.offset :]
        self.handed = self.last_index
        self._writes.append(_Write(number, self.handed, None))
        return entries, None

    def saved_to(self, number: int) -> bool:
        """The Ready with that number, and all before it, are on disk. True if more of the log is saved now."""
        before = self.saved
        while self._writes and self._writes[0].number <= number:
            write = self._writes.popleft()
            if write.snapshot is not None and write.snapshot is self.snapshot:
                self._installed(write.snapshot.index)
            if write.upto > self.saved:
                self.saved = write.upto
        if self.saved >= self.offset:
            del self.entries[: self.saved + 1 - self.offset]
            self.offset = self.saved + 1
        return self.saved > before

    def _installed(self, index: int) -> None:
        self.snapshot = self.snapshot_message = None
        self.applied = max(self.applied, index)
        self.applying = max(self.applying, index)

    @property
    def applicable(self) -> int:
        """The last index that may be applied: committed, and saved here."""
        return self.applying if self.snapshot is not None else min(self.committed, self.saved)

    def take_committed(self, max_bytes: int) -> list[Entry]:
        """The next entries to apply, each once."""
        upto = self.applicable
        if upto <= self.applying:
            return []
        entries = self.slice(self.applying + 1, upto + 1, max_bytes)
        self.applying = entries[-1].index
        return entries

    def applied_to(self, index: int) -> None:
        """The state machine has applied everything up to index."""
        if index > self.applying:
            raise InvariantViolation("only what was handed out can have been applied")
        self.applied = max(self.applied, index)


def bounded(entries: list[Entry], max_bytes: int) -> list[Entry]:
    """The longest head of entries with at most max_bytes of data, but at least one entry."""
    if len(entries) == 1:
        return entries
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.data)
        if size > max_bytes and count:
            return entries[:count]
    return entries
