"""The blocking client: the asynchronous one, method by method, for programs without an event loop.

Every method is made from its asynchronous twin, so their arguments, results and errors are the same by construction.
All of it may be used from several threads at once.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack

from kvstore.client import aio, auth, background, cluster, election, lease, lock, maintenance, session, watch
from kvstore.client.requests import Bytes
from kvstore.client.settings import DEFAULT_ENDPOINT, Settings
from kvstore.client.txn import TxnBuilder
from kvstore.client.watch import WatchOptions
from kvstore.pb import etcd_pb2 as pb

A = TypeVar("A")
# Covariant: a client is a key-value store, so its face has the methods of a store's face.
A_co = TypeVar("A_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class Facade(Generic[A_co]):
    """The blocking face of one asynchronous object."""

    def __init__(self, inner: A_co) -> None:
        self._inner = inner


def blocking(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Facade[A], P], R]:
    """A method that does what the asynchronous one does and waits for it."""

    def call(self: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return background.run(method(self._inner, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call


def iterate(items: AsyncIterator[R]) -> Iterator[R]:
    """The items of an asynchronous iterator, waiting for each; closing the generator ends its source."""
    try:
        while True:
            try:
                yield background.run(_next(items))
            except StopAsyncIteration:
                return
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            background.run(close())


async def _next(items: AsyncIterator[R]) -> R:
    return await anext(items)


class Leases(Facade[lease.Leases]):
    """See kvstore.client.lease."""

    grant = blocking(lease.Leases.grant)
    revoke = blocking(lease.Leases.revoke)
    time_to_live = blocking(lease.Leases.time_to_live)
    list = blocking(lease.Leases.list)
    keep_alive_once = blocking(lease.Leases.keep_alive_once)

    def keep_alive(self, lease_id: int, *, ttl: float | None = None) -> Iterator[pb.LeaseKeepAliveResponse]:
        """Renew for ever, one response a renewal; raises LeaseLost at the end."""
        return iterate(self._inner.keep_alive(lease_id, ttl=ttl))


class Cluster(Facade[cluster.Cluster]):
    """See kvstore.client.cluster."""

    list = blocking(cluster.Cluster.list)
    add = blocking(cluster.Cluster.add)
    remove = blocking(cluster.Cluster.remove)
    update = blocking(cluster.Cluster.update)
    promote = blocking(cluster.Cluster.promote)


class Maintenance(Facade[maintenance.Maintenance]):
    """See kvstore.client.maintenance."""

    status = blocking(maintenance.Maintenance.status)
    hash_kv = blocking(maintenance.Maintenance.hash_kv)
    defragment = blocking(maintenance.Maintenance.defragment)
    move_leader = blocking(maintenance.Maintenance.move_leader)
    alarms = blocking(maintenance.Maintenance.alarms)
    disarm = blocking(maintenance.Maintenance.disarm)

    def snapshot(self, endpoint: str | None = None) -> Iterator[pb.SnapshotResponse]:
        """A snapshot as the store sends it, its checksum checked at the end."""
        return iterate(self._inner.snapshot(endpoint))


class Auth(Facade[auth.Auth]):
    """See kvstore.client.auth."""

    enable = blocking(auth.Auth.enable)
    disable = blocking(auth.Auth.disable)
    status = blocking(auth.Auth.status)
    user_add = blocking(auth.Auth.user_add)
    user_get = blocking(auth.Auth.user_get)
    user_list = blocking(auth.Auth.user_list)
    user_delete = blocking(auth.Auth.user_delete)
    user_change_password = blocking(auth.Auth.user_change_password)
    user_grant_role = blocking(auth.Auth.user_grant_role)
    user_revoke_role = blocking(auth.Auth.user_revoke_role)
    role_add = blocking(auth.Auth.role_add)
    role_get = blocking(auth.Auth.role_get)
    role_list = blocking(auth.Auth.role_list)
    role_delete = blocking(auth.Auth.role_delete)
    role_grant_permission = blocking(auth.Auth.role_grant_permission)
    role_revoke_permission = blocking(auth.Auth.role_revoke_permission)


class Watch(Facade[watch.Watch]):
    """A watch to iterate over: `with client.watch(key) as events: for event in events:`."""

    start = blocking(watch.Watch.start)
    close = blocking(watch.Watch.aclose)
    request_progress = blocking(watch.Watch.request_progress)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pb.Event:
        return self.next()

    def next(self, timeout: float | None = None) -> pb.Event:
        """The next event. Raises TimeoutError after `timeout` seconds (nothing is lost), StopIteration once closed."""
        try:
            return background.run(background.within(timeout, self._inner.__anext__()))
        except StopAsyncIteration:
            raise StopIteration from None

    def responses(self) -> Iterator[pb.WatchResponse]:
        """The store's responses with events, and its progress notices."""
        return iterate(self._inner.responses())

    @property
    def next_revision(self) -> int:
        """The first revision not received yet."""
        return self._inner.next_revision

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Session(Facade[session.Session]):
    """A lease kept alive; see kvstore.client.session."""

    start = blocking(session.Session.start)
    close = blocking(session.Session.close)
    wait_lost = blocking(session.Session.wait_lost)

    @property
    def lease_id(self) -> int:
        """The lease's id, 0 before the start."""
        return self._inner.lease_id

    @property
    def ttl(self) -> int:
        """Seconds, as granted."""
        return self._inner.ttl

    @property
    def alive(self) -> bool:
        """Whether the lease can still be counted on."""
        return self._inner.alive

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Lock(Facade[lock.Lock]):
    """A lock; see kvstore.client.lock."""

    release = blocking(lock.Lock.release)
    wait_lost = blocking(lock.Lock.wait_lost)

    def acquire(self, timeout: float | None = None) -> Self:
        """Wait for the lock. Raises TimeoutError, LeaseLost."""
        background.run(self._inner.acquire(timeout))
        return self

    @property
    def held(self) -> bool:
        """Whether it was taken and its lease is alive."""
        return self._inner.held

    @property
    def key(self) -> bytes:
        """The key that stands for this holder."""
        return self._inner.key

    @property
    def token(self) -> int:
        """The fencing token."""
        return self._inner.token

    def fenced(self) -> pb.Compare:
        """A compare for transactions that must not be applied once the lock is lost."""
        return self._inner.fenced()

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        background.run(self._inner.__aexit__(kind, value, trace))


