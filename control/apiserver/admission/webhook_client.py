"""Calls webhooks over HTTPS: by URL, or by a Service of the cluster, whose endpoints are looked up here.

The certificate is checked against the webhook's caBundle (the machine's authorities without one), and for a Service
against <name>.<namespace>.svc. Redirects are not followed; answers are bounded; each call has its own time limit.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import orjson

from control.api.schema import Object
from control.apiserver.admission.webhook_rules import Hook
from control.apiserver.request import Caches

if TYPE_CHECKING:
    import aiohttp

_ANSWER_BYTES = 8 << 20
_CONTEXTS = 64
SLICES = "endpointslices.discovery.k8s.io"


class CallFailed(Exception):
    """The webhook could not be called, or answered with an error."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and which name the certificate must have."""

    url: str
    server_name: str


class WebhookClient:
    """One for all webhooks; connections are kept open."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._session: aiohttp.ClientSession | None = None
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    async def call(self, hook: Hook, question: Object) -> bytes:
        """The answer's body. Raises CallFailed with a text for people; never takes longer than the hook's timeout."""
        # Half of the server's start would be this import, and few clusters have webhooks.
        import aiohttp

        config = hook.webhook.get("clientConfig") or {}
        try:
            async with asyncio.timeout(hook.seconds):
                target = find_target(config, self._caches)
                return await self._post(target, self._context(config), hook.seconds, orjson.dumps(question))
        except TimeoutError:
            raise CallFailed("context deadline exceeded") from None
        except (aiohttp.ClientError, ssl.SSLError, OSError) as problem:
            raise CallFailed(str(problem) or type(problem).__name__) from None

    async def close(self) -> None:
        """End its connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, target: Target, context: ssl.SSLContext, seconds: int, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "fluyt-apiserver"}
        options: dict[str, Any] = {"ssl": context, "server_hostname": target.server_name, "allow_redirects": False}
        url = f"{target.url}{'&' if '?' in target.url else '?'}timeout={seconds}s"
        async with self._http().post(url, data=body, headers=headers, **options) as response:
            found = await _bounded(response)
            if response.status != 200:
                text = found[:200].decode(errors="replace").strip()
                raise CallFailed(f"it answered {response.status} {text}".rstrip())
            return found

    def _http(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(trust_env=False)
        return self._session

    def _context(self, config: Object) -> ssl.SSLContext:
        bundle = str(config.get("caBundle") or "")
        found = self._contexts.get(bundle)
        if found is None:
            found = self._contexts[bundle] = make_context(bundle)
            if len(self._contexts) > _CONTEXTS:
                self._contexts.popitem(last=False)
        return found


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        found += piece
        if len(found) > _ANSWER_BYTES:
            raise CallFailed(f"its answer has more than {_ANSWER_BYTES} bytes")
    return bytes(found)


def make_context(bundle: str) -> ssl.SSLContext:
    """bundle: PEM in base64, "" for the machine's authorities. Raises CallFailed."""
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(bundle, validate=True).decode("ascii"))
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError):
        raise CallFailed("clientConfig.caBundle holds no certificates in PEM") from None


def find_target(config: Object, caches: Caches) -> Target:
    """Where a webhook's clientConfig points to. Raises CallFailed when the Service has no place that answers. Pure."""
    if config.get("url"):
        parts = urlsplit(str(config["url"]))
        if parts.scheme != "https" or not parts.hostname:
            raise CallFailed(f"clientConfig.url {config['url']!r} is not an https URL")
        return Target(urlunsplit(parts), parts.hostname)
    service = config.get("service") or {}
    namespace, name = str(service.get("namespace") or ""), str(service.get("name") or "")
    port = int(service.get("port") or 443)
    host, number = _place(caches, namespace, name, port)
    path = "/" + str(service.get("path") or "").lstrip("/")
    return Target(f"https://{f'[{host}]' if ':' in host else host}:{number}{path}", f"{name}.{namespace}.svc")


def _place(caches: Caches, namespace: str, name: str, port: int) -> tuple[str, int]:
    """One ready endpoint: an API server may be outside the network where cluster addresses work."""
    service = caches.get("services", namespace, name)
    if service is None:
        raise CallFailed(f'service "{name}" not found in namespace "{namespace}"')
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName")), port
    served = next((entry for entry in spec.get("ports") or () if entry.get("port") == port), None)
    if served is None:
        raise CallFailed(f'service "{name}" in namespace "{namespace}" has no port {port}')
    for found in caches.list(SLICES, namespace):
        labels = (found.get("metadata") or {}).get("labels") or {}
        place = (
            _ready(found, str(served.get("name") or "")) if labels.get("kubernetes.io/service-name") == name else None
        )
        if place is not None:
            return place
    raise CallFailed(f'no endpoints available for service "{name}" in namespace "{namespace}"')


def _ready(found: Object, port_name: str) -> tuple[str, int] | None:
    number = next((p.get("port") for p in found.get("ports") or () if (p.get("name") or "") == port_name), None)
    for endpoint in found.get("endpoints") or ():
        ready = (endpoint.get("conditions") or {}).get("ready")
        if number and ready is not False and endpoint.get("addresses"):
            return str(endpoint["addresses"][0]), int(number)
    return None
