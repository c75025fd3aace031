"""Watches that count what comes without taking it apart."""

from __future__ import annotations

import time

from kvstore.pb.etcd_pb2 import WatchCreateRequest, WatchRequest
from support.bench.load import frames
from support.bench.load.headers import SHAPES, Blocks
from support.bench.load.link import Link, closed, drive

# Octets taken at once.
_READ = 1 << 20
_WATCH = "/etcdserverpb.Watch/Watch"


class Watches(Link):
    """One connection with one stream of `count` equal watches of a prefix; made when all of them are created.

    Afterwards it looks for the last event only, a put of a key that ends in `mark`: events come in order, so who has
    seen that one has seen all. The octets are searched as they come, frame heads included: nothing costs less. A mark
    may be cut in two by a frame head, then it is missed, and the caller puts another.
    """

    def __init__(self, endpoint: str, prefix: bytes, count: int) -> None:
        super().__init__(endpoint)
        self._wanted, self._seen, self._messages = count, 0, 0
        self._mark, self._partial = b"", b""
        # Octets are looked at where they are put; and how many of those before are still there.
        self._buffer = bytearray(_READ)
        self._view = memoryview(self._buffer)
        self._kept = 0
        # When something came last, by perf_counter.
        self.last = 0.0
        block = Blocks(SHAPES["plain"], endpoint, self.table).next(_WATCH)
        create = WatchCreateRequest(key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1]))
        message = WatchRequest(create_request=create).SerializeToString()
        head = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block)
        self.socket.sendall(head + frames.data(1, message, last=False) * count)
        drive([self])

    @property
    def done(self) -> bool:
        return self._seen >= self._wanted if self._mark else self._messages >= self._wanted

    def data(self, stream: bytes, buffer: bytes, start: int, end: int) -> None:
        self._partial += buffer[start:end]
        while len(self._partial) >= 5 and len(self._partial) >= 5 + int.from_bytes(self._partial[1:5], "big"):
            self._partial = self._partial[5 + int.from_bytes(self._partial[1:5], "big") :]
            self._messages += 1

    def ended(self, stream: bytes) -> None:
        raise RuntimeError(f"{self.endpoint} ended the watch")

    def expect_one(self) -> None:
        """From now on: wait for one more message."""
        self._wanted = self._messages + 1

    def expect(self, mark: bytes) -> None:
        """From now on: wait for the events with this mark, one for each watch."""
        self._mark, self._seen, self._kept = mark, 0, 0

    def receive(self) -> None:
        """Take what came. Hot: one copy out of the kernel, and one look at it."""
        if not self._mark:
            super().receive()
            return
        # Behind the last octets of what came before, which are fewer than the mark, so that no mark counts twice.
        end = self._kept + self.socket.recv_into(self._view[self._kept :])
        if end == self._kept:
            closed()
        self.last = time.perf_counter()
        buffer = self._buffer
        self._seen += buffer.count(self._mark, 0, end)
        kept = min(len(self._mark) - 1, end)
        buffer[:kept] = buffer[end - kept : end]
        self._kept = kept
