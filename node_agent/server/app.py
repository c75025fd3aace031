"""The agent's own server, put together: routes, who may call, TLS.

aiohttp.web serves it, because aiohttp is the library our clients use already and speaks WebSocket with subprotocols, so
the agent has one HTTP library; what the server does is stream bytes, and no framework's routing speed matters here.

Who may call: holders of a certificate of the cluster's authority whose name is in ALLOWED, or which is of the group
system:masters. /healthz is for everybody, as load balancers and systemd ask it.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from node_agent.server.directory import Directory
from node_agent.server.exec import Streams
from node_agent.server.figures import Figures
from node_agent.server.logs import Logs
from node_agent.server.pods import Pods
from node_agent.server.port_forward import PortForward

log = logging.getLogger(__name__)

ALLOWED: Final = frozenset({"kube-apiserver-kubelet-client"})
ALLOWED_GROUP: Final = "system:masters"
_OPEN: Final = frozenset({"/healthz"})
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def new_app(directory: Directory, *, guarded: bool) -> web.Application:
    """guarded: callers must show a certificate that is allowed."""
    app = web.Application(middlewares=[_guard] if guarded else [], client_max_size=1 << 20)
    logs, streams, figures = Logs(directory), Streams(directory), Figures(directory)
    pod = "/{namespace}/{pod}"
    with_uid = "/{namespace}/{pod}/{uid}/{container}"
    app.router.add_get(f"/containerLogs{pod}/{{container}}", logs.get)
    port_forward = PortForward(directory)
    # WebSocket is asked for by GET, SPDY by POST.
    for method in ("GET", "POST"):
        for path in (f"{pod}/{{container}}", with_uid):
            app.router.add_route(method, f"/exec{path}", streams.exec)
            app.router.add_route(method, f"/attach{path}", streams.attach)
        app.router.add_route(method, f"/portForward{pod}", port_forward.serve)
    app.router.add_get("/stats/summary", figures.summary)
    app.router.add_get("/metrics/resource", figures.resource)
    app.router.add_get("/metrics", figures.metrics)
    app.router.add_get("/pods", Pods(directory).list)
    app.router.add_get("/healthz", _healthy)
    return app


async def _healthy(request: web.Request) -> web.Response:
    return web.Response(text="ok")


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    if request.path not in _OPEN:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        if not certificate:
            raise web.HTTPUnauthorized(text="Unauthorized: show a client certificate of the cluster's authority")
        names, groups = _subject(certificate)
        if not names & ALLOWED and ALLOWED_GROUP not in groups:
            user = ", ".join(sorted(names))
            raise web.HTTPForbidden(text=f"Forbidden (user={user}, resource=nodes, subresource=proxy)")
    return await handler(request)


def _subject(certificate: Any) -> tuple[set[str], set[str]]:
    """Common names and organizations of a peer's certificate."""
    pairs = [pair for part in certificate.get("subject", ()) for pair in part]
    return {v for k, v in pairs if k == "commonName"}, {v for k, v in pairs if k == "organizationName"}


def server_tls(certificate: str, key: str, client_ca: str) -> ssl.SSLContext:
    """Paths of PEM files; client_ca as PEM text. Raises OSError, ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(cadata=client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class AgentServer:
    """Listening, until close()."""

    def __init__(self, app: web.Application, tls: ssl.SSLContext | None) -> None:
        # Streams into containers go on for hours; a stop of the agent does not wait for them.
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        self._tls = tls
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """port 0: any free one; `port` says which. Raises OSError."""
        await self._runner.setup()
        site: web.BaseSite = web.TCPSite(self._runner, host, port, ssl_context=self._tls, reuse_address=True)
        await self._listen(site, port)

    async def start_on_loopback(self, port: int) -> None:
        """At every address of the loopback interface, of which simulated nodes have one each. Raises OSError.

        Only at 127.0.0.1 where an interface cannot be chosen (Linux before 5.7 without root).
        """
        await self._runner.setup()
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # Other machines' packets never come by this interface.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            listening.bind(("0.0.0.0", port))
        except OSError as problem:
            log.warning("simulated nodes cannot be called, they have figures and logs for nobody: %s", problem.strerror)
            listening.bind(("127.0.0.1", port))
        await self._listen(web.SockSite(self._runner, listening, ssl_context=self._tls), port)

    async def _listen(self, site: web.BaseSite, port: int) -> None:
        await site.start()
        sockets = site._server.sockets if site._server is not None else ()  # type: ignore[attr-defined]
        self.port = port or next(iter(sockets)).getsockname()[1]

    async def close(self) -> None:
        await self._runner.cleanup()