class Election(Facade[election.Election]):
    """An election; see kvstore.client.election."""

    proclaim = blocking(election.Election.proclaim)
    resign = blocking(election.Election.resign)
    close = blocking(election.Election.close)
    leader = blocking(election.Election.leader)
    wait_lost = blocking(election.Election.wait_lost)

    def campaign(self, value: Bytes = b"") -> Self:
        """Stand for election and wait until elected."""
        background.run(self._inner.campaign(value))
        return self

    def observe(self) -> Iterator[pb.RangeResponse]:
        """Every leader and every value it proclaims, the present one first."""
        return iterate(self._inner.observe())

    @property
    def is_leader(self) -> bool:
        """Whether we were elected and our lease is alive."""
        return self._inner.is_leader

    @property
    def key(self) -> bytes:
        """The key that stands for our candidacy."""
        return self._inner.key

    @property
    def token(self) -> int:
        """The fencing token."""
        return self._inner.token

    def fenced(self) -> pb.Compare:
        """A compare for transactions that must not be applied once the leadership is lost."""
        return self._inner.fenced()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Txn(TxnBuilder):
    """A transaction of a blocking client."""

    def __init__(self, client: aio.AsyncClient) -> None:
        super().__init__()
        self._client = client

    def commit(self, *, repeatable: bool = False) -> pb.TxnResponse:
        """Run it; see kvstore.client.txn.Txn.commit."""
        return background.run(self._client.send_txn(self.request, repeatable))


class Client(Facade[aio.AsyncClient]):
    """A blocking client: `with Client("127.0.0.1:2379") as client: client.put("k", "v")`."""

    def __init__(self, endpoints: str | Sequence[str] = DEFAULT_ENDPOINT, **settings: Any) -> None:
        """endpoints and settings as for kvstore.client.connect. Raises ValueError for a malformed endpoint."""
        wanted = Settings(endpoints=aio.endpoint_list(endpoints), **settings)
        super().__init__(background.make(lambda: aio.AsyncClient(wanted)))
        self.leases = Leases(self._inner.leases)
        self.cluster = Cluster(self._inner.cluster)
        self.maintenance = Maintenance(self._inner.maintenance)
        self.auth = Auth(self._inner.auth)

    get = blocking(aio.AsyncClient.get)
    range = blocking(aio.AsyncClient.range)
    get_prefix = blocking(aio.AsyncClient.get_prefix)
    put = blocking(aio.AsyncClient.put)
    delete = blocking(aio.AsyncClient.delete)
    compact = blocking(aio.AsyncClient.compact)
    close = blocking(aio.AsyncClient.close)

    def txn(self) -> Txn:
        """A transaction to build and commit."""
        return Txn(self._inner)

    def watch(self, key: Bytes, range_end: Bytes | None = None, **options: Unpack[WatchOptions]) -> Watch:
        """A watch of one key, of [key, range_end), or as the options say."""
        return Watch(background.make(lambda: self._inner.watch(key, range_end, **options)))

    def session(self, ttl: int = 60, lease_id: int = 0) -> Session:
        """A lease kept alive while this program lives."""
        return Session(background.make(lambda: self._inner.session(ttl, lease_id)))

    def lock(self, name: Bytes, ttl: int = 60, *, session: Session | None = None) -> Lock:
        """A lock. ttl: seconds until a silent holder has lost it."""
        inner = session._inner if session else None
        return Lock(background.make(lambda: self._inner.lock(name, ttl, session=inner)))

    def election(self, name: Bytes, ttl: int = 60, *, session: Session | None = None) -> Election:
        """An election. ttl: seconds until a silent leader has lost it."""
        inner = session._inner if session else None
        return Election(background.make(lambda: self._inner.election(name, ttl, session=inner)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
