"""Making a log and reading one back.

Faults assumed: a crash at any point of the log's life, and of an earlier opening; rot; a segment that someone removed.
Nothing is changed before all of it was read and found good.
"""

from __future__ import annotations

import os
from pathlib import Path

from kvstore.raft.types import HardState, SnapshotMeta
from kvstore.storage.durable import sync_directory
from kvstore.storage.errors import LogDamaged, StorageError, from_os
from kvstore.storage.log.format import Header
from kvstore.storage.log.index import place_of
from kvstore.storage.log.replay import check_sealed, cut, records, torn, write_again
from kvstore.storage.log.segment import CURE, Segment, allocate, sequence_of
from kvstore.storage.log.segments import Segments, names
from kvstore.storage.log.state import LogState


def new_salt() -> int:
    """32 random bits that open every record of a segment; never beginning with a zero byte, as free space does."""
    return int.from_bytes(os.urandom(4), "little") | 1


def create(directory: Path, metadata: bytes, *, segment_bytes: int, fsync: bool) -> tuple[Segments, LogState]:
    """A new log with its first segment, durable. StorageError if there is one already; NoSpace, StorageFailed."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        sync_directory(directory.parent)
    except OSError as error:
        raise from_os(error, f"log: can't make {directory}") from error
    if names(directory):
        raise StorageError(f"{directory}: there is a log already; open it, or choose an empty data directory")
    header = Header(new_salt(), 1, 1, 0, 0, HardState(), 0, 0, SnapshotMeta(), metadata)
    path = directory / "first.tmp"
    segment = Segment.begin(path, allocate(path, segment_bytes), header, segment_bytes)
    segments = Segments(directory, [segment], segment_bytes=segment_bytes, fsync=fsync)
    segments.sync()
    return segments, LogState(header)


def load(directory: Path, *, segment_bytes: int, fsync: bool) -> tuple[Segments, LogState, Path | None]:
    """Replay a log; also the copy of what was cut from its end, if anything was. LogDamaged, NoSpace, StorageFailed."""
    paths = names(directory)
    if not paths:
        raise LogDamaged(f"{directory}: no log segment is there; restore the directory, or start with an empty one")
    loaded: list[Segment] = []
    try:
        older, paths = _split_at_gap(paths)
        state, data = _replay(paths, loaded)
        state.finish(directory)
        copy = _settle(loaded[-1], data)
        _remove_leftovers(directory, older)
    except BaseException:
        for segment in loaded:
            segment.close()
        raise
    segments = Segments(directory, loaded, segment_bytes=segment_bytes, fsync=fsync)
    try:
        _drop_superfluous(segments, state)
        segments.sync()
    except BaseException:
        segments.close()
        raise
    return segments, state, copy


def _split_at_gap(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """The segments before the last gap in the sequence, and those after it.

    A crash may keep the removal of one segment and lose that of an older one. The ones after the gap stand for
    themselves if the gap is no more than that, and finish() finds out.
    """
    first = len(paths) - 1
    while first > 0 and sequence_of(paths[first - 1]) + 1 == sequence_of(paths[first]):
        first -= 1
    return paths[:first], paths[first:]


def _replay(paths: list[Path], loaded: list[Segment]) -> tuple[LogState, bytes]:
    """Reads every segment, one after the other in memory; the state and the last one's content."""
    state: LogState | None = None
    data = b""
    for path in paths:
        data = b""  # one segment's content at a time
        segment, data = Segment.load(path)
        loaded.append(segment)
        if state is None:
            state = LogState(segment.header)
        else:
            _check_join(loaded[-2], segment)
        for record in records(segment, data):
            state.replay(record, place_of(segment.header.sequence, record.offset))
    assert state is not None  # load() has seen that paths is not empty
    return state, data


def _check_join(before: Segment, segment: Segment) -> None:
    expected = before.header.sequence + 1
    if segment.header.sequence != expected:
        raise LogDamaged(f"{segment.path}: is segment {segment.header.sequence} under another one's name; {CURE}")
    check_sealed(before, segment.header)


def _settle(last: Segment, data: bytes) -> Path | None:
    """Cut a torn tail, and write again what may not be on the disk; the copy of what was cut."""
    tail = torn(last, data)
    copy = cut(last, tail) if tail else None
    try:
        write_again(last, data)
    except OSError as error:
        raise from_os(error, f"log: can't write {last.path} again") from error
    return copy


def _remove_leftovers(directory: Path, older: list[Path]) -> None:
    """Superfluous segments, and such as were prepared, or begun and not durable: nobody was told of what is in them."""
    for path in (*older, *directory.glob("*.tmp")):
        path.unlink()


def _drop_superfluous(segments: Segments, state: LogState) -> None:
    """A crash came between a compaction and the removal of its segments."""
    index = state.index
    for segment in segments.sealed():
        if index.last_in(segment.header.sequence) > index.base:
            break
        segments.drop_through(segment.header.sequence)
