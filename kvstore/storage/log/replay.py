"""Reading a segment back, and telling a torn write from rot.

Where the records stop, the rest of the file is zeros if all is well. If it is not:

* in a segment that has a successor, the successor's header says where it ended, and anything else is rot;
* in the last one, the damage is at some offset X. Every record says how much was durable when it was written. If any
  whole record after X says that X was durable, then X was once on the disk and is no more: rot. Otherwise X and all
  after it was written since the last fsync that we know of, was acknowledged to nobody who could count on it, and a
  crash may keep any part of it: a torn write, which is cut.

Rot is refused and nothing is changed (FAST '18); what is cut is copied beside the segment first.
The one rot that looks torn is that of the records that were synced last, one fsync's, of a log that was not closed in
peace: each of them says how much was durable before that fsync.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kvstore.storage.durable import sync_directory, write_at, write_file
from kvstore.storage.errors import LogDamaged, from_os
from kvstore.storage.log.format import Header, Record, decode_record
from kvstore.storage.log.segment import CURE, Segment

_ZEROS = bytes(1 << 16)


def records(segment: Segment, data: bytes) -> Iterator[Record]:
    """The segment's records in order, up to the first that is not whole; sets the segment's end and chain."""
    salt, seed = segment.header.salt, segment.seed
    while True:
        record = decode_record(data, segment.end, segment.end, salt, seed)
        if record is None or record.previous != segment.chain:
            return
        yield record
        segment.end = record.end
        segment.chain = record.crc
        segment.synced = record.synced


def check_sealed(segment: Segment, successor: Header) -> None:
    """The records of a segment that has a successor must be the ones it had. LogDamaged."""
    if segment.end == successor.previous_end and segment.chain == successor.previous_crc:
        return
    raise LogDamaged(
        f"{segment.path}: damaged record at offset {segment.end}; "
        f"the segment after it says that {successor.previous_end} bytes were whole; {CURE}"
    )


def torn(segment: Segment, data: bytes) -> bytes:
    """What stands after the last whole record of the last segment, without the zeros; b"" if all is well.

    LogDamaged if that was durable once.
    """
    tail = _without_zeros(data, segment.end)
    if tail:
        _refuse_rot(segment, data)
    return tail


def _without_zeros(data: bytes, start: int) -> bytes:
    """data[start:] up to the last byte that is not zero. By blocks: rstrip() looks at 64 MiB byte by byte."""
    end = len(data)
    while end > start:
        begin = max(start, end - len(_ZEROS))
        block = data[begin:end]
        if block != _ZEROS[: end - begin]:
            return data[start:begin] + block.rstrip(b"\0")
        end = begin
    return b""


def _refuse_rot(segment: Segment, data: bytes) -> None:
    header, damaged = segment.header, segment.end
    # Only where the salt stands can a record begin: find() looks at the bytes, not Python.
    salt = header.salt.to_bytes(4, "little")
    at = data.find(salt, damaged)
    while at != -1:
        record = decode_record(data, at, at, header.salt, segment.seed)
        if record is not None and record.synced > damaged:
            raise LogDamaged(
                f"{segment.path}: damaged record at offset {damaged}: the record at offset {record.offset} is whole "
                f"and proves that {record.synced} bytes were durable, so this is no torn write; {CURE}"
            )
        at = data.find(salt, at + 1)


def cut(segment: Segment, tail: bytes) -> Path:
    """Replace a torn tail by zeros, durably, after a copy of it was made; the copy. NoSpace, StorageFailed."""
    copy = _free_name(segment.path.with_name(f"{segment.path.name}.torn-{segment.end}"))
    try:
        write_file(copy, tail)
        write_at(segment.fd, [bytes(len(tail))], segment.end)
        os.fdatasync(segment.fd)
    except OSError as error:
        raise from_os(error, f"log: can't cut the torn tail of {segment.path}") from error
    return copy


def write_again(segment: Segment, data: bytes) -> None:
    """Make the page cache write once more what was written since the last fsync that the records know of. OSError.

    After a failed fsync the kernel holds pages for clean that the disk never saw (ATC '20, "Can applications recover
    from fsync failures?"), and a later one does not write them. The process that saw it fail may have been killed
    before it could tell anybody, so this happens at every start; it is what a group commit holds, no more.
    """
    start = segment.synced
    write_at(segment.fd, [data[start : segment.end]], start)
    os.fdatasync(segment.fd)
    sync_directory(segment.path.parent)


def _free_name(path: Path) -> Path:
    """The path, or the first of path.1, path.2 … that nobody has."""
    candidate, number = path, 0
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate
