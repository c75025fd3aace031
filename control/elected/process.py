"""A process that every master runs and of which one acts: a view that is always warm, a candidacy, the work of terms.

Invariants: nothing is written before the election is won and nothing after it is lost; stopping resigns, so that the
next leader need not wait for a lease to run out. Faults assumed: API servers and store are away, also at start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from prometheus_client import CollectorRegistry

from control.client import collector
from control.client.cause import Fence
from control.client.client import Client
from control.client.config import Config
from control.client.election import Elector
from control.client.recorder import EventRecorder
from control.elected.pages import Pages
from kvstore.client import AsyncClient, Tls, connect

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidacy:
    """api: where the API servers are; store: URLs of the members, none: no election, this process alone acts.

    identity: what others see of the leader. port: of the pages; 0: any free one; None: no pages.
    """

    api: Config
    identity: str
    store: Sequence[str] = ()
    store_tls: Tls | None = None
    bind_address: str = "127.0.0.1"
    port: int | None = None
    tls_cert: str = ""
    tls_key: str = ""


class Term(Protocol):
    """control.client.election.Leadership, as far as workers look at it."""

    @property
    def fence(self) -> Fence | None:
        """What every write carries; None when nobody else can lead."""

    @property
    def lost(self) -> asyncio.Event:
        """Set when the term is over."""


class Worker(Protocol):
    """Who does the work."""

    started: asyncio.Event

    @property
    def registry(self) -> CollectorRegistry:
        """What it counts."""

    async def start(self) -> None:
        """Begin to observe; returns when the view is complete."""

    async def run(self, terms: AsyncIterator[Term]) -> None:
        """Work in every term that comes, until cancelled."""

    async def close(self) -> None:
        """End all observing."""


class ElectedProcess:
    """`await start()`; `ended` is done when it fails for good; `await stop()`."""

    def __init__(
        self, role: str, settings: Candidacy, client: Client, worker: Worker, recorders: Sequence[EventRecorder]
    ) -> None:
        """role: the election's name in the store. client, recorders: are closed at the end."""
        self.pages = Pages(worker.started, worker.registry)
        self._role = role
        self._settings = settings
        self._client = client
        self._worker = worker
        self._recorders = recorders
        self._store: AsyncClient | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin. Raises OSError when the port cannot be listened on."""
        settings = self._settings
        if settings.port is not None:
            await self.pages.start(settings.bind_address, settings.port, settings.tls_cert, settings.tls_key)
        for recorder in self._recorders:
            await recorder.start()
        self._task = asyncio.create_task(self._run(), name=self._role)

    @property
    def ended(self) -> asyncio.Task[None]:
        """Ends only by a mistake of ours, or when stopped."""
        if self._task is None:
            raise RuntimeError(f"{self._role}: start() was not called")
        return self._task

    async def _run(self) -> None:
        await self._worker.start()
        collector.settle()
        log.info("%s: the view is complete; standing by", self._role)
        await self._worker.run(self._terms())

    def _terms(self) -> AsyncIterator[Term]:
        settings = self._settings
        if not settings.store:
            return _one_term()
        self._store = connect(settings.store, tls=settings.store_tls, library="own")
        return Elector(self._store, self._role, settings.identity).terms()

    async def stop(self) -> None:
        """Give up the leadership, end all work, close every connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*(recorder.close() for recorder in self._recorders))
        await self._worker.close()
        await self.pages.stop()
        if self._store is not None:
            await self._store.close()
        await self._client.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


@dataclass(frozen=True, slots=True)
class Forever:
    """The term of a process that nobody else can replace: no fence, and never lost."""

    lost: asyncio.Event
    fence: Fence | None = None


async def _one_term() -> AsyncIterator[Term]:
    yield Forever(asyncio.Event())
