"""Unary calls: many in flight, each answered call makes room for the next (a closed loop); or one after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from support.bench.load import frames
from support.bench.load.answers import Answers
from support.bench.load.headers import SHAPES, Blocks, Shape
from support.bench.load.link import READ, Link, closed, drive
from support.bench.sample import Sample, summary

Request = tuple[str, bytes]  # method's path, encoded message
PLAIN = SHAPES["plain"]
# Seconds at the beginning that do not count.
_WARM_UP = 0.5


class Caller(Link):
    """One connection with its prepared requests, `streams` in flight until `until` (perf_counter) or their end."""

    def __init__(self, endpoint: str, requests: Iterable[Request], streams: int, shape: Shape = PLAIN) -> None:
        super().__init__(endpoint)
        self.until = float("inf")
        # When a call ended, and how long it took (both in seconds), in the order of the ends.
        self.ends: list[float] = []
        self.took: list[float] = []
        self._streams = streams
        self._begun: dict[bytes, float] = {}
        self._answered: set[bytes] = set()
        self._answers = Answers()
        self._requests = deque(self._encoded(requests, shape))

    def _encoded(self, requests: Iterable[Request], shape: Shape) -> Iterator[tuple[bytes, bytes, int]]:
        """(stream id, all frames of the call, bytes of flow control)."""
        known = Blocks(shape, self.endpoint, self.table)
        for number, (path, message) in enumerate(requests):
            stream = 2 * number + 1
            head = frames.frame(frames.HEADERS, frames.END_HEADERS, stream, known.next(path))
            yield stream.to_bytes(4, "big"), head + frames.data(stream, message, last=True), len(message) + 5

    @property
    def done(self) -> bool:
        return not self._begun and (not self._requests or time.perf_counter() >= self.until)

    def stop(self) -> None:
        """Send nothing more."""
        self.until = 0.0

    def start(self) -> None:
        self.turn()

    def receive(self) -> None:
        """Take what came. Hot."""
        chunk = self.socket.recv(READ) or closed()
        streams, rest = self._answers.cut_out(self._rest + chunk if self._rest else chunk)
        self._rest = b""
        if streams:
            now, begun = time.perf_counter(), self._begun
            self.took += [now - begun.pop(stream) for stream in streams]
            self.ends += [now] * len(streams)
        if rest:
            self._answers.learn(rest)
            self.take(rest)
        self.turn()

    def data(self, stream: bytes, buffer: bytes, start: int, end: int) -> None:
        self._answered.add(stream)

    def ended(self, stream: bytes) -> None:
        now = time.perf_counter()
        if stream not in self._answered:
            raise RuntimeError(f"{self.endpoint} refused a call")
        self._answered.discard(stream)
        self.ends.append(now)
        self.took.append(now - self._begun.pop(stream))

    def turn(self) -> None:
        """Send as many requests as may be in flight and as the server's window allows."""
        now = time.perf_counter()
        if now >= self.until:
            return
        out = []
        while self._requests and len(self._begun) < self._streams and self._requests[0][2] <= self.window:
            stream, data, size = self._requests.popleft()
            self._begun[stream] = now
            self.window -= size
            out.append(data)
        if out:
            self.socket.sendall(b"".join(out))


def closed_loop(callers: Sequence[Caller], seconds: float | None = None) -> Sample:
    """Drive them for so long, or until all requests are answered, and sum up what came after a short warm-up."""
    began = time.perf_counter()
    warm = began + (min(_WARM_UP, seconds / 4) if seconds else 0.0)
    for caller in callers:
        caller.until = began + seconds if seconds else float("inf")
    try:
        drive(callers)
    finally:
        for caller in callers:
            caller.close()
    pairs = [pair for caller in callers for pair in zip(caller.ends, caller.took, strict=True) if pair[0] >= warm]
    # A connection that ran out of requests early ends the measurement for all.
    last = min(caller.ends[-1] for caller in callers if caller.ends)
    counted = [took * 1000 for end, took in pairs if end <= last]
    total = sum(len(caller.ends) for caller in callers)
    return summary(len(counted) / (last - warm), counted, total)


def spread(
    endpoint: str,
    requests: Iterator[Request],
    count: int,
    connections: int,
    streams: int,
    shape: Shape = PLAIN,
) -> list[Caller]:
    """`count` requests over so many connections with so many in flight on each."""
    each = -(-count // connections)
    return [Caller(endpoint, list(islice(requests, each)), streams, shape) for _ in range(connections)]


class Single(Link):
    """One call at a time, which blocks: for what is asked rarely and must be timed."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self._blocks = Blocks(SHAPES["plain"], endpoint, self.table)
        self._stream = -1
        self._parts: list[bytes] = []
        self._over = True
        self.keep = True
        self.octets = 0

    @property
    def done(self) -> bool:
        return self._over

    def data(self, stream: bytes, buffer: bytes, start: int, end: int) -> None:
        self.octets += end - start
        if self.keep:
            self._parts.append(buffer[start:end])

    def ended(self, stream: bytes) -> None:
        self._over = True

    def call(self, path: str, message: bytes, timeout: float = 120.0) -> bytes:
        """The answer's encoded message. RuntimeError if the call was refused, TimeoutError when nothing comes."""
        answer = self.raw(path, message, timeout)
        if self.keep and len(answer) < 5:
            raise RuntimeError(f"{self.endpoint} refused {path}")
        return answer[5:]

    def raw(self, path: str, message: bytes, timeout: float = 120.0) -> bytes:
        """All messages of the answer with their prefixes; empty when `keep` is off (`octets` counts them)."""
        self.begin(path, message)
        drive([self], silence=timeout)
        if not self.octets:
            raise RuntimeError(f"{self.endpoint} refused {path}")
        return b"".join(self._parts)

    def begin(self, path: str, message: bytes) -> None:
        """Send a call; the answer is waited for with drive()."""
        self._stream += 2
        self._over, self._parts, self.octets = False, [], 0
        head = frames.frame(frames.HEADERS, frames.END_HEADERS, self._stream, self._blocks.next(path))
        self.socket.sendall(head + frames.data(self._stream, message, last=True))
