"""Which keys belong to which lease, on disk.

Table `lease_keys`: lease id (8 bytes) + key → nothing. Only keys that have a lease cost anything, a restart reads none
of them, and memory does not grow with them. A key too long for the engine stands there as prefix + SHA-256, with the
whole key as the value.

Invariant: written in the same transaction as the key-values and the leases, so they never disagree after a crash.
"""

from __future__ import annotations

import hashlib

from kvstore.mvcc.types import Table, Tables

# LMDB takes keys of up to 511 bytes. A shortened key is a byte longer than the longest whole one: they cannot meet.
_LONGEST_WHOLE = 480
_PREFIX = _LONGEST_WHOLE + 1 - hashlib.sha256().digest_size


def lease_bytes(lease: int) -> bytes:
    """8 bytes, big-endian, two's complement: ids are int64."""
    return lease.to_bytes(8, "big", signed=True)


class LeaseKeys:
    """The attachments of every lease."""

    def __init__(self, tables: Tables) -> None:
        self._table: Table = tables.table("lease_keys")

    def attach(self, lease: int, key: bytes) -> None:
        """The key belongs to the lease from now on; attaching twice changes nothing."""
        short = _shorten(key)
        self._table.put(lease_bytes(lease) + short, b"" if short == key else key)

    def detach(self, lease: int, key: bytes) -> None:
        """The key no longer belongs to the lease; nothing happens if it did not."""
        self._table.delete(lease_bytes(lease) + _shorten(key))

    def keys(self, lease: int) -> list[bytes]:
        """Every key of the lease, sorted."""
        return sorted(whole or row[8:] for row, whole in self._rows(lease))

    def drop(self, lease: int) -> None:
        """Forget all attachments of a lease."""
        for row, _ in self._rows(lease):
            self._table.delete(row)

    def _rows(self, lease: int) -> list[tuple[bytes, bytes]]:
        # A list, because the table must not be written during a scan.
        prefix = lease_bytes(lease)
        beyond = (int.from_bytes(prefix, "big") + 1).to_bytes(9, "big")
        return list(self._table.scan(prefix, beyond[1:] if beyond[0] == 0 else None))


def _shorten(key: bytes) -> bytes:
    if len(key) <= _LONGEST_WHOLE:
        return key
    return key[:_PREFIX] + hashlib.sha256(key).digest()
