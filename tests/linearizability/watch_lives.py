"""A watcher that lives through faults: after every break it goes on at another member, from where it was.

It asks for a progress report every so often, so that the reports are checked under load and so that it is known, in the
end, that nothing more is to come. Each connection is one `Watcher`, one life.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import grpc
from harness.stubs import Stub, open_channel

from kvstore.pb import etcd_pb2 as pb
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
        self._stopping = threading.Event()
        self._call: grpc.Call | None = None

    def move(self, endpoints: Sequence[str]) -> None:
        """The cluster is to be found elsewhere: the next lives are there."""
        self._endpoints = itertools.cycle(endpoints)

    @property
    def reached(self) -> int:
        """The revision up to which everything has come."""
        return max((life.last for life in self.lives), default=0)

    def run(self) -> None:
        """Watch until `stop`, on a thread of its own."""
        while not self._stopping.is_set():
            self._live(next(self._endpoints))
            self._stopping.wait(0.02)

    def stop(self) -> None:
        """End the watch."""
        self._stopping.set()
        if self._call is not None:
            self._call.cancel()

    def _live(self, endpoint: str) -> None:
        life = replace(self._wanted, start=self._next, messages=[])
        self.lives.append(life)
        over: queue.SimpleQueue[None] = queue.SimpleQueue()
        with open_channel(endpoint) as channel:
            # hasleader: a member that is cut off ends the watch instead of going silent.
            call = Stub(channel).Watch(_requests(life, over), metadata=[("hasleader", "true")])
            self._call = call
            try:
                for answer in call:
                    if self._stopping.is_set() or not self._take(life, answer):
                        break
            except grpc.RpcError:
                pass  # the next life goes on from here
            finally:
                over.put(None)
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


def _requests(life: Watcher, over: queue.SimpleQueue[None]) -> Iterator[pb.WatchRequest]:
    """The create request, then one for progress every so often until `over`."""
    yield create(life)
    while True:
        try:
            over.get(timeout=_PROGRESS_SECONDS)
        except queue.Empty:
            yield _PROGRESS
        else:
            return
