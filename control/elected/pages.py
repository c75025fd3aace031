"""The pages of a process: /healthz, /livez, /readyz, /metrics, as kube-controller-manager and kube-scheduler have them.

A process that stands by is healthy and ready. Ready: the view is complete.
"""

from __future__ import annotations

import asyncio
import ssl

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class Pages:
    """start() listens; port says where."""

    def __init__(self, ready: asyncio.Event, registry: CollectorRegistry) -> None:
        """ready: set once the view is complete."""
        self._complete = ready
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, address: str, port: int, cert: str = "", key: str = "") -> None:
        """Listen; with a certificate (file of PEM) by HTTPS. Raises OSError."""
        app = web.Application()
        for path in ("/healthz", "/livez"):
            app.router.add_get(path, self._healthy)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port, ssl_context=_tls(cert, key))
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthy(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _ready(self, _request: web.Request) -> web.Response:
        if self._complete.is_set():
            return web.Response(text="ok")
        return web.Response(status=503, text="the first lists are not in yet")

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _tls(cert: str, key: str) -> ssl.SSLContext | None:
    if not cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key or None)
    return context
