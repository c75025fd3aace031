"""The write-ahead log that makes a write durable; it is Raft's LogStorage.

One record a batch, one system call a record, one checksum over it. `append` is for the loop and never waits for the
disk; `sync` is for a worker thread and waits. All other methods are the loop's.
Invariants: what `sync` covered is found again by `open`, or `open` refuses; what it did not cover is found again up to
some point or not at all, never with a hole. Memory grows by 16 bytes an entry and is otherwise bounded by the cache.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kvstore.failpoints import armed, hit
from kvstore.invariant import InvariantViolation, invariant
from kvstore.raft.storage import Compacted, Unavailable
from kvstore.raft.types import ConfState, Entry, HardState, SnapshotMeta
from kvstore.storage.errors import NoSpace, StorageFailed
from kvstore.storage.log import opening
from kvstore.storage.log.cache import EntryCache
from kvstore.storage.log.format import (
    BASE,
    BATCH,
    CLOSED,
    RESTART,
    SNAPSHOT,
    Header,
    batch_entries,
    encode_base,
    encode_batch,
    encode_meta,
)
from kvstore.storage.log.index import place_of, split
from kvstore.storage.log.segment import Segment
from kvstore.storage.log.segments import Segments
from kvstore.storage.log.state import LogState, raised

SEGMENT_BYTES = 64 << 20
CACHE_BYTES = 8 << 20


class Log:
    """Entries first_index … last_index, the hard state and the snapshot's meta."""

    __slots__ = ("_cache", "_index", "_memo", "_memo_place", "_segments", "_state", "torn")

    def __init__(self, segments: Segments, state: LogState, cache_bytes: int, torn: Path | None = None) -> None:
        """Use create() or open()."""
        self._segments = segments
        self._state = state
        self._index = state.index
        self._cache = EntryCache(cache_bytes)
        self._memo: list[Entry] = []
        self._memo_place = -1
        self.torn = torn  # the copy of what open() cut from the end, None if it was whole

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str],
        *,
        metadata: bytes,
        segment_bytes: int = SEGMENT_BYTES,
        cache_bytes: int = CACHE_BYTES,
        fsync: bool = True,
    ) -> Log:
        """Make a new, empty log, durably. StorageError if one is there; NoSpace, StorageFailed.

        metadata: bytes of the owner that every segment carries. fsync=False: `sync` waits for nothing (unsafe).
        """
        segments, state = opening.create(Path(directory), metadata, segment_bytes=segment_bytes, fsync=fsync)
        return cls(segments, state, cache_bytes)

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        cache_bytes: int = CACHE_BYTES,
        fsync: bool = True,
    ) -> Log:
        """Read a log back; all that is in it is durable when this returns.

        LogDamaged: rot, or missing segments; nothing was changed. NoSpace, StorageFailed.
        """
        segments, state, torn = opening.load(Path(directory), segment_bytes=segment_bytes, fsync=fsync)
        return cls(segments, state, cache_bytes, torn)

    @property
    def metadata(self) -> bytes:
        """What create() was given."""
        return self._state.metadata

    @property
    def size(self) -> int:
        """Bytes of all segments, preallocated ones in full."""
        return (len(self._segments.sealed()) + 1) * self._segments.segment_bytes

    @property
    def needs_sync(self) -> bool:
        """Whether something was written that no sync() has covered."""
        return self._segments.writes != self._segments.synced_writes

    @property
    def space_short(self) -> bool:
        """Whether the next segment could not be preallocated: what is left of this one is all there is."""
        return self._segments.space_short

    def append(self, entries: Sequence[Entry], hard_state: HardState | None = None) -> None:
        """Write entries over those at the same and higher indexes, and the hard state if it changed. Hot.

        NoSpace: nothing has changed, and it may be tried again. StorageFailed: for good.
        """
        state = self._state
        if hard_state is None:
            if not entries:
                return
            hard_state = state.hard_state
        if not entries:
            self._write(BATCH, encode_batch(hard_state, entries))
            state.hard_state = hard_state
            return
        first = entries[0].index
        index = self._index
        # Before the write: a log that breaks these must not reach the disk.
        if not index.base < first <= index.last + 1:
            raise InvariantViolation(f"entry {first} does not join {index.base}..{index.last}")
        if entries[-1].index - first + 1 != len(entries):
            raise InvariantViolation("the entries of a batch are not contiguous")
        place = self._write(BATCH, encode_batch(hard_state, entries))
        state.hard_state = hard_state
        index.extend(first, [entry.term for entry in entries], place)
        self._cache.extend(entries)

    def sync(self) -> None:
        """Wait until everything appended before the call is durable. For a worker thread; the loop may go on appending.

        StorageFailed: the disk refused; the log refuses everything from now on, and the process should end.
        """
        self._segments.sync()

    def begin_sync(self) -> int | None:
        """sync() by somebody else, the kernel for one: the descriptor whose fdatasync is all that is needed.

        For the loop, while no sync is under way. None: it needs more, only sync() does it. StorageFailed, as sync().
        """
        return self._segments.begin_sync()

    def end_sync(self, problem: OSError | None) -> None:
        """How that fdatasync ended. StorageFailed if it failed, as sync()."""
        self._segments.end_sync(problem)

    def take_space(self) -> None:
        """Try again to preallocate the next segment, as sync() does. For a worker thread. StorageFailed, for good."""
        self._segments.take_space()

    def install_snapshot(self, meta: SnapshotMeta) -> None:
        """Restart the log after meta.index: every entry goes, the hard state rises to it. NoSpace, StorageFailed."""
        self._write(RESTART, encode_meta(meta))
        self._state.snapshot = meta
        self._state.hard_state = raised(self._state.hard_state, meta)
        self._index.restart(meta.index, meta.term)
        self._cache.clear()
        self._memo_place = -1
        self._segments.drop_through(self._segments.live.header.sequence - 1)

    def set_snapshot(self, meta: SnapshotMeta) -> None:
        """A snapshot at meta.index can be had from now on. NoSpace, StorageFailed as append."""
        self._write(SNAPSHOT, encode_meta(meta))
        self._state.snapshot = meta

    def compact(self, index: int) -> None:
        """Drop the segments that hold no entry above `index`; first_index moves as far as they reached.

        The live segment stays, so does what a snapshot has not covered. The next sync removes the files.
        NoSpace, StorageFailed as append.
        """
        invariant(index <= self._state.snapshot.index, f"can't compact to {index}, behind the snapshot")
        last = self._last_superfluous(index)
        if last is None:
            return
        sequence = last.header.sequence
        base = self._index.last_in(sequence)
        self._write(BASE, encode_base(base, self._index.term(base)))
        self._index.drop_to(base)
        self._cache.drop_to(base)
        self._segments.drop_through(sequence)

    def _last_superfluous(self, index: int) -> Segment | None:
        last = None
        for segment in self._segments.sealed():
            if self._index.last_in(segment.header.sequence) > index:
                break
            last = segment
        return last

    def first_index(self) -> int:
        """Index of the first entry that is there; last_index() + 1 if there is none."""
        return self._index.base + 1

    def last_index(self) -> int:
        """Index of the last entry; first_index() - 1 if there is none."""
        return self._index.last

    def term(self, index: int) -> int:
        """Term of an entry, first_index() - 1 <= index <= last_index(). Compacted, Unavailable."""
        known = self._index
        if index < known.base:
            raise Compacted(f"entry {index} is compacted, the log begins at {known.base + 1}")
        if index > known.last:
            raise Unavailable(f"entry {index} is not there, the log ends at {known.last}")
        return known.term(index)

    def entries(self, lo: int, hi: int, max_bytes: int) -> list[Entry]:
        """Entries lo <= index < hi, as many as max_bytes of data hold but at least one. Hot while they are cached.

        Compacted, Unavailable. LogDamaged if one that must be read from the disk has rotted.
        """
        if lo <= self._index.base:
            raise Compacted(f"entry {lo} is compacted, the log begins at {self._index.base + 1}")
        if hi > self._index.last + 1:
            raise Unavailable(f"entry {hi - 1} is not there, the log ends at {self._index.last}")
        cached = self._cache.get
        found: list[Entry] = []
        for index in range(lo, hi):
            entry = cached(index) or self._read(index)
            max_bytes -= len(entry.data)
            if max_bytes < 0 and found:
                break
            found.append(entry)
        return found

    def _read(self, index: int) -> Entry:
        """From the disk. The batch is remembered: whoever reads one entry of it reads the next ones too."""
        place = self._index.place(index)
        if place != self._memo_place:
            sequence, offset = split(place)
            self._memo = batch_entries(self._segments.at(sequence).read(offset).payload)
            self._memo_place = place
        return self._memo[index - self._memo[0].index]

    def snapshot_meta(self) -> SnapshotMeta:
        """What set_snapshot or install_snapshot was given last."""
        return self._state.snapshot

    def initial_state(self) -> tuple[HardState, ConfState]:
        """The hard state that was written last, and the membership as of the snapshot."""
        return self._state.hard_state, self._state.snapshot.conf_state

    def close(self) -> None:
        """Make everything durable, say so in the log, and let go of the files. StorageFailed if the disk refuses."""
        try:
            if self._segments.failed is None:
                self._segments.sync()
                self._say_closed()
        finally:
            self._segments.close()

    def _say_closed(self) -> None:
        """A last record that proves that all before it was durable: then rot is told from a crash to the last byte."""
        if self._segments.live.room(0):
            try:
                self._write(CLOSED, b"")
            except NoSpace:
                return
            self._segments.sync()

    def _write(self, kind: int, payload: bytes) -> int:
        """One record into the live segment, or into a new one if it does not fit; its place."""
        segments = self._segments
        segments.check()
        try:
            live = segments.live
            if not live.room(len(payload)):
                live = segments.roll(self._next_header(live))
            if armed:
                hit("log-before-write")
            offset = live.write(kind, payload)
            if armed:
                hit("log-after-write")
        except StorageFailed as error:
            raise segments.fail(str(error)) from error
        segments.writes += 1
        return place_of(live.header.sequence, offset)

    def _next_header(self, live: Segment) -> Header:
        state, index = self._state, self._index
        return Header(
            opening.new_salt(),
            live.header.sequence + 1,
            index.last + 1,
            live.end,
            live.chain,
            state.hard_state,
            index.base,
            index.base_term,
            state.snapshot,
            state.metadata,
        )
