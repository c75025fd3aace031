"""Clients that use a store through faults, and leave a history that can be judged.

Every value is written once in the whole run, so a value names the write that made it. A call of unknown outcome is
never repeated; its client goes on under a new number, as another client would. Each client and each watcher is a thread
with a connection of its own, over raw gRPC: a mistake of kvstore.client must not hide one of the store. (Not grpc.aio:
it gets slower with every event loop that a process has had.)
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc
from harness.stubs import Stub, open_channel
from harness.wait import wait_until

from linearizability.messages import decode, encode
from linearizability.operations import PENDING, Compare, Op, Operation, Request, delete, get, put, swap
from linearizability.watch_lives import WatchLives
from linearizability.watching import Watcher

# Answers that promise that nothing happened. Everything else leaves it open.
REFUSED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
}

# Seconds between two calls of a client. The faults decide how long a run takes, so what is asked meanwhile is the
# processor's time of the run: less of it in an ordinary one.
PACE = 0.01 if os.environ.get("FLUYT_SOAK") else 0.025


class Traffic:
    """`with Traffic(endpoints, seed): …` works on the store meanwhile; then `finish` and look at the history."""

    def __init__(
        self,
        endpoints: Sequence[str],
        seed: int,
        clients: int = 6,
        keys: int = 4,
        prefix: bytes = b"lin/",
        timeout: float = 2.0,
        pace: float = PACE,
    ) -> None:
        """seed: decides what each client asks. timeout: of a call; pace: between two calls of a client, in seconds.

        Clients begin at the endpoints in turn, and change over to the next one after an error.
        """
        self.endpoints = list(endpoints)
        self.prefix = prefix
        self.history: list[Operation] = []
        self.refused: list[Operation] = []
        # Writes with an answer so far.
        self.acknowledged = 0
        self._lock = threading.Lock()
        self._keys = [prefix + b"k%d" % n for n in range(keys)]
        self._pair = [prefix + b"pair/a", prefix + b"pair/b"]
        self._timeout, self._pace = timeout, pace
        self._numbers = itertools.count(1)
        self._seeds = [random.Random(seed * 1000 + n) for n in range(clients)]
        wanted = [
            Watcher(prefix, self.end, start=1, prev_kv=True),
            Watcher(prefix, self.end, start=1, fragmented=True, no_delete=True),
            Watcher(self._keys[0], start=1, no_put=True, prev_kv=True),
            Watcher(prefix, self.end, start=1),
        ]
        self.watches = [WatchLives(each, self.endpoints, start) for start, each in enumerate(wanted)]
        self._stopping = threading.Event()
        self._working = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(clients)]
        self._watching = [threading.Thread(target=each.run, daemon=True) for each in self.watches]

    @property
    def end(self) -> bytes:
        """The end of the range of all its keys."""
        return self.prefix[:-1] + bytes([self.prefix[-1] + 1])

    def __enter__(self) -> Self:
        for thread in (*self._watching, *self._working):
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind is not None:
            self.close()

    # ---- from the test's thread ----

    def wait_for_more(self, writes: int, timeout: float = 30.0) -> None:
        """Wait until so many more writes have been acknowledged. TimeoutError after `timeout` seconds."""
        wanted = self.acknowledged + writes
        wait_until(lambda: self.acknowledged >= wanted, f"{writes} more writes", timeout)

    def move_watchers(self, endpoints: Sequence[str]) -> None:
        """The cluster was restored elsewhere: the watchers go on there as soon as their connections have broken."""
        for each in self.watches:
            each.move(endpoints)

    def outage(self) -> float:
        """The longest time, in seconds, without an acknowledged write."""
        ends = sorted(o.end for o in self.history if o.response is not None and o.request.writes)
        return max((b - a for a, b in itertools.pairwise(ends)), default=0.0)

    def stop(self) -> None:
        """No more calls; those under way are waited for. The watchers go on."""
        self._stopping.set()
        for thread in self._working:
            thread.join(self._timeout + 10)

    def wait_watched(self, revision: int, timeout: float = 20.0) -> None:
        """Wait until every watcher has everything up to that revision, by its own word."""
        for each in self.watches:
            wait_until(
                lambda each=each: each.reached >= revision,  # type: ignore[misc]
                f"a watcher to reach {revision}: {each.refusals or each.reached}",
                timeout,
            )

    def close(self) -> None:
        """End the watchers."""
        for each in self.watches:
            each.stop()
        for thread in self._watching:
            thread.join(10)

    # ---- on the clients' threads ----

    def _client(self, place: int) -> None:
        turn = itertools.islice(itertools.cycle(self.endpoints), place % len(self.endpoints), None)
        while not self._stopping.is_set():
            with open_channel(next(turn)) as channel:
                self._use(Stub(channel), next(self._numbers), self._seeds[place])
            # An endpoint that refuses connections answers at once; do not spin on it.
            self._stopping.wait(0.02)

    def _use(self, stub: Stub, number: int, chance: random.Random) -> None:
        """Calls over one connection, until one fails."""
        for count in itertools.count():
            if self._stopping.wait(self._pace * chance.random() * 2):
                return
            request = self._choose(chance, b"%d.%d" % (number, count))
            rpc, message = encode(request)
            start = time.monotonic()
            try:
                answer = getattr(stub, rpc)(message, timeout=self._timeout)
            except grpc.RpcError as failure:
                certain = failure.code() in REFUSED
                (self.refused if certain else self.history).append(Operation(number, start, PENDING, request))
                return
            end = time.monotonic()
            response, revision = decode(answer)
            with self._lock:
                self.history.append(Operation(number, start, end, request, response, revision))
                self.acknowledged += request.writes

    def _choose(self, chance: random.Random, value: bytes) -> Request:
        """A call: puts and reads mostly; swaps from the value last seen there, so that many succeed."""
        key = chance.choice(self._keys)
        kind = chance.randrange(20)
        if kind < 7:
            return put(key, value)
        if kind < 12:
            return get(key)
        if kind < 14:
            return delete(key)
        if kind < 17:
            return swap(key, self._last_seen(key), value)
        return self._of_the_pair(chance, kind, value)

    def _of_the_pair(self, chance: random.Random, kind: int, value: bytes) -> Request:
        """Two keys that are always written together, and read together or with a range."""
        a, b = self._pair
        if kind == 17:
            return get(self.prefix + b"pair/", self.prefix + b"pair0")
        if kind == 18:
            version = chance.randrange(3)
            both = (Op("get", a), Op("get", b))
            return Request((Op("delete", a), Op("put", b, value=value)), (Compare(a, "version", ">", version),), both)
        return Request((Op("put", a, value=value), Op("put", b, value=value)))

    def _last_seen(self, key: bytes) -> bytes:
        for operation in reversed(self.history[-40:]):
            for op in operation.request.success:
                if op.kind == "put" and op.key == key and operation.response and operation.response.succeeded:
                    return op.value
        return b"nothing"
