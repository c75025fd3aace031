"""One segment file that is being written or read.

A segment gets its final name only after its header and everything in the segments before it is durable: so a named
segment with a successor must be whole, and a crash can tear nothing but the last one.
Faults assumed: the disk is full at any write; then nothing has moved, and the next write goes to the same place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

from kvstore.storage.durable import sync_directory, write_at
from kvstore.storage.errors import LogDamaged, from_os
from kvstore.storage.log.format import (
    RECORD,
    BadHeader,
    Header,
    Record,
    decode_header,
    decode_record,
    encode_header,
    encode_record,
)

SUFFIX = ".wal"


def file_name(header: Header) -> str:
    """The name of a finished segment: its sequence number and first index, so that a listing is in order."""
    return f"{header.sequence:08d}-{header.next_index:016x}{SUFFIX}"


def sequence_of(path: Path) -> int:
    """The sequence number in a segment's name. LogDamaged if there is none."""
    try:
        return int(path.name.partition("-")[0])
    except ValueError as error:
        raise LogDamaged(f"{path}: is not a segment's name; move the file away, it is none of ours") from error


def allocate(path: Path, size: int) -> int:
    """Make a file of `size` zero bytes whose blocks are taken; its descriptor. NoSpace leaves no file behind."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise from_os(error, f"log: can't make {path}") from error
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        os.close(fd)
        path.unlink()
        raise from_os(error, f"log: can't preallocate {size} bytes at {path}") from error
    return fd


# So much room behind the last record is kept filled with zeros, in steps of so many bytes.
ZERO_MARGIN = 256 * 1024
_ZEROS = memoryview(bytes(1024 * 1024))


class Segment:
    """Records from `end` on; `synced` of its bytes are known to be durable."""

    __slots__ = ("capacity", "chain", "end", "fd", "header", "named", "path", "seed", "start", "synced", "zeroed")

    def __init__(self, path: Path, fd: int, header: Header, start: int, seed: int, capacity: int) -> None:
        self.path = path
        self.fd = fd
        self.header = header
        self.start = start  # where the records begin
        self.seed = seed
        self.capacity = capacity
        self.end = start
        self.chain = seed  # checksum of the last record
        self.synced = 0
        self.named = False
        self.zeroed = 0  # zeros were written up to here, at least

    @classmethod
    def begin(cls, path: Path, fd: int, header: Header, capacity: int) -> Segment:
        """Write the header into an allocated file. NoSpace, StorageFailed."""
        data = encode_header(header)
        try:
            write_at(fd, [data], 0)
        except OSError as error:
            raise from_os(error, f"log: can't write {path}") from error
        _, start, seed = decode_header(data)
        return cls(path, fd, header, start, seed, capacity)

    @classmethod
    def load(cls, path: Path) -> tuple[Segment, bytes]:
        """Open a finished segment; it and its content up to the hole at its end. LogDamaged, StorageFailed."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            data, size = _read_all(fd)
        except OSError as error:
            raise from_os(error, f"log: can't read {path}") from error
        try:
            header, start, seed = decode_header(data)
        except (BadHeader, ValueError) as error:
            os.close(fd)
            raise LogDamaged(f"{path}: {error} at offset 0; {CURE}") from error
        segment = cls(path, fd, header, start, seed, size)
        segment.named = True
        return segment, data

    def room(self, payload_bytes: int) -> bool:
        """Whether a record with that payload fits; an empty segment takes one of any size."""
        return self.end + RECORD.size + payload_bytes <= self.capacity or self.end == self.start

    def write(self, kind: int, payload: bytes) -> int:
        """Append a record without waiting for the disk; its offset. Hot: one checksum, one system call.

        NoSpace, StorageFailed; then the segment is as it was.
        """
        offset = self.end
        head, crc = encode_record(self.header.salt, self.seed, offset, self.chain, kind, self.synced, payload)
        try:
            written = write_at(self.fd, [head, payload], offset)
        except OSError as error:
            raise from_os(error, f"log: can't write {self.path}") from error
        self.chain = crc
        self.end = offset + written
        if self.end + ZERO_MARGIN > self.zeroed:
            self._zero_ahead()
        return offset

    def _zero_ahead(self) -> None:
        """Write zeros where the next records go.

        Preallocated blocks that were never written make each fdatasync commit the file system's journal too: with
        three members on one disk 400 µs instead of 270. On the loop, because zeros from another thread could fall on
        records; a failure costs nothing but that time.
        """
        start = max(self.zeroed, self.end)
        length = min(len(_ZEROS), self.capacity - start)
        if length <= 0:
            self.zeroed = sys.maxsize  # nothing is left to fill
            return
        with contextlib.suppress(OSError):
            os.pwrite(self.fd, _ZEROS[:length], start)
        self.zeroed = start + length

    def read(self, offset: int) -> Record:
        """The record at an offset where one was written. LogDamaged if it is no longer what it was; StorageFailed."""
        try:
            head = os.pread(self.fd, RECORD.size, offset)
            length = RECORD.unpack(head)[3] if len(head) == RECORD.size else 0
            data = os.pread(self.fd, RECORD.size + min(length, self.end - offset), offset)
        except OSError as error:
            raise from_os(error, f"log: can't read {self.path} at offset {offset}") from error
        record = decode_record(data, 0, offset, self.header.salt, self.seed)
        if record is None:
            raise LogDamaged(f"{self.path}: record at offset {offset} has rotted since it was written; {CURE}")
        return record

    def give_name(self) -> None:
        """Turn the temporary name into the final one, durably. OSError."""
        target = self.path.with_name(file_name(self.header))
        os.rename(self.path, target)
        self.path = target
        sync_directory(target.parent)
        self.named = True

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fd)


CURE = (
    "nothing was changed; restore this file from a copy, or remove this member from the cluster "
    "and add it again with an empty data directory"
)


def _read_all(fd: int) -> tuple[bytes, int]:
    """The content but for the hole at its end, and the file's size. Nobody reads 64 MiB of zeros."""
    size = os.fstat(fd).st_size
    end = _written_end(fd, size)
    parts: list[bytes] = []
    at = 0
    while at < end:
        part = os.pread(fd, end - at, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts), size


def _written_end(fd: int, size: int) -> int:
    """Behind it there is nothing but a hole, which reads as zeros; `size` where the file system cannot tell."""
    end = 0
    try:
        while end < size:
            end = os.lseek(fd, os.lseek(fd, end, os.SEEK_DATA), os.SEEK_HOLE)
    except OSError as error:
        if error.errno != errno.ENXIO:  # no more data
            return size
    return end
