"""An API server's life: put together, started, stopped; any number of them in one process or in many.

Start: connect to the store, begin its watch, load what admission and authorization look at, listen. Stop: not ready
any more, watches ended, requests under way finished, then the connections to the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from control.apiserver.agents import Agents
from control.apiserver.application import Application
from control.apiserver.bootstrap import ensure_defaults
from control.apiserver.definitions import Custom
from control.apiserver.feed import Feed
from control.apiserver.membership import Membership
from control.apiserver.metrics import exposition
from control.apiserver.objects import StoredObjects
from control.apiserver.open_doors import open_security
from control.apiserver.protocol import Protocol
from control.apiserver.request import Encryption, Security
from control.apiserver.resources import Resources
from control.apiserver.router import Router, preload
from control.apiserver.server import Server
from control.apiserver.settings import Settings
from control.apiserver.slot_leases import SlotLeases
from control.apiserver.storage import Storage
from control.apiserver.tls import Files, fill, server_context
from kvstore.client import AsyncClient, Tls, connect

log = logging.getLogger(__name__)

CERTIFICATE_SECONDS = 60.0
# A store that is started with us on a busy machine, or loads much, takes its time: so many times --store-timeout.
START_PATIENCE = 6


class _Uvicorn(uvicorn.Server):
    """Signals are the process's business, not the library's; an idle server is woken once a second, not ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def main_loop(self) -> None:
        # At every tenth tick the library renews the Date header, its only business here.
        while not self.should_exit and not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1.0)

    def end(self) -> None:
        """Serve no longer than what runs."""
        self.should_exit = True
        self._ending.set()


