"""The process `fluyt scheduler`: a view that is always warm, a candidacy, the work of each term, a page of metrics.

Invariants: nothing is written before the election is won and nothing after it is lost; stopping resigns, so that the
next leader need not wait for a lease to run out. Faults assumed: API servers and store are away, also at start.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from control.client.cause import Fence
from control.client.client import Client
from control.client.config import Config
from control.client.election import Elector
from control.client.recorder import EventRecorder
from control.scheduler.shell import Scheduler, Term
from kvstore.client import AsyncClient, Tls, connect

log = logging.getLogger(__name__)

# The election's name in the store, and who events are from.
ROLE: Final = "scheduler"
NAME: Final = "default-scheduler"


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """api: where the API servers are; store: URLs of the members, none: no election, this process alone acts.

    names: schedulerName of the pods that are ours. port: of the pages; 0: any free one; None: no pages.
    """

    api: Config
    identity: str
    store: Sequence[str] = ()
    store_tls: Tls | None = None
    names: frozenset[str] = frozenset({NAME})
    bind_address: str = "127.0.0.1"
    port: int | None = 10259
    tls_cert: str = ""
    tls_key: str = ""


@dataclass(frozen=True, slots=True)
class Forever:
    """The term of a process that nobody else can replace: no fence, and never lost."""

    lost: asyncio.Event
    fence: Fence | None = None


class SchedulerProcess:
    """`await start()`; `ended` is done when it fails for good; `await stop()`."""

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._client = Client(settings.api)
        self._recorder = EventRecorder(self._client, NAME)
        self.scheduler = Scheduler(self._client, self._recorder.record, settings.names)
        self._store: AsyncClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._pages: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Begin. Raises OSError when the port cannot be listened on."""
        if self._settings.port is not None:
            await self._listen(self._settings.port)
        await self._recorder.start()
        self._task = asyncio.create_task(self._run(), name=ROLE)

    @property
    def ended(self) -> asyncio.Task[None]:
        """Ends only by a mistake of ours, or when stopped."""
        if self._task is None:
            raise RuntimeError("the scheduler was not started")
        return self._task

    async def _run(self) -> None:
        await self.scheduler.start()
        log.info("the view is complete; standing by")
        await self.scheduler.run(self._terms())

    def _terms(self) -> AsyncIterator[Term]:
        settings = self._settings
        if not settings.store:
            return _one_term()
        self._store = connect(settings.store, **({"tls": settings.store_tls} if settings.store_tls else {}))
        return Elector(self._store, ROLE, settings.identity).terms()

    async def _listen(self, port: int) -> None:
        app = web.Application()
        for path in ("/healthz", "/livez"):
            app.router.add_get(path, self._healthy)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._pages = web.AppRunner(app, access_log=None)
        await self._pages.setup()
        tls = _tls(self._settings.tls_cert, self._settings.tls_key)
        await web.TCPSite(self._pages, self._settings.bind_address, port, ssl_context=tls).start()
        self.port = int(self._pages.addresses[0][1])

    async def _healthy(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _ready(self, _request: web.Request) -> web.Response:
        if self.scheduler.started.is_set():
            return web.Response(text="ok")
        return web.Response(status=503, text="the first lists are not in yet")

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self.scheduler.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def stop(self) -> None:
        """Give up the leadership, end all work, close every connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._recorder.close()
        await self.scheduler.close()
        if self._pages is not None:
            await self._pages.cleanup()
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


def _tls(cert: str, key: str) -> ssl.SSLContext | None:
    if not cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key or None)
    return context


async def _one_term() -> AsyncIterator[Term]:
    yield Forever(asyncio.Event())
