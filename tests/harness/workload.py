"""Writers and a watcher that run through faults, and the history they leave for the checks.

Every value is written once in the whole run, so a value names the write that made it. A write has one of three ends:
acknowledged (with its revision), refused (an error that promises it did not happen), or unknown (the connection broke
or time ran out: it may have happened, and nobody may repeat it blindly).
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field

import grpc

from harness.cluster import Cluster
from harness.stubs import Stub, open_channel
from kvstore.pb import etcd_pb2 as pb

# Codes that leave open whether a write happened.
_UNKNOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
}


@dataclass
class Write:
    """One put: times are of time.monotonic(); end and revision are set when it was acknowledged."""

    key: bytes
    value: bytes
    start: float
    end: float = 0.0
    revision: int = 0
    refused: bool = False


@dataclass
class Read:
    """One linearizable read: what it saw (value b"" and mod_revision 0 for no key) and the header's revision."""

    key: bytes
    start: float
    end: float
    value: bytes
    mod_revision: int
    revision: int


@dataclass
class Event:
    """One event as the watcher got it."""

    key: bytes
    value: bytes
    revision: int


@dataclass
class History:
    """All that the clients did and saw."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def acknowledged(self) -> list[Write]:
        """The writes that must be found again."""
        return [w for w in self.writes if w.revision]

    def outage(self) -> float:
        """The longest time, in seconds, between two acknowledgements that followed each other."""
        ends = sorted(w.end for w in self.acknowledged)
        return max((b - a for a, b in itertools.pairwise(ends)), default=0.0)


class Workload:
    """Writers that put unique values under their own and shared keys, readers, and one watcher on all of it.

    Clients go round the endpoints: after an error the next call goes to the next member.
    """

    def __init__(
        self,
        cluster: Cluster,
        writers: int = 4,
        readers: int = 1,
        keys: int = 5,
        prefix: bytes = b"load/",
        timeout: float = 2.0,
        endpoints: list[str] | None = None,
    ) -> None:
        """timeout: of each call, in seconds. endpoints: where the clients may go (default: every member)."""
        self.history = History()
        self.prefix = prefix
        self.keys = keys
        self.timeout = timeout
        self.endpoints = endpoints or cluster.endpoints
        self._stop = threading.Event()
        self._last_revision = 0
        self._threads = [threading.Thread(target=self._write, args=(n,), daemon=True) for n in range(writers)]
        self._threads += [threading.Thread(target=self._read, args=(n,), daemon=True) for n in range(readers)]
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watch_call: grpc.Call | None = None

    def __enter__(self) -> Workload:
        self._watcher.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def acknowledged(self) -> int:
        """How many writes have been acknowledged so far."""
        with self.history.lock:
            return sum(1 for w in self.history.writes if w.revision)

    def wait_for_more(self, count: int, timeout: float = 30.0) -> None:
        """Wait until so many more writes were acknowledged. TimeoutError otherwise."""
        target = self.acknowledged() + count
        deadline = time.monotonic() + timeout
        while self.acknowledged() < target:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {count} more writes were acknowledged within {timeout:g} s")
            time.sleep(0.02)

    def stop(self) -> History:
        """Stop the clients; let the watcher see the last acknowledged write first (for 20 s at most)."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self.timeout + 5)
        last = max((w.revision for w in self.history.acknowledged), default=0)
        deadline = time.monotonic() + 20
        while self._last_revision < last and time.monotonic() < deadline:
            time.sleep(0.02)
        call = self._watch_call
        if call is not None:
            call.cancel()
        self._watcher.join(5)
        return self.history

    # ---- clients ----

    def _key(self, number: int) -> bytes:
        return self.prefix + b"%03d" % (number % self.keys)

    def _write(self, writer: int) -> None:
        client = _Client(self.endpoints, writer)
        for number in itertools.count():
            if self._stop.is_set():
                break
            write = Write(self._key(number + writer), b"%d.%d" % (writer, number), time.monotonic())
            with self.history.lock:
                self.history.writes.append(write)
            try:
                answer = client.stub.Put(pb.PutRequest(key=write.key, value=write.value), timeout=self.timeout)
            except grpc.RpcError as failure:
                write.refused = failure.code() not in _UNKNOWN
                client.next()
                # An endpoint that refuses connections answers at once; do not spin on it.
                self._stop.wait(0.01)
                continue
            write.end = time.monotonic()
            write.revision = answer.header.revision
        client.close()

    def _read(self, reader: int) -> None:
        client = _Client(self.endpoints, reader + 1)
        for number in itertools.count():
            if self._stop.is_set():
                break
            key, start = self._key(number), time.monotonic()
            try:
                answer = client.stub.Range(pb.RangeRequest(key=key), timeout=self.timeout)
            except grpc.RpcError:
                client.next()
                self._stop.wait(0.01)
                continue
            kv = answer.kvs[0] if answer.kvs else pb.KeyValue()
            read = Read(key, start, time.monotonic(), kv.value, kv.mod_revision, answer.header.revision)
            with self.history.lock:
                self.history.reads.append(read)
            self._stop.wait(0.001)
        client.close()

    def _watch(self) -> None:
        """Watch the prefix from the first revision on; after a break, from the one after the last seen."""
        client = _Client(self.endpoints, 0)
        end = self.prefix[:-1] + bytes([self.prefix[-1] + 1])
        while not self._stop.is_set() or self._behind():
            create = pb.WatchCreateRequest(key=self.prefix, range_end=end, start_revision=self._last_revision + 1)
            done = threading.Event()
            try:
                # hasleader: a member that is cut off ends the watch instead of going silent.
                call = client.stub.Watch(
                    _once_then_wait(pb.WatchRequest(create_request=create), done), metadata=[("hasleader", "true")]
                )
                self._watch_call = call
                for response in call:
                    if response.canceled:
                        break
                    for event in response.events:
                        self.history.events.append(Event(event.kv.key, event.kv.value, event.kv.mod_revision))
                    if response.events:
                        self._last_revision = response.events[-1].kv.mod_revision
            except grpc.RpcError:
                client.next()
                time.sleep(0.02)
            finally:
                done.set()
        client.close()

    def _behind(self) -> bool:
        return self._last_revision < max((w.revision for w in self.history.acknowledged), default=0)


class _Client:
    """A stub on one endpoint at a time."""

    def __init__(self, endpoints: list[str], start: int) -> None:
        self._endpoints = itertools.cycle(endpoints[start % len(endpoints) :] + endpoints[: start % len(endpoints)])
        self._channel: grpc.Channel | None = None
        self.next()

    def next(self) -> None:
        """Go to the next endpoint."""
        self.close()
        self._channel = open_channel(next(self._endpoints))
        self.stub = Stub(self._channel)

    def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _once_then_wait(request: pb.WatchRequest, done: threading.Event):  # type: ignore[no-untyped-def]
    """The create request, then an open stream until `done`."""
    yield request
    done.wait()
