"""The files of a log: which are there, which is written, which may go, and what of them is durable.

Two threads meet here. The loop appends, rolls and drops; a worker syncs. The worker takes what is to be done at the
start of a sync under a lock and works on that; the loop goes on meanwhile.
Invariants: segments become durable in their order, each named only then; a segment is unlinked only after the record
that makes it superfluous is durable, the oldest first; after a failed fsync nothing is written or synced any more.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path

from kvstore.failpoints import armed, hit
from kvstore.storage.durable import sync_directory
from kvstore.storage.errors import NoSpace, StorageFailed, from_os
from kvstore.storage.log.format import Header
from kvstore.storage.log.segment import SUFFIX, Segment, allocate

_RETRY_SPARE_SECONDS = 1.0


class Segments:
    """The segments of one directory, oldest first; the last one is live."""

    def __init__(self, directory: Path, segments: list[Segment], *, segment_bytes: int, fsync: bool) -> None:
        self.directory = directory
        self.live = segments[-1]
        self.writes = 0  # records written; the loop's
        self.synced_writes = 0  # of them durable; the worker's
        self.space_short = False
        self.failed: str | None = None
        self.segment_bytes = segment_bytes
        self._fsync = fsync
        self._lock = threading.Lock()  # guards the two lists
        self._syncing = threading.Lock()
        # Of the sync that was begun: the segment, its end then, and how many writes that covers.
        self._begun = (self.live, 0, 0)
        self._segments = segments
        self._doomed: list[Segment] = []
        # Only the worker sets it, only the loop takes it.
        self._spare: tuple[Path, int] | None = None
        self._next_spare_at = 0.0
        self._numbers = itertools.count()

    def at(self, sequence: int) -> Segment:
        """The segment of that sequence number."""
        return self._segments[sequence - self._segments[0].header.sequence]

    def sealed(self) -> list[Segment]:
        """All but the live one."""
        return self._segments[:-1]

    def roll(self, header: Header) -> Segment:
        """Start a new live segment. NoSpace, StorageFailed; then the old one stays."""
        if armed:
            hit("log-before-roll")
        spare, self._spare = self._spare, None
        path, fd = spare or self._allocate()
        segment = Segment.begin(path, fd, header, self.segment_bytes)
        with self._lock:
            self._segments.append(segment)
        self.live = segment
        return segment

    def drop_through(self, sequence: int) -> None:
        """Segments up to that one are superfluous, as a record that was just written; the next sync removes them."""
        with self._lock:
            count = sum(segment.header.sequence <= sequence for segment in self._segments[:-1])
            self._doomed += self._segments[:count]
            del self._segments[:count]

    def sync(self) -> None:
        """Make everything durable that was written before the call. StorageFailed, for good."""
        with self._syncing:
            self.check()
            with self._lock:
                writes = self.writes
                doomed = list(self._doomed)
                pending = [
                    (one, one.end) for one in (*doomed, *self._segments) if one.end > one.synced or not one.named
                ]
            try:
                for segment, end in pending:
                    self._sync_one(segment, end)
                if doomed:
                    self._unlink(doomed)
            except OSError as error:
                raise self._refused(error) from error
            self.synced_writes = writes
            if self._spare is None:
                self._prepare_spare()

    def begin_sync(self) -> int | None:
        """Begin a sync for which one fdatasync is all there is to do, of the descriptor that is returned, by whomever.

        None: there is more to do, only sync() does it. For the loop, while nobody syncs; end_sync() must follow, or a
        sync() if there was none. StorageFailed.
        """
        self.check()
        live = self.live
        before = self._segments[-2:-1]
        if (
            not self._fsync
            or not live.named
            or self._doomed
            or any(one.synced < one.end for one in before)
            or (self._spare is None and time.monotonic() >= self._next_spare_at)
        ):
            return None
        self._pass("log-before-sync")
        self._begun = (live, live.end, self.writes)
        return live.fd

    def end_sync(self, problem: OSError | None) -> None:
        """That fdatasync has ended. StorageFailed, for good, if it failed."""
        self.check()
        if problem is not None:
            raise self._refused(problem) from problem
        self._pass("log-after-sync")
        segment, end, self.synced_writes = self._begun
        segment.synced = end

    def _pass(self, point: str) -> None:
        if armed:
            try:
                hit(point)
            except OSError as error:
                raise self._refused(error) from error

    def _refused(self, error: OSError) -> StorageFailed:
        return self.fail(f"log: fsync failed in {self.directory}: {error.strerror or error}")

    def _sync_one(self, segment: Segment, end: int) -> None:
        if armed:
            hit("log-before-sync")
        if self._fsync:
            os.fdatasync(segment.fd)
        if not segment.named:
            if armed:
                hit("log-before-name")
            segment.give_name()
        if armed:
            hit("log-after-sync")
        # Without fsync nothing may be taken for durable when a later start judges a damaged record.
        segment.synced = end if self._fsync else 0

    def _unlink(self, doomed: list[Segment]) -> None:
        if armed:
            hit("log-before-unlink")
        for segment in doomed:
            segment.path.unlink()
            segment.close()
            with self._lock:
                self._doomed.remove(segment)
        if armed:
            hit("log-after-unlink")
        sync_directory(self.directory)

    def take_space(self) -> None:
        """Try to have the next segment ready. StorageFailed, for good."""
        with self._syncing:
            self.check()
            self._prepare_spare()

    def _prepare_spare(self) -> None:
        """Allocate the next segment ahead: its cost is not the loop's, and a full disk shows a segment early."""
        if self._spare is not None or time.monotonic() < self._next_spare_at:
            return
        try:
            self._spare = self._allocate()
            self.space_short = False
        except NoSpace:
            self.space_short = True
            self._next_spare_at = time.monotonic() + _RETRY_SPARE_SECONDS
        except StorageFailed as error:
            raise self.fail(str(error)) from error

    def _allocate(self) -> tuple[Path, int]:
        path = self.directory / f"next-{next(self._numbers)}.tmp"
        return path, allocate(path, self.segment_bytes)

    def fail(self, message: str) -> StorageFailed:
        """From now on every write and sync is refused with that message.

        The next start writes the pages again that the kernel wrongly holds for written (opening.py).
        """
        self.failed = f"{message}; what is in memory can't be trusted: check the disk, then start this member again"
        return StorageFailed(self.failed)

    def check(self) -> None:
        """StorageFailed if a write or an fsync failed before."""
        if self.failed is not None:
            raise StorageFailed(self.failed)

    def close(self) -> None:
        """Let go of all files, and of the spare one. A write that comes later is refused: its descriptor may be another
        file's by then."""
        with self._syncing:
            self.failed = f"log: {self.directory} is closed"
            spare, self._spare = self._spare, None
            if spare is not None:
                spare[0].unlink(missing_ok=True)
                os.close(spare[1])
            for segment in (*self._doomed, *self._segments):
                segment.close()
            self._doomed, self._segments = [], []


def names(directory: Path) -> list[Path]:
    """The named segments in a directory, in order. StorageFailed if it can't be read."""
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == SUFFIX)
    except OSError as error:
        raise from_os(error, f"log: can't read {directory}") from error
