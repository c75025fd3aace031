"""Plain HTTP on the client and metrics ports: the JSON gateway, health pages, /version and /metrics, as etcd has them.

Before any of them: which origins a browser may call from (--cors), and which host names a request without TLS may be
for (--host-whitelist), against pages that rebind a name of theirs to this machine (CVE-2018-5702).
"""

from __future__ import annotations

import json

from kvstore.member.member import Member
from kvstore.services.gateway import Gateway
from kvstore.services.health_http import HealthPages
from kvstore.version import ETCD_CLUSTER_VERSION, ETCD_VERSION
from kvstore.wire.http import HttpRequest, HttpResponse
from kvstore.wire.server import GrpcServer

JSON = "application/json"
_NOT_FOUND = "404 page not found\n"
_CORS = (
    ("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"),
    ("Access-Control-Allow-Headers", "accept, content-type, authorization"),
)
Fields = tuple[tuple[str, str], ...]


def register(server: GrpcServer, member: Member, metrics: GrpcServer | None = None) -> None:
    """Answer HTTP requests on the server's port, and those for metrics and health on that of `metrics`."""
    site = _Site(server, member)
    server.http = site.answer
    if metrics is not None:
        metrics.http = site.answer_metrics


class _Site:
    """What one member answers."""

    def __init__(self, server: GrpcServer, member: Member) -> None:
        self._server = server
        self._member = member
        self._health = HealthPages(member)
        config = member.config
        self._gateway = Gateway(member, server) if config.enable_grpc_gateway else None
        self._plain = any(url.startswith("http:") for url in config.listen_client_urls)

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        """On the client port."""
        headers = self._cors(request)
        config = self._member.config
        if self._plain and not _is_allowed(_hostname(request), config.host_whitelist):
            return HttpResponse(421, b"host name is not in --host-whitelist\n", headers=headers)
        if request.method == "OPTIONS":
            return HttpResponse(200, headers=headers)
        if self._gateway is not None and self._gateway.takes(request.path):
            return self._gateway.serve(request, headers)
        if request.path == "/version":
            return _get(request, headers) or self._version(headers)
        return self._observe(request, headers)

    def answer_metrics(self, request: HttpRequest) -> HttpResponse | None:
        """On a port of --listen-metrics-urls."""
        return self._observe(request, ())

    def _observe(self, request: HttpRequest, headers: Fields) -> HttpResponse | None:
        if self._health.takes(request.path):
            refused = _get(request, headers)
            if refused is None:
                self._health.serve(request, headers)
            return refused
        if request.path == "/metrics":
            # Four megabytes that only members who are asked for metrics take.
            from kvstore.services.metrics import render

            body, kind = render(self._member, self._server, self._health)
            return _get(request, headers) or HttpResponse(200, body, kind, headers)
        return HttpResponse(404, _NOT_FOUND.encode(), headers=headers)

    def _version(self, headers: Fields) -> HttpResponse:
        versions = {"etcdserver": ETCD_VERSION, "etcdcluster": ETCD_CLUSTER_VERSION}
        return HttpResponse(200, json.dumps(versions, separators=(",", ":")).encode(), JSON, headers)

    def _cors(self, request: HttpRequest) -> Fields:
        allowed = self._member.config.cors
        origin = "*" if "*" in allowed or not allowed else request.headers.get("origin", "")
        if origin == "*" or origin in allowed:
            return (*_CORS, ("Access-Control-Allow-Origin", origin))
        return ()


def _get(request: HttpRequest, headers: Fields) -> HttpResponse | None:
    """The refusal of what is not GET or HEAD."""
    if request.method in ("GET", "HEAD"):
        return None
    return HttpResponse(405, b"Method Not Allowed\n", headers=(("Allow", "GET"), *headers))


def _is_allowed(host: str, allowed: frozenset[str]) -> bool:
    return not allowed or "*" in allowed or host in allowed


def _hostname(request: HttpRequest) -> str:
    """The host that the request is for, without its port."""
    host = request.headers.get("host") or request.headers.get(":authority", "")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
