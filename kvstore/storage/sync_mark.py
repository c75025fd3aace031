"""Which LMDB transaction is known to be on the disk.

Two slots of one sector, written in turn, so that a torn write loses only the newer one: and then the older one names a
transaction that is still whole, because the next commit waits for the mark.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from google_crc32c import value as _crc32c

from kvstore.storage.durable import sync_directory, write_at
from kvstore.storage.errors import BackendDamaged

_MAGIC = b"FLUYTSYN"
_SLOT = struct.Struct("<8sQQ")
_CRC = struct.Struct("<I")
_SLOT_BYTES = 512

# Whatever the file holds is on the disk: before another, synced file takes its name.
ANY = (1 << 64) - 1


class SyncMark:
    """The last synced transaction id, durable."""

    __slots__ = ("_fd", "_sequence", "path", "transaction")

    def __init__(self, path: Path, fd: int, sequence: int, transaction: int) -> None:
        self.path = path
        self._fd = fd
        self._sequence = sequence
        self.transaction = transaction

    @classmethod
    def create(cls, path: Path) -> SyncMark:
        """A mark that says 0, durably, over whatever a crash left. OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        write_at(fd, [bytes(2 * _SLOT_BYTES)], 0)
        mark = cls(path, fd, 0, 0)
        mark.write(0)
        os.fsync(fd)
        sync_directory(path.parent)
        return mark

    @classmethod
    def open(cls, path: Path) -> SyncMark:
        """Read it. BackendDamaged if it is missing or neither slot is whole; OSError."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BackendDamaged(
                f"{path}: missing, so nobody knows what of data.mdb is on the disk; restore it beside that, {CURE}"
            ) from None
        slots = [_read(os.pread(fd, _SLOT_BYTES, at)) for at in (0, _SLOT_BYTES)]
        whole = [slot for slot in slots if slot is not None]
        if not whole:
            os.close(fd)
            raise BackendDamaged(f"{path}: both copies of the sync mark are damaged; restore the backend, {CURE}")
        return cls(path, fd, *max(whole))

    def write(self, transaction: int) -> None:
        """Name another transaction, durably. OSError."""
        self._sequence += 1
        body = _SLOT.pack(_MAGIC, self._sequence, transaction)
        write_at(self._fd, [body, _CRC.pack(_crc32c(body))], self._sequence % 2 * _SLOT_BYTES)
        os.fdatasync(self._fd)
        self.transaction = transaction

    def close(self) -> None:
        """Let go of the file, once."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


CURE = "or remove this member from the cluster and add it again with an empty data directory"


def _read(slot: bytes) -> tuple[int, int] | None:
    if len(slot) < _SLOT.size + _CRC.size:
        return None
    magic, sequence, transaction = _SLOT.unpack_from(slot)
    (crc,) = _CRC.unpack_from(slot, _SLOT.size)
    if magic != _MAGIC or crc != _crc32c(slot[: _SLOT.size]):
        return None
    return sequence, transaction
