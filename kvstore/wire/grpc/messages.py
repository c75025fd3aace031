"""Length-prefixed messages: one flag octet, four of length, the message. They may be cut anywhere by DATA frames."""

from __future__ import annotations

import zlib
from struct import Struct

from kvstore.errors import Code, EtcdError

PREFIX = Struct(">BI")
PREFIX_SIZE = 5
# A frame's head and the prefix of the message that its DATA begins with, in one.
HEAD_AND_PREFIX = Struct(">IBIBI")


class MessageReader:
    """Puts messages together. Invariant: `held` is the sum of what is kept of an unfinished one, prefix included."""

    __slots__ = ("_gzip", "_limit", "_need", "_parts", "held")

    def __init__(self, limit: int, gzip: bool = False) -> None:
        """limit: bytes of a message, unpacked too. gzip: whether the sender said that it may compress."""
        self._limit = limit
        self._gzip = gzip
        self._parts: list[bytes] = []
        self._need = PREFIX_SIZE
        self.held = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that these octets complete. EtcdError for one that is too long or compressed."""
        self._parts.append(data)
        self.held += len(data)
        if self.held < self._need:
            return []
        whole = data if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        return self._cut(whole)

    def _cut(self, whole: bytes) -> list[bytes]:
        messages = []
        at, end = 0, len(whole)
        self._need = PREFIX_SIZE
        while end - at >= PREFIX_SIZE:
            stop = at + PREFIX_SIZE + self._length(whole, at)
            if stop > end:
                self._need = stop - at
                break
            message = whole[at + PREFIX_SIZE : stop]
            messages.append(self._inflate(message) if whole[at] else message)
            at = stop
        self.held = end - at
        if self.held:
            self._parts.append(whole[at:] if at else whole)
        return messages

    def _length(self, whole: bytes, at: int) -> int:
        flag, length = PREFIX.unpack_from(whole, at)
        if flag and not (flag == 1 and self._gzip):
            raise compressed(flag)
        if length > self._limit:
            raise too_large(length, self._limit)
        return int(length)

    def _inflate(self, message: bytes) -> bytes:
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            unpacked = member.decompress(message, self._limit + 1)
        except zlib.error as fault:
            raise _no_gzip(str(fault)) from None
        if len(unpacked) > self._limit:
            raise too_large(len(unpacked), self._limit)
        # Its checksum is behind the end of what it holds: a member that is not whole may hold anything.
        if not member.eof:
            raise _no_gzip("unexpected EOF")
        # Go's reader would take a second member for more of the first. No client sends one; thousands of empty ones
        # would cost more than they are worth.
        if member.unused_data:
            raise _no_gzip("gzip: invalid header")
        return unpacked


def _no_gzip(reason: str) -> EtcdError:
    return EtcdError(Code.INTERNAL, f"grpc: failed to decompress the received message: {reason}")


def compressed(flag: int) -> EtcdError:
    """Only what grpc-encoding announced is accepted."""
    if flag == 1:
        return EtcdError(Code.UNIMPLEMENTED, "grpc: compressed messages are not supported, use identity")
    return EtcdError(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")


def too_large(length: int, limit: int) -> EtcdError:
    """grpc-go's text, which clients match."""
    return EtcdError(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({length} vs. {limit})")
