"""/proxy of pods, services and nodes: plain HTTP to what listens there.

Name: [https:]name[:port], the port a number or a port's name. The client's credentials stay here. Addresses that only
mean something on this very machine (link-local, multicast) are refused; loopback is allowed where nodes themselves
have it as their address, as in a cluster on one machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote

from control.api.schema import Object
from control.api.status import StatusError, bad_request, not_found, service_unavailable
from control.apiserver.agents import find_node, place_of
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.request import Review
from control.apiserver.tunnel import is_upgrade, passed_on, tunnel

HEAD_SECONDS: Final = 60.0
_HOP: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authenticate"}
)
_BODY: Final = 3 << 20


@dataclass(frozen=True, slots=True)
class Backend:
    """Where the request goes."""

    host: str
    port: int
    tls: bool = False
    context: ssl.SSLContext | None = None


async def proxy(call: Call) -> Answer:
    """The backend's answer. StatusError 400, 404, 503."""
    scheme, name, port = split_name(call.info.name)
    await _admit(call, name)
    backend = await _allowed(call, _FIND[call.of.plural](call, scheme, name, port))
    query = call.scope["query_string"].decode("latin-1")
    # The path was decoded once: encoded once more it is what the client sent.
    target = "/" + quote(call.info.rest, safe="/:@!$&'()*+,;=~-._") + (f"?{query}" if query else "")
    if is_upgrade(call.headers):
        context = backend.context or (_any_certificate() if backend.tls else None)
        return await tunnel(call, backend.host, backend.port, target, context)
    return await _forward(call, backend, target)


async def _admit(call: Call, name: str) -> None:
    kind = f"{call.of.name}ProxyOptions"
    options: Object = {"kind": kind, "apiVersion": "v1", "path": call.info.rest}
    review = Review(call.user, call.info, call.of, "CONNECT", options, warnings=call.warnings)
    await call.server.security.admission.mutate(review)
    await call.server.security.admission.validate(review)


def split_name(text: str) -> tuple[str, str, str]:
    """("https", "web", "8443") of "https:web:8443"; scheme and port may be "". StatusError 400."""
    parts = text.split(":")
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return parts[0], parts[1], parts[2]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 1:
        return "", text, ""
    raise bad_request(f"invalid proxy request {text!r}: expected [https:]name[:port]")


def _pod(call: Call, scheme: str, name: str, port: str) -> Backend:
    pod = call.server.resources.get("pods", call.namespace, name)
    if pod is None:
        raise not_found("pods", name)
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise service_unavailable(f"pod {name} has no address yet")
    ports = [p for c in pod["spec"].get("containers") or [] for p in c.get("ports") or []]
    number = _number(port, {p.get("name"): p.get("containerPort") for p in ports})
    if number is None:
        number = next((p["containerPort"] for p in ports if p.get("protocol", "TCP") == "TCP"), 80)
    return Backend(address, number, scheme == "https")


def _service(call: Call, scheme: str, name: str, port: str) -> Backend:
    resources = call.server.resources
    service = resources.get("services", call.namespace, name)
    if service is None:
        raise not_found("services", name)
    ports = (service.get("spec") or {}).get("ports") or []
    wanted = next((p for p in ports if port in (p.get("name"), str(p.get("port")))), None) if port else None
    if wanted is None and (port or len(ports) != 1):
        raise service_unavailable(f"no port {port!r} in service {name}")
    chosen = wanted or ports[0]
    found = []
    for subset in (resources.get("endpoints", call.namespace, name) or {}).get("subsets") or []:
        for entry in subset.get("ports") or []:
            if entry.get("name", "") == chosen.get("name", ""):
                found += [(address["ip"], entry["port"]) for address in subset.get("addresses") or []]
    if not found:
        raise service_unavailable(f'no endpoints available for service "{name}"')
    address, number = random.choice(found)
    return Backend(address, number, scheme == "https")


def _node(call: Call, scheme: str, name: str, port: str) -> Backend:
    place = place_of(find_node(call.server.resources.get("nodes", "", name), name))
    number = _number(port, {})
    if number is None or number == place.port:
        return Backend(place.host, place.port, True, call.server.agents.context)
    return Backend(place.host, number, scheme == "https")


_FIND: Final[dict[str, Any]] = {"pods": _pod, "services": _service, "nodes": _node}


def _number(port: str, names: dict[Any, Any]) -> int | None:
    if not port:
        return None
    if port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return int(port)
    if port in names:
        return int(names[port])
    raise bad_request(f"there is no port {port!r}")


async def _allowed(call: Call, backend: Backend) -> Backend:
    """The backend by its address, if a proxy may go there. StatusError 403; 503: its name has no address."""
    if backend.context is not None:
        return backend  # the node's agent, which proves that it is one
    address = await _address(backend.host)
    ip = ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    local = ip.is_loopback and _nodes_are_local(call)
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or (ip.is_loopback and not local):
        raise StatusError(403, "Forbidden", f"address not allowed: {address}")
    return replace(backend, host=address)


async def _address(host: str) -> str:
    """The address itself, or that of a name: some nodes tell no other."""
    with contextlib.suppress(ValueError):
        return str(ip_address(host))
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise service_unavailable(f"error trying to reach service: lookup {host}: {problem}") from None
    return str(found[0][4][0])


def _nodes_are_local(call: Call) -> bool:
    """Whether this cluster lives on one machine."""
    for node in call.server.resources.list("nodes"):
        for entry in (node.get("status") or {}).get("addresses") or []:
            if entry.get("type") == "InternalIP" and entry.get("address", "").startswith(("127.", "::1")):
                return True
    return False


def _any_certificate() -> ssl.SSLContext:
    """Pods have certificates of their own making; as kube-apiserver, the proxy does not judge them."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _forward(call: Call, backend: Backend, target: str) -> Answer:
    import aiohttp
    from yarl import URL

    host = f"[{backend.host}]" if ":" in backend.host else backend.host
    url = URL(f"{'https' if backend.tls else 'http'}://{host}:{backend.port}{target}", encoded=True)
    headers = {name: value for name, value in passed_on(call.headers).items() if name not in _HOP}
    body = await call.body(_BODY)
    context = backend.context or _any_certificate()
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            response = await call.server.agents.session.request(
                call.info.method, url, headers=headers, data=body or None, ssl=context, allow_redirects=False
            )
    except (aiohttp.ClientError, OSError, TimeoutError) as problem:
        why = str(problem) or type(problem).__name__
        raise service_unavailable(f"error trying to reach service: {why}") from None
    kept = [
        (name.lower().encode(), value.encode("latin-1", "replace"))
        for name, value in response.headers.items()
        if name.lower() not in _HOP | {"content-length", "content-type", "date"}
    ]
    media_type = response.headers.get("Content-Type", "application/octet-stream").encode("latin-1", "replace")
    return Answer(response.status, media_type=media_type, headers=kept, stream=_pieces(response))


async def _pieces(response: Any) -> AsyncIterator[bytes]:
    try:
        async for piece in response.content.iter_any():
            yield piece
    finally:
        response.close()
