"""Watches under load: many watchers of one prefix, puts into it, and how soon each event reaches each watcher.

Every value begins with the moment of its put by this process's clock, so an event's latency includes the put.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count

from kvstore.cli.bench.figures import Measured
from kvstore.cli.bench.lines import Line
from kvstore.cli.bench.requests import PUT, Keys
from kvstore.cli.exits import CommandError
from kvstore.pb import etcd_pb2 as pb
from kvstore.wire.grpc.client_call import ClientCall

_WATCH = "/etcdserverpb.Watch/Watch"
# Digits of a moment in nanoseconds, at the beginning of a value.
STAMP = 20
# What may pass without an event before the rest is taken for lost, in seconds.
_PATIENCE = 10.0


class StampedPuts:
    """Puts whose values say when they were made, filled up to `size` bytes; shared by all clients."""

    def __init__(self, keys: Keys, size: int) -> None:
        self._keys, self._fill = keys, b"v" * (size - STAMP)
        self._numbers = count()

    def request(self) -> tuple[str, bytes]:
        """The next put."""
        key = self._keys.key(next(self._numbers))
        value = b"%0*d" % (STAMP, time.perf_counter_ns()) + self._fill
        return PUT, pb.PutRequest(key=key, value=value).SerializeToString()

    def answered(self, message: bytes) -> str:
        """Nothing to check."""
        return ""


class Watchers:
    """`number` watches of a prefix, spread over the lines, one stream a line; what they hear is measured."""

    def __init__(self, lines: list[Line], number: int, prefix: bytes, measured: Measured) -> None:
        self._measured = measured
        self._count = number
        self._created = 0
        # When something came last, in perf_counter's nanoseconds.
        self._last = 0
        self._heard = asyncio.Event()
        self._problem = ""
        self._calls: list[ClientCall] = []
        create = pb.WatchCreateRequest(key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1]))
        self._create = pb.WatchRequest(create_request=create).SerializeToString()
        for n, line in enumerate(lines[:number]):
            self._open(line, len(range(n, number, len(lines))))

    def _open(self, line: Line, watchers: int) -> None:
        call = line.open(_WATCH, self)
        for _ in range(watchers):
            call.send(self._create)
        self._calls.append(call)

    def message(self, data: bytes) -> None:
        """What a stream says."""
        now = time.perf_counter_ns()
        answer = pb.WatchResponse.FromString(data)
        self._last = now
        self._created += answer.created
        if answer.canceled:
            self._problem = answer.cancel_reason or "the store canceled a watch"
        self._measured.latencies.extend((now - int(event.kv.value[:STAMP])) / 1e9 for event in answer.events)
        self._heard.set()

    def finished(self, code: int, message: str) -> None:
        """A stream has ended; it was not to."""
        self._problem = self._problem or message or "the store ended a stream of watches"
        self._heard.set()

    async def created(self) -> None:
        """Wait until all are there. CommandError when they do not come."""
        await self._wait(lambda: self._created >= self._count)

    async def events(self, number: int) -> None:
        """Wait until so many events have come. CommandError when they do not come."""
        await self._wait(lambda: len(self._measured.latencies) >= number)

    async def _wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._problem:
                raise CommandError(f"watch: {self._problem}")
            self._heard.clear()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._heard.wait()
            except TimeoutError:
                heard = f"{self._created} of {self._count} watches, {len(self._measured.latencies)} events"
                raise CommandError(f"watch: nothing came for {_PATIENCE:g} s, after {heard}") from None

    def seconds_since(self, began: float) -> float:
        """From a moment (perf_counter) until the last event came."""
        return self._last / 1e9 - began

    def close(self) -> None:
        """End all watches."""
        self._problem = "closed"
        for call in self._calls:
            call.cancel()
