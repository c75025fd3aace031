"""What a member keeps on its disk: the folder, the write-ahead log and the LMDB backend.

Invariants: a write is durable only after a `sync()` that began after it has returned; nothing is ever cut, replaced or
removed before what takes its place is behind fsync, its directory included.
Faults assumed: the process or the machine stops at any instruction; writes that were not synced reach the disk in any
order, partly or not at all; bytes rot; fsync fails once and then lies (ATC '20); the disk is full.
"""

from kvstore.storage.backend import Backend, ReadView, open_synced, open_view
from kvstore.storage.data_dir import DataDir, Identity
from kvstore.storage.environment import readable
from kvstore.storage.errors import (
    BackendDamaged,
    DataDirError,
    LogDamaged,
    NoSpace,
    StorageError,
    StorageFailed,
)
from kvstore.storage.log import Log

__all__ = [
    "Backend",
    "BackendDamaged",
    "DataDir",
    "DataDirError",
    "Identity",
    "Log",
    "LogDamaged",
    "NoSpace",
    "ReadView",
    "StorageError",
    "StorageFailed",
    "open_synced",
    "open_view",
    "readable",
]
