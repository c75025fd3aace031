"""What one user may read and write: the permissions of all their roles, merged into ranges that do not touch.

Invariants: `_begins` and `_ends` are sorted and of one length; the ranges neither overlap nor touch, so a range of keys
is permitted exactly if one of them holds it whole. An end of None is beyond every key.
Follows etcd's rules (server/auth): an empty range_end is the one key, "\\0" is every key from the first on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from kvstore.pb.etcd_pb2 import Permission, Role

_OPEN = b"\0"


def is_valid_range(key: bytes, range_end: bytes) -> bool:
    """Whether a permission may be granted on it: a key, and an end that is behind it."""
    return bool(key) and (not range_end or range_end == _OPEN or key < range_end)


class KeyRanges:
    """A union of half-open ranges of keys."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, ranges: Iterable[tuple[bytes, bytes]]) -> None:
        """ranges: (key, range_end) as in a Permission, in any order; empty ones count for nothing."""
        self._begins: list[bytes] = []
        self._ends: list[bytes | None] = []
        for begin, range_end in sorted(ranges):
            end = None if range_end == _OPEN else range_end or begin + b"\0"
            if end is None or begin < end:
                self._add(begin, end)

    def _add(self, begin: bytes, end: bytes | None) -> None:
        """Add a range that begins behind all others."""
        if self._begins:
            last = self._ends[-1]
            if last is None:
                return
            if begin <= last:
                self._ends[-1] = None if end is None else max(last, end)
                return
        self._begins.append(begin)
        self._ends.append(end)

    def hold(self, key: bytes, range_end: bytes) -> bool:
        """Whether every key of the range is in the union. Of a range that ends before it begins, the key counts."""
        at = bisect_right(self._begins, key) - 1
        if at < 0:
            return False
        end = self._ends[at]
        if end is None:
            return True
        if key >= end:
            return False
        return range_end != _OPEN and (not range_end or range_end <= end)


class Permissions:
    """The merged permissions of one user."""

    __slots__ = ("_read", "_write", "all")

    def __init__(self, roles: Iterable[Role], *, root: bool) -> None:
        """root: the user has the role root, and may do everything."""
        granted = [permission for role in roles for permission in role.keyPermission]
        self.all = root
        self._read = _of(granted, Permission.READ)
        self._write = _of(granted, Permission.WRITE)

    def may_read(self, key: bytes, range_end: bytes) -> bool:
        """Whether the user may read the key or the whole range."""
        return self.all or self._read.hold(key, range_end)

    def may_write(self, key: bytes, range_end: bytes) -> bool:
        """Whether the user may write the key or the whole range."""
        return self.all or self._write.hold(key, range_end)


def _of(granted: Iterable[Permission], kind: Permission.Type) -> KeyRanges:
    wanted = (kind, Permission.READWRITE)
    return KeyRanges((p.key, p.range_end) for p in granted if p.permType in wanted)
