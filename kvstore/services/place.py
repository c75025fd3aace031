"""A place in a queue of keys: what server-side locks and elections are both made of.

Everybody puts one key `name/lease` under the queue's prefix; the key with the lowest create revision is first, and who
comes after waits for the one before. The recipe is that of etcd's clientv3/concurrency, so that its clients, ours, and
these services queue up together.

Invariants: a place is left only by its own create revision, so a key that was made anew is never taken away; who is
told that they are first was first, with their key in place, at the revision of the answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from kvstore.errors import Code, EtcdError, error
from kvstore.mvcc.results import RangeResult, TxnResult
from kvstore.mvcc.types import PUT
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.local_store import LocalStore, key_value
from kvstore.services.local_watch import HistoryGone, LocalWatch
from kvstore.services.tasks import spawn

# Seconds that a lease lives which is granted here because the client named none.
SESSION_TTL = 60


class KeyLost(Exception):
    """Our key went while we waited: the lease ran out, or somebody deleted it."""


@dataclass(frozen=True)
class Queue:
    """The keys under one name."""

    prefix: bytes

    @classmethod
    def named(cls, name: bytes) -> Queue:
        """The queue of a lock's or election's name."""
        return cls(name + b"/")

    @property
    def end(self) -> bytes:
        """The first key behind them: the prefix ends with a slash, so this is simple."""
        return self.prefix[:-1] + b"0"

    def first(self) -> pb.RangeRequest:
        """Who is first."""
        return self._by_creation(pb.RangeRequest.ASCEND)

    def last_before(self, create_revision: int) -> pb.RangeRequest:
        """Who stands right before that revision."""
        request = self._by_creation(pb.RangeRequest.DESCEND)
        request.max_create_revision = create_revision - 1
        return request

    def _by_creation(self, order: pb.RangeRequest.SortOrder) -> pb.RangeRequest:
        target = pb.RangeRequest.CREATE
        return pb.RangeRequest(key=self.prefix, range_end=self.end, sort_order=order, sort_target=target, limit=1)


class Place:
    """One key in a queue."""

    def __init__(self, store: LocalStore, queue: Queue, key: bytes, create_revision: int, lease: int) -> None:
        """Use enter(), or resume a place that was taken before."""
        self._store = store
        self._queue = queue
        self.key = key
        self.create_revision = create_revision
        self.lease = lease

    @classmethod
    async def enter(cls, store: LocalStore, queue: Queue, lease: int, value: bytes) -> tuple[Place, TxnResult]:
        """Take a place, or find the one that the lease has already; the second result of either branch is who is first.

        Cancelled, it leaves a place behind only if the store cannot be reached. Raises what Txn answers.
        """
        key = queue.prefix + b"%x" % lease
        request = pb.TxnRequest(compare=[created_at(key, 0)])
        request.success.add().request_put.CopyFrom(pb.PutRequest(key=key, value=value, lease=lease))
        request.success.add().request_range.CopyFrom(queue.first())
        request.failure.add().request_range.CopyFrom(pb.RangeRequest(key=key))
        request.failure.add().request_range.CopyFrom(queue.first())
        entering = asyncio.ensure_future(store.txn(request))
        try:
            result = await asyncio.shield(entering)
        except asyncio.CancelledError:
            spawn(store.member, _undo(store, queue, key, lease, entering))
            raise
        created = result.revision
        if not result.succeeded:
            created = key_value(found(result.results[0])[0]).create_revision
        return cls(store, queue, key, created, lease), result

    async def wait_first(self) -> int:
        """Wait until all who came before are gone; the revision at which we were first.

        Raises KeyLost, and what Range answers.
        """
        while True:
            before = await self._store.range(self._queue.last_before(self.create_revision))
            self._must_stand()
            if not before.kvs:
                return before.revision
            await self._wait_deleted(key_value(before.kvs[0]).key, before.revision + 1)

    def _must_stand(self) -> None:
        """Our key is there, as of what was read last. Raises KeyLost."""
        mine = self._store.member.store.range(pb.RangeRequest(key=self.key))
        if not mine.kvs or key_value(mine.kvs[0]).create_revision != self.create_revision:
            raise KeyLost

    async def _wait_deleted(self, other: bytes, revision: int) -> None:
        """Return once the other's key was deleted at or after the revision, or when that is not to be known."""
        with LocalWatch(self._store.member.watches) as watch:
            watch.add(other, revision, drop=[PUT])
            watch.add(self.key, revision, drop=[PUT])
            try:
                event = await watch.next()
            except HistoryGone:
                return
            if event.key == self.key:
                raise KeyLost

    async def update(self, value: bytes) -> TxnResult:
        """Give the key another value; `succeeded` is False if it is not ours any more."""
        request = pb.TxnRequest(compare=[created_at(self.key, self.create_revision)])
        request.success.add().request_put.CopyFrom(pb.PutRequest(key=self.key, value=value, lease=self.lease))
        return await self._store.txn(request)

    async def leave(self) -> TxnResult:
        """Take the key away if it is ours still."""
        request = pb.TxnRequest(compare=[created_at(self.key, self.create_revision)])
        request.success.add().request_delete_range.CopyFrom(pb.DeleteRangeRequest(key=self.key))
        return await self._store.txn(request)

    def abandon(self) -> None:
        """Leave without waiting: nobody is there to hear how it went; the lease ends what cannot be left."""
        spawn(self._store.member, _quietly_leave(self))


async def session(store: LocalStore, lease: int) -> int:
    """The client's lease, or one granted here that lives for SESSION_TTL."""
    return lease or await store.grant(SESSION_TTL)


def created_at(key: bytes, revision: int) -> pb.Compare:
    """The fence: true while the key is the one created at that revision (0: while there is none)."""
    return pb.Compare(key=key, target=pb.Compare.CREATE, result=pb.Compare.EQUAL, create_revision=revision)


def found(result: object) -> list[bytes]:
    """The key-values of an operation that was a range."""
    return result.kvs if isinstance(result, RangeResult) else []


def plain(problem: str | EtcdError) -> EtcdError:
    """An error as these two services of etcd give all of theirs: its text, without a code of its own."""
    return EtcdError(Code.UNKNOWN, problem if isinstance(problem, str) else problem.message)


def lease_lost() -> EtcdError:
    """The candidate's lease went while it waited."""
    return plain(error("LEASE_NOT_FOUND"))


async def _quietly_leave(place: Place) -> None:
    try:
        await place.leave()
    except EtcdError:
        return


async def _undo(store: LocalStore, queue: Queue, key: bytes, lease: int, entering: asyncio.Future[TxnResult]) -> None:
    """The call ended while its key was on the way: if it was put, take it away again."""
    try:
        result = await entering
    except EtcdError:
        return
    if result.succeeded:
        await _quietly_leave(Place(store, queue, key, result.revision, lease))
