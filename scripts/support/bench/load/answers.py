"""How the answers to unary calls look: three frames in a row, of which but the stream and the message's length change.

So one pattern finds all whole answers of a read, where a loop over frames would cost as much as a good server needs for
the call. What it does not find goes the general way, frame by frame.

Invariant: what is cut out is HEADERS, one DATA with one whole message, and HEADERS that end the stream, all of one
stream, with the very header blocks of an answer that was taken apart before.
"""

from __future__ import annotations

import re

from support.bench.load import frames

_HEAD = 9
_MESSAGE = 5
# Lengths of messages that are known at once: a get's and a put's, and one octet more when the revision has grown.
_LENGTHS = 6


class Answers:
    """What is known of one connection's."""

    def __init__(self) -> None:
        self._pattern: re.Pattern[bytes] | None = None
        self._blocks: tuple[bytes, bytes] = b"", b""
        self._lengths: list[int] = []

    def cut_out(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        """The streams (as on the wire) of the answers in it, in order, and everything else. Hot."""
        if self._pattern is None:
            return [], buffer
        parts = self._pattern.split(buffer)
        return parts[1::2], b"".join(parts[::2])

    def learn(self, buffer: bytes) -> None:
        """It begins with a frame, and perhaps with an answer: later ones will be known by it."""
        found = _three(buffer)
        if found is None:
            return
        blocks, length = found
        if blocks != self._blocks:
            # A server's first answers differ until its header table is filled.
            self._blocks, self._lengths = blocks, []
        if length not in self._lengths:
            self._lengths = [*self._lengths, length][-_LENGTHS:]
        self._pattern = re.compile(self._source(), re.DOTALL)

    def _source(self) -> bytes:
        first, last = self._blocks
        data = b"|".join(
            b"%b\\1%b.{%d}" % (_start(length + _MESSAGE, frames.DATA, 0), _prefix(length), length)
            for length in self._lengths
        )
        begin = _start(len(first), frames.HEADERS, frames.END_HEADERS)
        end = _start(len(last), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM)
        return b"%b(.{4})%b(?:%b)%b\\1%b" % (begin, re.escape(first), data, end, re.escape(last))


def _start(length: int, kind: int, flags: int) -> bytes:
    """A frame's head up to its stream."""
    return re.escape(frames.frame(kind, flags, 0, bytes(length))[: _HEAD - 4])


def _prefix(length: int) -> bytes:
    return re.escape(b"\0" + length.to_bytes(4, "big"))


def _three(buffer: bytes) -> tuple[tuple[bytes, bytes], int] | None:
    """Both header blocks and the message's length, if three frames stand there that are an answer."""
    parts, at = [], 0
    for _ in range(3):
        end = at + _HEAD + int.from_bytes(buffer[at : at + 3], "big")
        if end > len(buffer) or end < at + _HEAD:
            return None
        parts.append((buffer[at + 3], buffer[at + 4], buffer[at + 5 : at + _HEAD], buffer[at + _HEAD : end]))
        at = end
    (*first, block), (*data, message), (*last, trailers) = parts
    stream = first[2]
    whole = [frames.HEADERS, frames.END_HEADERS, stream], [frames.DATA, 0, stream]
    if (first, data) != whole or last != [frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream]:
        return None
    if message[:_MESSAGE] != b"\0" + (len(message) - _MESSAGE).to_bytes(4, "big"):
        return None
    return (block, trailers), len(message) - _MESSAGE
