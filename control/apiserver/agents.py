"""Where the node agents are and how they are spoken to: HTTPS with the API server's own client certificate.

Faults assumed: an agent is down, hangs, or is somebody else; its answers are bounded in time, never trusted.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from control.api.schema import Object
from control.api.status import StatusError, bad_request, not_found, service_unavailable
from control.apiserver.settings import Settings
from control.apiserver.tls import Files

DEFAULT_PORT: Final = 10250
CONNECT_SECONDS: Final = 5.0
ANSWER_BYTES: Final = 8 << 20
_ORDER: Final = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")


@dataclass(frozen=True, slots=True)
class Place:
    """One agent's address."""

    host: str
    port: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


class Agents:
    """Connections to the agents of all nodes. close() at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._session: Any = None

    @property
    def context(self) -> ssl.SSLContext:
        """What we show and whom we trust. OSError: a certificate cannot be read."""
        if self._context is None:
            settings = self._settings
            context = ssl.create_default_context(cafile=settings.kubelet_ca or None)
            # Agents are found by the address in their Node, which their certificate need not name; the authority does
            # vouch for them, and a node may only write its own Node.
            context.check_hostname = False
            if not settings.kubelet_ca:
                context.verify_mode = ssl.CERT_NONE
            if settings.kubelet_cert:
                context.load_cert_chain(settings.kubelet_cert, settings.kubelet_key)
            self._context = context
        return self._context

    @property
    def files(self) -> Files | None:
        """Our own certificate, for who looks whether it was renewed; None: we show none."""
        settings = self._settings
        return Files(settings.kubelet_cert, settings.kubelet_key) if settings.kubelet_cert else None

    def renew(self) -> None:
        """Show what the files have now, from the next connection on. OSError: they cannot be read."""
        if self._context is not None:
            self._context.load_cert_chain(self._settings.kubelet_cert, self._settings.kubelet_key)

    @property
    def session(self) -> Any:
        """An aiohttp session, made when the first agent is asked."""
        if self._session is None:
            import aiohttp

            connector = aiohttp.TCPConnector(ssl=self.context, limit=500, limit_per_host=50, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None, sock_connect=5)
            )
        return self._session

    async def get_json(self, place: Place, path: str, seconds: float) -> Any:
        """An agent's answer. StatusError 503: none, or none in time."""
        import aiohttp

        try:
            async with asyncio.timeout(seconds), self.session.get(place.url + path) as response:
                if response.status != 200:
                    raise service_unavailable(f"{place.url}{path} answered {response.status}")
                return orjson.loads(await _bounded(response))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            raise service_unavailable(f"the agent at {place.url} does not answer: {_why(problem)}") from None

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _bounded(response: Any) -> bytes:
    """The whole body. ValueError: it is longer than a summary may be."""
    found = bytearray()
    async for piece in response.content.iter_any():
        found += piece
        if len(found) > ANSWER_BYTES:
            raise ValueError(f"its answer has more than {ANSWER_BYTES} bytes")
    return bytes(found)


def _why(problem: BaseException) -> str:
    return str(problem) or type(problem).__name__


def place_of(node: Object) -> Place:
    """Where a node's agent listens. StatusError 503: the node does not say."""
    status = node.get("status") or {}
    addresses: Mapping[str, str] = {
        entry.get("type", ""): entry.get("address", "") for entry in reversed(status.get("addresses") or [])
    }
    host = next((addresses[kind] for kind in _ORDER if addresses.get(kind)), "")
    if not host:
        raise service_unavailable(f"node {node['metadata']['name']} has no address")
    endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    return Place(host, int(endpoint.get("Port") or DEFAULT_PORT))


def node_of(pod: Object) -> str:
    """The node a pod is bound to. StatusError 400: none yet."""
    name = (pod.get("spec") or {}).get("nodeName")
    if not name:
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return str(name)


def find_node(node: Object | None, name: str) -> Object:
    """The node. StatusError 404."""
    if node is None:
        raise not_found("nodes", name)
    return node


def container_of(pod: Object, wanted: str) -> str:
    """The container that a request is about: the one named, or the only one. StatusError 400."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [c["name"] for c in spec.get("containers") or []]
    others = [c["name"] for field in ("initContainers", "ephemeralContainers") for c in spec.get(field) or []]
    if wanted:
        if wanted not in names and wanted not in others:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    if default in names:
        return str(default)
    if len(names) == 1:
        return str(names[0])
    message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    if others:
        message += f" or one of the init containers: [{' '.join(others)}]"
    raise bad_request(message)


def path_of(*parts: str) -> str:
    """A path of these parts, each quoted."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def refuse(problem: BaseException, place: Place) -> StatusError:
    """503 for an agent that cannot be reached."""
    return service_unavailable(f"error dialing backend: {dialed(problem, place.host, place.port)}")


def dialed(problem: BaseException, host: str, port: int) -> str:
    """Why no connection came about, in the words that Go has for it."""
    cause = getattr(problem, "os_error", None) or problem
    number = getattr(cause, "errno", None)
    if isinstance(cause, TimeoutError) or not isinstance(number, int) or number <= 0:
        why = "i/o timeout" if isinstance(cause, TimeoutError) else str(cause) or type(cause).__name__
        return f"dial tcp {host}:{port}: {why}"
    return f"dial tcp {host}:{port}: connect: {os.strerror(number).lower()}"
