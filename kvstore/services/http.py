"""Plain HTTP on the client port: /health, /version and /metrics, as etcd answers them."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qs

from kvstore.member.member import Member
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.metrics import render
from kvstore.version import ETCD_CLUSTER_VERSION, ETCD_VERSION
from kvstore.wire.http1 import HttpRequest, HttpResponse
from kvstore.wire.server import GrpcServer

JSON = "application/json"


def register(server: GrpcServer, member: Member) -> None:
    """Answer HTTP/1.1 requests on the server's port."""
    routes: dict[str, Callable[[HttpRequest], HttpResponse]] = {
        "/health": lambda request: _health(member, request),
        "/version": lambda request: _json(200, {"etcdserver": ETCD_VERSION, "etcdcluster": ETCD_CLUSTER_VERSION}),
        "/metrics": lambda request: HttpResponse(200, *render(member, server)),
    }

    def answer(request: HttpRequest) -> HttpResponse:
        route = routes.get(request.path)
        if route is None:
            return HttpResponse(404, b"404 page not found\n", "text/plain; charset=utf-8")
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(405, b"Method Not Allowed\n", "text/plain; charset=utf-8", headers=(("Allow", "GET"),))
        return route(request)

    server.http = answer


def _json(status: int, body: dict[str, str]) -> HttpResponse:
    return HttpResponse(status, json.dumps(body, separators=(",", ":")).encode(), JSON)


def _health(member: Member, request: HttpRequest) -> HttpResponse:
    """Healthy: no alarm (but those excluded) and a leader is known. etcd: server/etcdserver/api/etcdhttp."""
    excluded = set(parse_qs(request.query).get("exclude", []))
    reason = ""
    for alarm in member.alarms.active():
        name = pb.AlarmType.Name(alarm.alarm)
        if name not in excluded:
            reason = f"ALARM {name}"
    if not reason and not member.leader_id:
        reason = "RAFT NO LEADER"
    healthy = not reason
    return _json(200 if healthy else 503, {"health": "true" if healthy else "false", "reason": reason})
