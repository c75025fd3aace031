"""The asynchronous client: everything a program can ask of a store, in one object.

async with connect("127.0.0.1:2379") as client:
    await client.put("greeting", "hello")
    print((await client.get("greeting")).value)
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from kvstore.client.auth import Auth
from kvstore.client.cluster import Cluster
from kvstore.client.election import Election
from kvstore.client.kv import KV
from kvstore.client.lease import Leases
from kvstore.client.lock import Lock
from kvstore.client.maintenance import Maintenance
from kvstore.client.requests import Bytes
from kvstore.client.session import Session
from kvstore.client.settings import DEFAULT_ENDPOINT, Settings
from kvstore.client.transport import Transport
from kvstore.client.watch import Watch, Watches, WatchOptions


class AsyncClient(KV):
    """A client for use inside one event loop; make it there. KV's methods are its own, the rest hangs on attributes.

    leases, cluster, maintenance, auth: the calls of those services.
    """

    def __init__(self, settings: Settings) -> None:
        """Connects when it is first used. Raises ValueError for a malformed endpoint."""
        transport = Transport(settings)
        super().__init__(transport)
        self.settings = settings
        self.leases = Leases(transport)
        self.cluster = Cluster(transport)
        self.maintenance = Maintenance(transport)
        self.auth = Auth(transport)
        self._watches = Watches(transport)

    def watch(self, key: Bytes, range_end: Bytes | None = None, **options: Unpack[WatchOptions]) -> Watch:
        """A watch of one key, of [key, range_end), or as the options say; see kvstore.client.watch."""
        return self._watches.watch(key, range_end, **options)

    def session(self, ttl: int = 60, lease_id: int = 0) -> Session:
        """A lease kept alive while this program lives; `async with`, or start() and close()."""
        return Session(self.leases, ttl, lease_id)

    def lock(self, name: Bytes, ttl: int = 60, *, session: Session | None = None) -> Lock:
        """A lock; `async with`, or acquire() and release(). ttl: seconds until a silent holder has lost it."""
        return Lock(self, self._watches, session or self.session(ttl), name, own_session=session is None)

    def election(self, name: Bytes, ttl: int = 60, *, session: Session | None = None) -> Election:
        """An election. ttl: seconds until a silent leader has lost it."""
        return Election(self, self._watches, session or self.session(ttl), name, own_session=session is None)

    async def close(self) -> None:
        """End every connection. Watches and sessions must be closed before."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def connect(endpoints: str | Sequence[str] = DEFAULT_ENDPOINT, **settings: Any) -> AsyncClient:
    """A client of the members at `endpoints` (host:port or URLs, a list or separated by commas).

    settings: the other fields of kvstore.client.settings.Settings: timeout, user, password, tls, …
    Call it inside the event loop that will use it. Raises ValueError for a malformed endpoint.
    """
    return AsyncClient(Settings(endpoints=endpoint_list(endpoints), **settings))


def endpoint_list(endpoints: str | Sequence[str]) -> tuple[str, ...]:
    """One string with commas, or a sequence, as a tuple of distinct endpoints in their order."""
    parts = endpoints.split(",") if isinstance(endpoints, str) else endpoints
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
