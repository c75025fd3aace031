"""What can go wrong below the store. Each message is one line that names the file, the cause and the cure."""

from __future__ import annotations

import errno

# EFBIG is what a file-size limit (ulimit -f) answers: as full as a full disk, and as curable.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StorageError(Exception):
    """Any refusal of this package."""


class DataDirError(StorageError):
    """The data directory can't be used as it is; nothing in it was changed."""


class LogDamaged(StorageError):
    """The write-ahead log holds less, or other, than what was once durable; nothing in it was changed."""


class BackendDamaged(StorageError):
    """The backend's file is not one that we left behind; nothing in it was changed."""


class NoSpace(StorageError):
    """The disk or the quota is full. What was asked for did not happen; it can be asked again after space was freed."""


class StorageFailed(StorageError):
    """The disk refused a write or an fsync: what the page cache holds can't be trusted, so the process must stop.

    Never retried: after a failed fsync the kernel takes the lost pages for clean, and a second fsync succeeds.
    """


def from_os(error: OSError, what: str) -> StorageError:
    """The error to raise for a failed write: NoSpace if more space would cure it, else StorageFailed."""
    if is_full(error):
        return NoSpace(f"{what}: no space left ({error.strerror}); free space on this file system or raise the quota")
    return StorageFailed(f"{what}: {error.strerror or error}; check the disk, then start this member again")


def is_full(error: OSError) -> bool:
    """Whether the error goes away when space is freed."""
    return error.errno in _FULL
