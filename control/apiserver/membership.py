"""Which API servers there are: each holds a key under a lease; all keep the Endpoints `kubernetes` in step with them.

Key: /registry/masterleases/<ip>:<port>. A server that dies loses its key with the lease, and the others take its
address out; any number may write the same Endpoints, since they write the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, Final

from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.objects import StoredObjects
from control.apiserver.server import Server
from control.apiserver.watch_cache import WatchCache
from kvstore.client import ClientError, LeaseLost, LeaseNotFound

log = logging.getLogger(__name__)

PREFIX: Final = b"/registry/masterleases/"
TTL: Final = 15
PERIOD: Final = 10.0
_NAMESPACE, _NAME = "default", "kubernetes"
_SLICES: Final = "endpointslices.discovery.k8s.io"
_OF_SERVICE: Final = "kubernetes.io/service-name"
_OURS: Final = re.compile(r"kubernetes-ipv[46]-\d+")


class Membership:
    """This server among the others. start(), close()."""

    def __init__(self, server: Server) -> None:
        self._server = server
        settings = server.settings
        self.address = settings.advertise_address or reachable_address(settings.bind_address)
        self._value = b'{"apiVersion":"v1","kind":"ApiServer","metadata":{"name":"%b"}}' % self.address.encode()
        self._key = PREFIX + f"{self.address}:{server.port}".encode()
        self._session: Any = None
        # Under which lease the key was written last.
        self._announced = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Announce the server, and keep doing so."""
        self._task = asyncio.create_task(self._run(), name="membership")

    async def close(self) -> None:
        """Take the server out of the Endpoints, as far as the store answers in a moment."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(ClientError, StatusError, TimeoutError):
            async with asyncio.timeout(1.0):
                if self._session is not None:
                    await self._session.close()
                page = await self._server.storage.page(PREFIX)
                await self._reconcile([stored.key for stored in page.items])

    async def _run(self) -> None:
        cache = WatchCache(PREFIX, False, ())
        cache.subscribe(lambda old, new: self._changed.set())
        while True:
            try:
                await self._server.feed.load(cache)
                await self._announce(cache)
                await self._reconcile(cache.objects)
            except (ClientError, StatusError) as problem:
                log.warning("the API server cannot announce itself: %s", problem)
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD):
                    await self._changed.wait()

    async def _announce(self, cache: WatchCache) -> None:
        """Have our key in the store, under a lease that lives. What memory shows is enough to see that it is."""
        client = self._server.storage.client
        if self._session is not None and not self._session.alive:
            with contextlib.suppress(ClientError):
                await self._session.close()
            self._session = None
        if self._session is None:
            session = client.session(TTL)
            await session.start()
            self._session = session
        if self._key in cache.objects and self._announced == self._session.lease_id:
            return
        try:
            await client.put(self._key, self._value, lease=self._session.lease_id)
            self._announced = self._session.lease_id
        except (LeaseLost, LeaseNotFound):
            self._session = None

    async def _reconcile(self, keys: Iterable[bytes]) -> None:
        """Write the addresses of the servers with these keys, if they are not there already."""
        places = sorted(key.removeprefix(PREFIX).decode() for key in keys)
        if not places:
            return
        await _ensure(self._server, "endpoints", endpoints_of(places))
        wanted = slices_of(places)
        for one in wanted:
            await _ensure(self._server, _SLICES, one)
        await _remove_others(self._server, {one["metadata"]["name"] for one in wanted})


async def _ensure(server: Server, resource: str, wanted: Object) -> None:
    """Have the object in the store. Mostly memory has it so: then the store, which is asked every few seconds by every
    server, is left alone.
    """
    fields = [field for field in wanted if field != "metadata"]

    def differs(present: Object) -> bool:
        return any(present.get(field) != wanted[field] for field in fields)

    def change(present: Object) -> Object | None:
        return {**present, **{field: wanted[field] for field in fields}} if differs(present) else None

    cache = await server.resources.loaded(server.resources.catalogue[resource])
    name = wanted["metadata"]["name"]
    cached = cache.get(_NAMESPACE, name)
    if cached is not None and not differs(cached.object()):
        return
    objects = StoredObjects(server)
    try:
        await objects.update(resource, _NAMESPACE, name, change)
    except StatusError as problem:
        if problem.code != 404:
            raise
        with contextlib.suppress(StatusError):
            await objects.create(resource, wanted)


async def _remove_others(server: Server, wanted: set[str]) -> None:
    """Slices of servers that are gone; only those with names of ours."""
    cache = await server.resources.loaded(server.resources.catalogue[_SLICES])
    found = [cached.object()["metadata"] for cached in cache.snapshot(_NAMESPACE)]
    for metadata in found:
        ours = (metadata.get("labels") or {}).get(_OF_SERVICE) == _NAME and _OURS.fullmatch(metadata["name"])
        if ours and metadata["name"] not in wanted:
            with contextlib.suppress(StatusError):
                await StoredObjects(server).delete(_SLICES, _NAMESPACE, metadata["name"])


def _split(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host, int(port)


def endpoints_of(places: list[str]) -> Object:
    """The Endpoints: servers that listen on the same port share a subset."""
    by_port: dict[int, list[str]] = {}
    for place in places:
        host, port = _split(place)
        by_port.setdefault(port, []).append(host)
    subsets = [
        {
            "addresses": [{"ip": host} for host in sorted(hosts)],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        for port, hosts in sorted(by_port.items())
    ]
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    return {"metadata": {"name": _NAME, "namespace": _NAMESPACE, "labels": labels}, "subsets": subsets}


def slices_of(places: list[str]) -> list[Object]:
    """The EndpointSlices. Each has one port and one family, so servers of one machine, which listen on different
    ports, need one each; the first is called as the Service."""
    groups: dict[tuple[int, str], list[str]] = {}
    for host, port in map(_split, places):
        groups.setdefault((port, "IPv6" if ":" in host else "IPv4"), []).append(host)
    return [
        {
            "metadata": {
                "name": f"{_NAME}-{family.lower()}-{port}" if number else _NAME,
                "namespace": _NAMESPACE,
                "labels": {_OF_SERVICE: _NAME},
            },
            "addressType": family,
            "endpoints": [{"addresses": [host], "conditions": {"ready": True}} for host in sorted(hosts)],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        for number, ((port, family), hosts) in enumerate(groups.items())
    ]


def reachable_address(bound: str) -> str:
    """The address that others reach a server at which listens on `bound`: itself, or the machine's way out."""
    with contextlib.suppress(ValueError):
        if not ip_address(bound).is_unspecified:
            return bound
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: connecting a UDP socket only chooses the way.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"
