"""v3lockpb.Lock: locks for clients that cannot do the recipe themselves.

Lock answers once the caller's key is first in the queue of its name; the key is the proof of ownership, lives as long
as its lease, and its create revision is a fencing token (docs/fencing.md). A caller that goes away while it waits
leaves the queue. Unlock deletes the key.
"""

from __future__ import annotations

from kvstore.errors import EtcdError
from kvstore.member.member import Member
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.guard import check_leader, parse, refuse_learner
from kvstore.services.local_store import LocalStore, key_value
from kvstore.services.place import KeyLost, Place, Queue, found, plain, session
from kvstore.services.tasks import run
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

SESSION_EXPIRED = "mutex: session is expired"


class LockService:
    """The handlers of one member."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def register(self, server: GrpcServer) -> None:
        """Serve the methods of v3lockpb.Lock."""
        server.unary("/v3lockpb.Lock/Lock", self.lock)
        server.unary("/v3lockpb.Lock/Unlock", self.unlock)

    def lock(self, call: Call, message: bytes) -> None:
        """Lock: answered when the lock is held, however long that takes."""
        request = parse(pb.LockRequest, message)
        self._check(call)
        run(self._member, call, self._lock(LocalStore(self._member, call), request))

    async def _lock(self, store: LocalStore, request: pb.LockRequest) -> bytes:
        try:
            lease = await session(store, request.lease)
            place, entered = await Place.enter(store, Queue.named(request.name), lease, b"")
            first = found(entered.results[1])
            revision = entered.revision
            if first and key_value(first[0]).create_revision != place.create_revision:
                revision = await self._wait(place)
        except EtcdError as problem:
            raise plain(problem) from None
        return pb.LockResponse(header=store.header(revision), key=place.key).SerializeToString()

    async def _wait(self, place: Place) -> int:
        """Wait for our turn; the revision at which it was. A wait that fails leaves the queue."""
        try:
            return await place.wait_first()
        except KeyLost:
            raise plain(SESSION_EXPIRED) from None
        except BaseException:
            place.abandon()
            raise

    def unlock(self, call: Call, message: bytes) -> None:
        """Unlock."""
        request = parse(pb.UnlockRequest, message)
        self._check(call)
        run(self._member, call, self._unlock(LocalStore(self._member, call), request))

    async def _unlock(self, store: LocalStore, request: pb.UnlockRequest) -> bytes:
        try:
            revision = await store.delete(request.key)
        except EtcdError as problem:
            raise plain(problem) from None
        return pb.UnlockResponse(header=store.header(revision)).SerializeToString()

    def _check(self, call: Call) -> None:
        check_leader(self._member, call)
        refuse_learner(self._member)
