"""Clients that use a store through faults, and leave a history that can be judged.

Every value is written once in the whole run, so a value names the write that made it. A call of unknown outcome is
never repeated; its client goes on under a new number, as another client would. All run in one event loop on a thread of
its own, over raw gRPC: a mistake of kvstore.client must not hide one of the store.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc
import grpc.aio
from harness.stubs import Stub
from harness.wait import wait_until

from linearizability.connection import open_connection
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
        pace: float = 0.01,
    ) -> None:
        """seed: decides what each client asks. timeout: of a call; pace: between two calls of a client, in seconds.

        Clients begin at the endpoints in turn, and change over to the next one after an error.
        """
        self.endpoints = list(endpoints)
        self.prefix = prefix
        self.history: list[Operation] = []
        self.refused: list[Operation] = []
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
        self._loop = asyncio.new_event_loop()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._watching: list[asyncio.Task[None]] = []
        self._working: list[asyncio.Task[None]] = []
        self.failure: BaseException | None = None

    @property
    def end(self) -> bytes:
        """The end of the range of all its keys."""
        return self.prefix[:-1] + bytes([self.prefix[-1] + 1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind is not None:
            self.close()

    # ---- from the test's thread ----

    def wait_for(self, calls: int, timeout: float = 30.0) -> None:
        """Wait until so many more calls have been answered. TimeoutError after `timeout` seconds."""
        wanted = self.answered + calls
        wait_until(lambda: self.failure or self.answered >= wanted, f"{calls} more answers", timeout)
        if self.failure is not None:
            raise self.failure

    @property
    def answered(self) -> int:
        """Calls with an answer so far."""
        return sum(1 for operation in list(self.history) if operation.response is not None)

    def outage(self) -> float:
        """The longest time, in seconds, without an acknowledged write."""
        ends = sorted(o.end for o in self.history if o.response is not None and o.request.writes)
        return max((b - a for a, b in itertools.pairwise(ends)), default=0.0)

    def stop(self) -> None:
        """No more calls; those under way are waited for. The watchers go on."""
        self._stopping.set()
        wait_until(lambda: self.failure or all(t.done() for t in self._working), "the clients to end", 30.0)
        if self.failure is not None:
            raise self.failure

    def wait_watched(self, revision: int, timeout: float = 20.0) -> None:
        """Wait until every watcher has everything up to that revision, by its own word."""
        for each in self.watches:
            wait_until(
                lambda each=each: each.reached >= revision,  # type: ignore[misc]
                f"a watcher to reach {revision}: {each.refusals or each.reached}",
                timeout,
            )

    def close(self) -> None:
        """End the watchers and the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._watching])
            self._thread.join(10)

    # ---- in the loop ----

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._everything())
        except BaseException as problem:
            self.failure = problem
        finally:
            self._loop.close()

    async def _everything(self) -> None:
        self._watching = [asyncio.create_task(each.run()) for each in self.watches]
        self._working = [asyncio.create_task(self._client(n)) for n in range(len(self._seeds))]
        await asyncio.gather(*self._working)
        await asyncio.gather(*self._watching, return_exceptions=True)

    async def _client(self, place: int) -> None:
        chance = self._seeds[place]
        turn = itertools.islice(itertools.cycle(self.endpoints), place % len(self.endpoints), None)
        while not self._stopping.is_set():
            number = next(self._numbers)
            async with open_connection(next(turn)) as channel:
                await self._use(Stub(channel), number, chance)
            # An endpoint that refuses connections answers at once; do not spin on it.
            await asyncio.sleep(0.02)

    async def _use(self, stub: Stub, number: int, chance: random.Random) -> None:
        """Calls over one connection, until one fails."""
        for count in itertools.count():
            if self._stopping.is_set():
                return
            request = self._choose(chance, b"%d.%d" % (number, count))
            rpc, message = encode(request)
            start = time.monotonic()
            try:
                answer = await getattr(stub, rpc)(message, timeout=self._timeout)
            except grpc.aio.AioRpcError as failure:
                certain = failure.code() in REFUSED
                (self.refused if certain else self.history).append(Operation(number, start, PENDING, request))
                return
            end = time.monotonic()
            response, revision = decode(answer)
            self.history.append(Operation(number, start, end, request, response, revision))
            await asyncio.sleep(self._pace * chance.random() * 2)

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
