"""What `snapshot status` says of a file: the same hash, revision, number of keys and size as etcdutl."""

from __future__ import annotations

import os
from dataclasses import dataclass

import google_crc32c

from kvstore.backup import rows, snapshot_file


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """hash: CRC-32C over all buckets. total_key: rows of all buckets. total_size: bytes of the database."""

    hash: int
    revision: int
    total_key: int
    total_size: int


def status(path: str | os.PathLike[str]) -> SnapshotStatus:
    """Read a snapshot file from beginning to end. BoltDamaged, OSError."""
    value, revision, total = 0, 0, 0
    extend = google_crc32c.extend
    with snapshot_file.opened(path) as bolt:
        for name in bolt.buckets():
            value = extend(value, name)
            key = b""
            for key, content in bolt.bucket(name):
                value = extend(value, key + content)
                total += 1
            if name == rows.KEY and key:
                try:
                    revision = rows.parse_revision(key)[0] >> 32
                except ValueError as problem:
                    raise bolt.damaged(str(problem)) from None
        return SnapshotStatus(value, revision, total, bolt.data_bytes)
