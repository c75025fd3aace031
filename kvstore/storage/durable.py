"""Files that are whole or absent, and directories that remember them.

A rename is atomic but not durable, and a created file is lost with its directory entry (OSDI '14): so every step that
changes a directory ends in an fsync of it.
Faults assumed: a crash between any two calls; then the old file is whole, or the new one is.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_FALLOC_FL_KEEP_SIZE = 1
_libc = ctypes.CDLL(None, use_errno=True)


def sync_directory(path: Path) -> None:
    """Make the names in the directory durable. OSError if the disk refuses."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: Path) -> None:
    """Make a directory, unless it is there, and what is missing above it; all names are durable then. OSError."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_file(path: Path) -> None:
    """Make a file's content durable, whoever wrote it. OSError if the disk refuses."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write or replace a small file, durably: under a temporary name, fsync, rename, fsync of the directory."""
    temporary = path.with_name(path.name + ".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        write_at(fd, [data], 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    rename(temporary, path)


def rename(source: Path, target: Path) -> None:
    """Give a synced file its name, durably. Both names are in one directory."""
    os.rename(source, target)
    sync_directory(target.parent)


def write_at(fd: int, parts: list[bytes], offset: int) -> int:
    """Write all parts from offset on; the number of bytes. One system call unless the kernel takes only a part."""
    total = sum(map(len, parts))
    written = os.pwritev(fd, parts, offset)
    if written < total:
        rest = b"".join(parts)
        while written < total:
            written += os.pwrite(fd, rest[written:], offset + written)
    return total


def reserve(fd: int, offset: int, length: int) -> None:
    """Take disk blocks for a range without changing the file's size. OSError when the disk is full.

    Not posix_fallocate: where the file system can't, glibc writes into the range instead, which is not safe beside
    another writer. File systems that can't reserve are left alone.
    """
    result = _libc.fallocate(fd, _FALLOC_FL_KEEP_SIZE, ctypes.c_long(offset), ctypes.c_long(length))
    if result != 0 and ctypes.get_errno() not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
