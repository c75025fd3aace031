"""A watcher that lives through faults: after every break it goes on at another member, from where it was.

It asks for a progress report every so often, so that the reports are checked under load and so that it is known, in the
end, that nothing more is to come. Each connection is one `Watcher`, one life.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import grpc.aio
from harness.stubs import Stub

from kvstore.pb import etcd_pb2 as pb
from linearizability.connection import open_connection
from linearizability.messages import create, received
from linearizability.watching import Watcher

_PROGRESS_SECONDS = 0.25
_PROGRESS = pb.WatchRequest(progress_request=pb.WatchProgressRequest())


class WatchLives:
    """What one user of a watch asked for and got, over all its connections."""

    def __init__(self, wanted: Watcher, endpoints: Sequence[str], start: int) -> None:
        """wanted: without messages. start: the number of the endpoint to begin at."""
        self.lives: list[Watcher] = []
        self.refusals: list[str] = []
        self._wanted = wanted
        self._next = wanted.start
        self._endpoints: Iterator[str] = itertools.islice(itertools.cycle(endpoints), start, None)

    @property
    def reached(self) -> int:
        """The revision up to which everything has come."""
        return max((life.last for life in self.lives), default=0)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
                await self._live(next(self._endpoints))
            await asyncio.sleep(0.02)

    async def _live(self, endpoint: str) -> None:
        life = replace(self._wanted, start=self._next, messages=[])
        async with open_connection(endpoint) as channel:
            # hasleader: a member that is cut off ends the watch instead of going silent.
            call = Stub(channel).Watch(metadata=(("hasleader", "true"),))
            await call.write(create(life))
            self.lives.append(life)
            asking = asyncio.create_task(_ask_for_progress(call))
            try:
                while (answer := await call.read()) is not grpc.aio.EOF and self._take(life, answer):
                    pass
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                call.cancel()

    def _take(self, life: Watcher, answer: pb.WatchResponse) -> bool:
        """Keep a response; False when the watcher has ended."""
        if answer.canceled:
            if answer.compact_revision or answer.cancel_reason:
                self.refusals.append(f"canceled: {answer.cancel_reason or answer.compact_revision}")
            return False
        if answer.created:
            life.created = answer.header.revision
            return True
        life.messages.append(received(answer))
        if not answer.fragment:
            self._next = max(self._next, life.last + 1)
        return True


async def _ask_for_progress(call: grpc.aio.StreamStreamCall) -> None:
    """Until cancelled, or until the stream is broken: its reader finds out by itself."""
    with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            await call.write(_PROGRESS)
