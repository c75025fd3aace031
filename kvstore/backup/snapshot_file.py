"""A snapshot file: a bbolt database, and behind it the SHA-256 of all of it unless it was taken from a data directory.

Which of the two it is, its length says: a database is whole pages, so a file that ends 32 bytes behind a multiple of
512 has the checksum (as etcd decides it).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvstore.storage.bolt import BoltDamaged, BoltFile

DIGEST_BYTES = hashlib.sha256().digest_size
_SECTOR = 512
_READ_BYTES = 1 << 20


def has_checksum(size: int) -> bool:
    """Whether a snapshot file of that many bytes ends in a checksum."""
    return size % _SECTOR == DIGEST_BYTES


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BoltFile]:
    """The database in a snapshot file. BoltDamaged, OSError."""
    size = os.stat(path).st_size
    with BoltFile(path, size - DIGEST_BYTES if has_checksum(size) else size) as bolt:
        yield bolt


def verify_checksum(path: str | os.PathLike[str]) -> None:
    """Raises BoltDamaged if the checksum is missing or another one than that of the database; OSError."""
    size = os.stat(path).st_size
    if not has_checksum(size):
        raise BoltDamaged(
            "snapshot missing hash but --skip-hash-check=false: the file is cut, or was copied from a data directory"
        )
    with Path(path).open("rb") as file:
        digest = hashlib.sha256()
        left = size - DIGEST_BYTES
        while left and (data := file.read(min(_READ_BYTES, left))):
            digest.update(data)
            left -= len(data)
        expected = file.read(DIGEST_BYTES)
    if digest.digest() != expected:
        raise BoltDamaged(f"expected sha256 {expected.hex()}, got {digest.hexdigest()}: {path} is cut or was altered")
