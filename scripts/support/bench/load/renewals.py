"""Renewals of leases on open streams: each stream renews its leases in turn, always so many of them in flight.

What a renewal costs here must not be what is measured. While nothing is written all answers have one length and differ
in the stream's and the lease's number only, so one pattern, with every octet of frame head, prefix and TTL, finds all
that are in a read. What is left when they are cut out must be whole frames: these are taken apart one by one, and an
answer among them shows how the answers look from there on.

Invariant: `answered` counts answers of which frame, message and TTL have been seen, each of them.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Sequence

from google.protobuf.message import DecodeError

from kvstore.pb.etcd_pb2 import LeaseKeepAliveRequest, LeaseKeepAliveResponse
from support.bench.load import frames
from support.bench.load.headers import SHAPES, Blocks
from support.bench.load.link import READ, Link, closed

_KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
# Where a frame's stream number has its last octet, which tells the streams of one connection apart.
_STREAM = 8
_HEAD = 9
_MOST_STREAMS = 127


class Renewals(Link):
    """One connection with `streams` streams. leases: shared out among them; depth: renewals in flight on each.

    seconds: for how long, from start() on. ValueError for more streams than one octet numbers.
    """

    def __init__(self, endpoint: str, leases: Sequence[int], streams: int, seconds: float, depth: int = 1) -> None:
        if streams > _MOST_STREAMS:
            raise ValueError(f"{streams} streams on one connection; at most {_MOST_STREAMS}")
        super().__init__(endpoint)
        self.answered = 0
        self._seconds, self._until = seconds, float("inf")
        self._depth = depth
        self._waiting = 0
        # Octet of the stream's number → its requests, over and over.
        self._requests: dict[bytes, Iterator[bytes]] = {}
        self._shape = _Shape()
        self._seen: list[bytes] = []
        blocks = Blocks(SHAPES["plain"], endpoint, self.table)
        for n in range(streams):
            stream = 2 * n + 1
            self._requests[bytes([stream])] = itertools.cycle([_request(stream, lease) for lease in leases[n::streams]])
            block = blocks.next(_KEEP_ALIVE)
            self.socket.sendall(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block))

    @property
    def done(self) -> bool:
        return not self._waiting and time.perf_counter() >= self._until

    def start(self) -> None:
        self._until = time.perf_counter() + self._seconds
        self._renew(list(self._requests) * self._depth)

    def _renew(self, streams: Sequence[bytes]) -> None:
        """One more renewal for each of these, which may be named more than once."""
        self._waiting += len(streams)
        self.socket.sendall(b"".join(map(next, map(self._requests.__getitem__, streams))))

    def receive(self) -> None:
        """Take what came. Hot."""
        chunk = self.socket.recv(READ) or closed()
        streams, rest = self._shape.cut_out(self._rest + chunk if self._rest else chunk)
        self._rest = b""
        if rest:
            self._seen = streams
            self.take(rest)
        self.answered += len(streams)
        self._waiting -= len(streams)
        if streams and time.perf_counter() < self._until:
            self._renew(streams)

    def data(self, stream: bytes, buffer: bytes, start: int, end: int) -> None:
        self._shape.learn(self.endpoint, buffer[start - _HEAD : end])
        self._seen.append(stream[-1:])

    def ended(self, stream: bytes) -> None:
        raise RuntimeError(f"{self.endpoint} ended a stream of renewals")


class _Shape:
    """What the answers look like: nothing is known at first."""

    def __init__(self) -> None:
        self._answer: re.Pattern[bytes] | None = None
        self._size = 0

    def learn(self, endpoint: str, frame: bytes) -> None:
        """Look at one DATA frame. RuntimeError unless it is the renewal of a lease that lives."""
        message = frame[_HEAD + 5 :]
        try:
            if frame[_HEAD:] != frames.message(message):
                raise RuntimeError(f"{endpoint} sends a renewal in pieces")
            ttl = LeaseKeepAliveResponse.FromString(message).TTL
        except DecodeError as problem:
            raise RuntimeError(f"{endpoint} does not answer a renewal: {message!r}") from problem
        if ttl <= 0:
            raise RuntimeError(f"{endpoint} does not know a lease that was granted")
        tail = LeaseKeepAliveResponse(TTL=ttl).SerializeToString()
        if not message.endswith(tail):
            raise RuntimeError(f"{endpoint} puts something behind the TTL: {message!r}")
        self._size = len(frame)
        head, prefix, between = frame[:_STREAM], frame[_HEAD : _HEAD + 5], len(message) - len(tail)
        self._answer = re.compile(
            b"%b(.)%b.{%d}%b" % (re.escape(head), re.escape(prefix), between, re.escape(tail)), re.DOTALL
        )

    def cut_out(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        """The streams' octets of the answers in the buffer, and everything else that is in it. Hot."""
        if self._answer is None:
            return [], buffer
        streams: list[bytes] = self._answer.findall(buffer)
        if len(streams) * self._size == len(buffer):
            return streams, b""
        return streams, self._answer.sub(b"", buffer)


def _request(stream: int, lease: int) -> bytes:
    return frames.data(stream, LeaseKeepAliveRequest(ID=lease).SerializeToString(), last=False)