class ApiServer:
    """`await start()`, then `url` is where it answers; `await stop()`. open_doors: without any security, for tests."""

    def __init__(self, settings: Settings, *, open_doors: bool = False) -> None:
        self.settings = settings
        self.url = ""
        self.server: Server | None = None
        self._open_doors = open_doors
        self._store: AsyncClient | None = None
        self._http: _Uvicorn | None = None
        self._custom: Custom | None = None
        self._membership: Membership | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Until it is ready. OSError: the port or a certificate; StatusError 503: no store."""
        listener = _listen(self.settings.bind_address, self.settings.secure_port)
        try:
            server = self.server = await self._assemble(listener.getsockname()[1])
            self._serve(server, listener)
        except BaseException:
            listener.close()
            await self.stop()
            raise
        await self._listening()
        self._membership = Membership(server)
        self._membership.start()
        self._tasks.append(asyncio.create_task(server.metrics.watch_loop(), name="loop lag"))
        self._tasks.append(asyncio.create_task(asyncio.to_thread(preload), name="preload"))
        # What was made at the start stays; the collector need not look at it again. Requests make many objects that
        # live for milliseconds: the default thresholds would have it look at the caches many times a second.
        gc.freeze()
        gc.set_threshold(20_000, 50, 100)

    async def _assemble(self, port: int) -> Server:
        store = self._store = connect_store(self.settings)
        storage = Storage(store, self._encryption())
        feed = Feed(storage, uuid.uuid4().hex[:12])
        resources = Resources(storage, feed)
        server = Server(
            settings=self.settings,
            storage=storage,
            feed=feed,
            resources=resources,
            security=open_security(),
            router=Router(resources),
            agents=Agents(self.settings),
            cause_leases=SlotLeases(storage, self.settings.cause_ttl),
            event_leases=SlotLeases(storage, self.settings.event_ttl),
        )
        server.port = port
        server.router.figures = lambda: exposition(server)
        try:
            await self._fill(server)
        except BaseException:
            await feed.close()
            raise
        return server

    async def _fill(self, server: Server) -> None:
        """What must be known before anything can be served."""
        resources = server.resources
        await server.feed.start(START_PATIENCE * self.settings.store_timeout)
        await asyncio.gather(*(resources.loaded(kind) for kind in resources.catalogue if kind.stored))
        self._custom = Custom(server)
        self._custom.start()
        await ensure_defaults(server)
        server.security = await self._security(server)

    def _encryption(self) -> Encryption | None:
        if not self.settings.encryption_config:
            return None
        from control.apiserver.security.encryption.configuration import load

        return load(Path(self.settings.encryption_config))

    async def _security(self, server: Server) -> Security:
        if self._open_doors:
            return open_security()
        from control.apiserver.security.assemble import build

        return await build(self.settings, server.resources, StoredObjects(server))

    def _follow(self, files: Files, load: Callable[[], None]) -> None:
        """Load these files again whenever they change."""
        self._tasks.append(asyncio.create_task(_renew(files, load), name="certificates"))

    def _serve(self, server: Server, listener: socket.socket) -> None:
        settings = self.settings
        files = Files(settings.tls_cert, settings.tls_key, settings.client_ca, settings.requestheader_client_ca)
        config = uvicorn.Config(
            Application(server),
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=2048,
            timeout_keep_alive=120,
            timeout_graceful_shutdown=int(self.settings.shutdown_seconds),
        )
        config.load()
        if files.cert:
            config.ssl = server_context(files)
            self._follow(files, partial(fill, config.ssl, files))
        if server.agents.files is not None:
            self._follow(server.agents.files, server.agents.renew)
        self._http = _Uvicorn(config)
        host, port = listener.getsockname()[:2]
        self.url = f"{'https' if files.cert else 'http'}://{_reachable(host)}:{port}"
        self._tasks.append(asyncio.create_task(self._http.serve(sockets=[listener]), name="http"))

    async def _listening(self) -> None:
        """Until connections are taken. Raises what kept the HTTP side from starting."""
        http, serving = self._http, next(task for task in self._tasks if task.get_name() == "http")
        while http is not None and not http.started:
            if serving.done():
                await serving
                raise OSError("the HTTP server ended at its start")
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Finish what runs, refuse what comes, close everything. Safe to call twice."""
        server, http = self.server, self._http
        if server is not None:
            server.stopping = True
            for cache in server.feed.caches.values():
                cache.watchers.end_all("the server is shutting down")
        if http is not None:
            http.end()
            serving = [task for task in self._tasks if task.get_name() == "http"]
            await asyncio.wait(serving, timeout=self.settings.shutdown_seconds + 2)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._membership is not None:
            await self._membership.close()
        if self._custom is not None:
            await self._custom.close()
        if server is not None:
            await server.feed.close()
            await server.agents.close()
        if self._store is not None:
            await self._store.close()
        self.server = self._http = self._store = self._custom = self._membership = None


def connect_store(settings: Settings) -> AsyncClient:
    """A client of the store. ValueError: a malformed endpoint."""
    tls = None
    if settings.etcd_ca or settings.etcd_cert:
        tls = Tls(ca=settings.etcd_ca or None, cert=settings.etcd_cert or None, key=settings.etcd_key or None)
    return connect(list(settings.etcd_servers), timeout=settings.store_timeout, tls=tls, library="own")


def _listen(address: str, port: int) -> socket.socket:
    """A listening socket, so that the port is known (and taken) before anything else is started."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _reachable(host: str) -> str:
    """An address of this machine that reaches a socket bound to `host`."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def _renew(files: Files, load: Callable[[], None]) -> None:
    """Load certificates again when their files have changed."""
    stamps = files.stamps()
    while True:
        await asyncio.sleep(CERTIFICATE_SECONDS)
        now = files.stamps()
        if now == stamps:
            continue
        try:
            load()
            stamps = now
            log.info("%s was loaded again", files.cert)
        except OSError as problem:
            log.warning("the changed certificates cannot be loaded: %s", problem)


@contextlib.asynccontextmanager
async def running(settings: Settings, **options: Any) -> AsyncIterator[ApiServer]:
    """A server for the length of a block."""
    server = ApiServer(settings, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
