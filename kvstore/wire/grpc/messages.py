"""Length-prefixed messages: one flag octet, four of length, the message. They may be cut anywhere by DATA frames."""

from __future__ import annotations

from struct import Struct

from kvstore.errors import Code, EtcdError

PREFIX = Struct(">BI")
PREFIX_SIZE = 5


class MessageReader:
    """Puts messages together. Invariant: `held` is the sum of what is kept of an unfinished one, prefix included."""

    __slots__ = ("_limit", "_need", "_parts", "held")

    def __init__(self, limit: int) -> None:
        self._limit = limit
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
            messages.append(whole[at + PREFIX_SIZE : stop])
            at = stop
        self.held = end - at
        if self.held:
            self._parts.append(whole[at:] if at else whole)
        return messages

    def _length(self, whole: bytes, at: int) -> int:
        flag, length = PREFIX.unpack_from(whole, at)
        if flag:
            raise compressed(flag)
        if length > self._limit:
            raise too_large(length, self._limit)
        return int(length)


def compressed(flag: int) -> EtcdError:
    """We accept identity only."""
    if flag == 1:
        return EtcdError(Code.UNIMPLEMENTED, "grpc: compressed messages are not supported, use identity")
    return EtcdError(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")


def too_large(length: int, limit: int) -> EtcdError:
    """grpc-go's text, which clients match."""
    return EtcdError(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({length} vs. {limit})")
