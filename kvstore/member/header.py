"""ResponseHeader, encoded once but for what changes: the revision, and the term when there is a new one."""

from __future__ import annotations

from kvstore.varint import SPLIT, split_varint, varint


class Headers:
    """The encoder for one member's headers."""

    def __init__(self, cluster_id: int, member_id: int) -> None:
        self._ids = b"\x08" + varint(cluster_id) + b"\x10" + varint(member_id) + b"\x18"
        # The last one that was asked for: many answers have the same.
        self._revision, self._field = -1, b""
        self.set_term(0)

    def set_term(self, term: int) -> None:
        """From here on headers carry this Raft term."""
        self._term = b"\x20" + varint(term) if term else b""
        self._revision = -1
        rest = len(self._ids) + len(self._term)
        # Never above 127 bytes: one byte of length. By the length of the revision, which is one to ten bytes.
        self._begin = [b"\x0a" + bytes((rest + length,)) + self._ids for length in range(11)]

    def encode(self, revision: int) -> bytes:
        """The message's bytes."""
        return self._ids + varint(revision) + self._term

    def field(self, revision: int) -> bytes:
        """The header as field 1 of a response: the whole of most responses to writes."""
        if revision != self._revision:
            number = varint(revision)
            self._revision, self._field = revision, self._begin[len(number)] + number + self._term
        return self._field

    def fields(self, first: int, count: int) -> list[bytes]:
        """field() of so many revisions, from `first` on."""
        lows, high, end = split_varint(first)
        at = first & SPLIT
        length = len(lows[at]) + len(high)
        if first + count > end or len(lows[at + count - 1]) + len(high) != length:
            return [self.field(revision) for revision in range(first, first + count)]
        begin, rest = self._begin[length], high + self._term
        return [begin + low + rest for low in lows[at : at + count]]
