"""How many requests run at once, and in which order the others wait: the asynchronous shell of fair_queue.py.

Reads and writes have seats of their own, so that slow writes never keep reads out. Requests that stay open (watches,
logs, exec) hold no seat, but a user may only have so many of them. Members of system:masters and health checks wait for
nobody: an administrator must be able to repair an overloaded cluster.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from control.api.status import StatusError, too_many_requests
from control.apiserver.request import RequestInfo, User
from control.apiserver.security.authorizer import MASTERS
from control.apiserver.security.fair_queue import FairQueue, Flow

READS, WRITES = 400, 200
_READ_VERBS = frozenset({"get", "list", "head", "options"})
_EXEMPT_PATHS = ("/healthz", "/livez", "/readyz", "/metrics", "/version")
_SYSTEM_USERS = frozenset({"system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"})
_SYSTEM_GROUPS = frozenset({"system:nodes", "system:serviceaccounts:kube-system"})


class RequestLimits:
    """The server's Limits."""

    def __init__(
        self, reads: int = READS, writes: int = WRITES, *, patience: float = 15, long_running_per_user: int = 2000
    ) -> None:
        """reads, writes: requests at once; 0: no limit. patience: seconds a request waits at most."""
        self._reads: FairQueue[asyncio.Future[None]] | None = FairQueue(reads) if reads else None
        self._writes: FairQueue[asyncio.Future[None]] | None = FairQueue(writes) if writes else None
        self._patience = patience
        self._open: Counter[str] = Counter()
        self._open_per_user = long_running_per_user

    def admit(self, user: User, info: RequestInfo) -> AbstractAsyncContextManager[None]:
        """Holds a seat while the request runs. StatusError 429 (with Retry-After) when there is none in time."""
        if MASTERS in user.groups or (not info.is_resource and info.path.startswith(_EXEMPT_PATHS)):
            return _nothing()
        if info.is_long_running:
            return self._stay_open(user)
        queue = self._reads if info.verb in _READ_VERBS else self._writes
        return self._seat(queue, flow_of(user)) if queue is not None else _nothing()

    @property
    def waiting(self) -> int:
        """How many requests wait now; for metrics."""
        return sum(queue.waiting for queue in (self._reads, self._writes) if queue is not None)

    @property
    def running(self) -> int:
        """How many hold a seat now; for metrics."""
        return sum(queue.running for queue in (self._reads, self._writes) if queue is not None)

    @asynccontextmanager
    async def _stay_open(self, user: User) -> AsyncIterator[None]:
        if self._open[user.name] >= self._open_per_user:
            raise _refusal(f"this user has {self._open_per_user} watches and streams open already")
        self._open[user.name] += 1
        try:
            yield
        finally:
            self._open[user.name] -= 1
            if not self._open[user.name]:
                del self._open[user.name]

    @asynccontextmanager
    async def _seat(self, queue: FairQueue[asyncio.Future[None]], flow: Flow) -> AsyncIterator[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        granted = queue.ask(flow, waiter)
        if granted is None:
            raise _refusal()
        if not granted:
            await self._wait(queue, flow, waiter)
        try:
            yield
        finally:
            _release(queue, flow)

    async def _wait(self, queue: FairQueue[asyncio.Future[None]], flow: Flow, waiter: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await waiter
        except BaseException as why:
            if not queue.cancel(flow, waiter):
                _release(queue, flow)  # granted in the moment of giving up
            if isinstance(why, TimeoutError):
                raise _refusal() from None
            raise


def flow_of(user: User) -> Flow:
    """Whose line the user's requests wait in."""
    return Flow(user.name, user.name in _SYSTEM_USERS or not _SYSTEM_GROUPS.isdisjoint(user.groups))


def _release(queue: FairQueue[asyncio.Future[None]], flow: Flow) -> None:
    for waiter in queue.release(flow):
        # One that was cancelled in this very turn of the loop gives its seat back in _wait.
        if not waiter.done():
            waiter.set_result(None)


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def _refusal(why: str = "Too many requests, please try again later.") -> StatusError:
    return too_many_requests(why)
