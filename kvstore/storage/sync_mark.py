"""Which LMDB transaction is known to be on the disk, and what the file looked like then.

LMDB has no checksums. So the mark keeps what a few bytes can keep: the checksum of the meta page, from which LMDB finds
everything else, and the size of the file, behind which LMDB's memory map would kill the process.

Two slots of one sector, written in turn, so that a torn write loses only the newer one: and then the older one names a
transaction that is still whole, because the next commit waits for the mark.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

from google_crc32c import value as _crc32c

from kvstore.storage.durable import sync_directory, write_at
from kvstore.storage.errors import BackendDamaged

_MAGIC = b"FLUYTSY2"
_SLOT = struct.Struct("<8sQQQI")  # magic, sequence, transaction, size, checksum of the meta page
# Marks of releases that did not keep the last two.
_OLD_MAGIC = b"FLUYTSYN"
_OLD_SLOT = struct.Struct("<8sQQ")
_CRC = struct.Struct("<I")
_SLOT_BYTES = 512

# Whatever the file holds is on the disk: before another, synced file takes its name.
ANY = (1 << 64) - 1


class Stamp(NamedTuple):
    """What the file looked like. size: in bytes, it was at least that. meta: CRC-32C of the transaction's meta page."""

    size: int
    meta: int


class SyncMark:
    """The last synced transaction id, durable. stamp: None if it is not known."""

    __slots__ = ("_fd", "_sequence", "path", "stamp", "transaction")

    def __init__(self, path: Path, fd: int, sequence: int, transaction: int, stamp: Stamp | None = None) -> None:
        self.path = path
        self._fd = fd
        self._sequence = sequence
        self.transaction = transaction
        self.stamp = stamp

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
        return cls(path, fd, *max(whole, key=lambda slot: slot[0]))

    def write(self, transaction: int, stamp: Stamp | None = None) -> None:
        """Name another transaction, durably. OSError."""
        self._sequence += 1
        body = _SLOT.pack(_MAGIC, self._sequence, transaction, *(stamp or _UNKNOWN))
        write_at(self._fd, [body, _CRC.pack(_crc32c(body))], self._sequence % 2 * _SLOT_BYTES)
        os.fdatasync(self._fd)
        self.transaction, self.stamp = transaction, stamp

    def close(self) -> None:
        """Let go of the file, once."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


CURE = "or remove this member from the cluster and add it again with an empty data directory"


_UNKNOWN = Stamp(0, 0)


def _read(slot: bytes) -> tuple[int, int, Stamp | None] | None:
    """Sequence, transaction and stamp of a slot; None if it is not whole."""
    form = _OLD_SLOT if slot.startswith(_OLD_MAGIC) else _SLOT
    if len(slot) < form.size + _CRC.size:
        return None
    magic, sequence, transaction, *rest = form.unpack_from(slot)
    (crc,) = _CRC.unpack_from(slot, form.size)
    if magic not in (_MAGIC, _OLD_MAGIC) or crc != _crc32c(slot[: form.size]):
        return None
    stamp = Stamp(*rest) if rest else _UNKNOWN
    return sequence, transaction, stamp if stamp != _UNKNOWN else None
