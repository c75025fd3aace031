"""ResponseHeader, encoded once but for what changes: the revision, and the term when there is a new one."""

from __future__ import annotations

from kvstore.mvcc.encoding import varint


class Headers:
    """The encoder for one member's headers."""

    def __init__(self, cluster_id: int, member_id: int) -> None:
        self._ids = b"\x08" + varint(cluster_id) + b"\x10" + varint(member_id) + b"\x18"
        self._term = b""

    def set_term(self, term: int) -> None:
        """From here on headers carry this Raft term."""
        self._term = b"\x20" + varint(term) if term else b""

    def encode(self, revision: int) -> bytes:
        """The message's bytes."""
        return self._ids + varint(revision) + self._term

    def field(self, revision: int) -> bytes:
        """The header as field 1 of a response: the whole of most responses to writes."""
        body = self._ids + varint(revision) + self._term
        return b"\x0a" + bytes((len(body),)) + body  # never above 127 bytes: one byte of length
