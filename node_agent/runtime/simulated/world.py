"""What simulated nodes share: a clock, one timer for everything that is going to happen, addresses, chance.

Invariants: while nothing is due, the world has one sleeping task at most, and none when nothing will ever happen;
the same seed and the same calls at the same times give the same ids, addresses and durations.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol

from node_agent.runtime.errors import RuntimeFault, RuntimeUnavailable

_NEVER_WRONG = frozenset({"open", "version", "health"})
_FIRST_ADDRESS = 10 << 24 | 128 << 16 | 1
_ADDRESSES = 2**23 - 2


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since 1970."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class World:
    """One per process; every fake node has a SimulatedRuntime in it.

    `refuse(node, operation)` may return a fault to be raised in place of the operation ("create_container", …): a
    runtime that errs at random, for tests.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        seed: int = 0,
        refuse: Callable[[str, str], RuntimeFault | None] | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.refuse = refuse
        self._seed = seed.to_bytes(16, "big", signed=True)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._pump: asyncio.Task[None] | None = None
        self._pump_until = 0.0
        self._count = 0
        self._addresses = 0
        self.nodes: dict[str, object] = {}

    def now(self) -> float:
        return self.clock.now()

    def err(self, rate: float) -> None:
        """From now on that fraction of the operations fails, decided by seed and count; opening and asking after the
        runtime's health do not.
        """

        def refuse(node: str, operation: str) -> RuntimeFault | None:
            self._count += 1
            digest = blake2b(f"{node}/{operation}/{self._count}".encode(), key=self._seed, digest_size=8).digest()
            wrong = operation not in _NEVER_WRONG and int.from_bytes(digest, "big") < rate * 2**64
            return RuntimeUnavailable(f"{operation}: refused by --simulated-error-rate") if wrong else None

        self.refuse = refuse if rate else None

    def new_id(self, kind: str, node: str) -> str:
        """64 hexadecimal digits, as container ids are."""
        self._count += 1
        return blake2b(f"{kind}/{node}/{self._count}".encode(), key=self._seed, digest_size=32).hexdigest()

    def new_address(self) -> str:
        """From 10.128.0.0/9; begins anew after eight million."""
        number = _FIRST_ADDRESS + self._addresses % _ADDRESSES
        self._addresses += 1
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))

    def varied(self, seconds: float, jitter: float, identity: str) -> float:
        """`seconds`, give or take a fraction of it that depends on seed and identity alone."""
        if not jitter:
            return seconds
        digest = blake2b(identity.encode(), key=self._seed, digest_size=8).digest()
        return seconds * (1 + jitter * (int.from_bytes(digest, "big") / 2**63 - 1))

    async def until(self, when: float) -> None:
        """Sleep until the clock says so; at once if it does already."""
        if when <= self.now():
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.at(when, lambda: None if reached.done() else reached.set_result(None))
        await reached

    def at(self, when: float, happen: Callable[[], None]) -> None:
        """Call back on the loop when the clock says so; callbacks of the same time in the order they were given."""
        self._count += 1
        heapq.heappush(self._due, (when, self._count, happen))
        if self._pump is None or when < self._pump_until:
            self._restart()

    def _restart(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        self._pump_until = self._due[0][0]
        self._pump = asyncio.get_running_loop().create_task(self._run(), name="simulated world")

    async def _run(self) -> None:
        while self._due:
            self._pump_until = self._due[0][0]
            await self.clock.sleep(max(0.0, self._pump_until - self.now()))
            self._pump_until = float("-inf")  # what is added by a callback is seen below: no need to restart for it
            while self._due and self._due[0][0] <= self.now():
                heapq.heappop(self._due)[2]()
        self._pump = None

    async def close(self) -> None:
        """Nothing happens any more."""
        self._due.clear()
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
