"""The process `fluyt controllers`: a view that is always warm, a candidacy, the work of each term, a page of metrics.

Invariants: nothing is written before the election is won and nothing after it is lost; stopping resigns, so that the
next leader need not wait for a lease to run out. Faults assumed: API servers and store are away, also at start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from control.client.cause import Fence
from control.client.client import Client
from control.client.config import Config
from control.client.election import Elector
from control.client.recorder import EventRecorder
from control.controllers.actions import Event
from control.controllers.controller import Controller
from control.controllers.manager import Manager, Term
from control.controllers.pages import Pages
from kvstore.client import AsyncClient, Tls, connect

log = logging.getLogger(__name__)

# The election's name in the store.
ROLE = "controllers"


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """api: where the API servers are; store: URLs of the members, none: no election, this process alone acts.

    port: of the pages /healthz and /metrics; 0: any free one; None: no pages.
    """

    api: Config
    controllers: Sequence[Controller]
    identity: str
    store: Sequence[str] = ()
    store_tls: Tls | None = None
    bind_address: str = "127.0.0.1"
    port: int | None = 10257
    tls_cert: str = ""
    tls_key: str = ""


@dataclass(frozen=True, slots=True)
class Forever:
    """The term of a process that nobody else can replace: no fence, and never lost."""

    lost: asyncio.Event
    fence: Fence | None = None


class Controllers:
    """`await start()`; `ended` is done when it fails for good; `await stop()`."""

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._client = Client(settings.api)
        self._recorders = {c.name: EventRecorder(self._client, c.name) for c in settings.controllers}
        self.manager = Manager(self._client, settings.controllers, self._recorder)
        self.pages = Pages(self.manager)
        self._store: AsyncClient | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin. Raises OSError when the port cannot be listened on."""
        settings = self._settings
        if settings.port is not None:
            await self.pages.start(settings.bind_address, settings.port, settings.tls_cert, settings.tls_key)
        for recorder in self._recorders.values():
            await recorder.start()
        self._task = asyncio.create_task(self._run(), name="controllers")

    @property
    def ended(self) -> asyncio.Task[None]:
        """Ends only by a mistake of ours, or when stopped."""
        if self._task is None:
            raise RuntimeError("the controllers were not started")
        return self._task

    async def _run(self) -> None:
        await self.manager.start()
        log.info("the view is complete; standing by")
        await self.manager.run(self._terms())

    def _terms(self) -> AsyncIterator[Term]:
        settings = self._settings
        if not settings.store:
            return _one_term()
        store = connect(settings.store, **({"tls": settings.store_tls} if settings.store_tls else {}))
        self._store = store
        return Elector(store, ROLE, settings.identity).terms()

    def _recorder(self, controller: str) -> Callable[[Event], None]:
        recorder = self._recorders[controller]
        return lambda event: recorder.record(event.about, event.type, event.reason, event.message)

    async def stop(self) -> None:
        """Give up the leadership, end all work, close every connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*(recorder.close() for recorder in self._recorders.values()))
        await self.manager.close()
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


async def _one_term() -> AsyncIterator[Term]:
    yield Forever(asyncio.Event())
