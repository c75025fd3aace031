"""A place in a line of keys: what locks and elections have in common.

The line is the keys `<name>/<lease id in hexadecimal>`, in the order of their create revisions; the first one holds
whatever the line is for. Who waits watches only the place right before its own, so one release wakes one waiter.
The create revision of a place is its fencing token: it grows from holder to holder, and a transaction that compares it
cannot succeed after the place is gone. Source: etcd's client-side recipe (clientv3/concurrency), so that etcdctl and
Go programs stand in the same line.

Invariant: while the holder's session is alive, its key is in the store. Faults assumed: as in session.py; every call
may fail or be of unknown fate, and be carried out long after it was given up. So all writes to a place compare its
create revision, and those that change it the revision of its last change, too: what comes late changes nothing. For
an entry that comes late there is nothing to compare; ghost.py removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from kvstore.client.errors import ClientError, LeaseLost, LeaseNotFound
from kvstore.client.ghost import Ghost
from kvstore.client.kv import KV
from kvstore.client.patience import patiently
from kvstore.client.requests import Bytes, to_bytes
from kvstore.client.session import Session
from kvstore.client.txn import create_revision, delete, get, mod_revision, put
from kvstore.client.watch import Watches
from kvstore.pb import etcd_pb2 as pb


class Place:
    """One session's place in the line `name`."""

    def __init__(self, kv: KV, watches: Watches, session: Session, name: Bytes) -> None:
        self._kv = kv
        self._watches = watches
        self.session = session
        self.prefix = to_bytes(name) + b"/"
        # The key and its create revision, b"" and 0 while there is no place.
        self.key = b""
        self.revision = 0
        # The revision of its last write, as far as we know.
        self._written = 0
        # Whether it was left, and the store has not said yet that it is gone.
        self._leaving = False
        # The key's life without us, if an attempt to enter was of unknown fate.
        self._ghost: Ghost | None = None
        # The header of the store's last answer to this place.
        self.header = pb.ResponseHeader()

    @property
    def standing(self) -> bool:
        """Whether the place is (as far as the clock can say) still in the line."""
        return self.revision > 0 and self.session.alive

    def fenced(self) -> pb.Compare:
        """The compare that holds as long as this very place is in the line. Raises LeaseLost when it is gone."""
        if not self.revision:
            raise LeaseLost(self.session.lease_id)
        return create_revision(self.key) == self.revision

    async def enter(self, value: bytes) -> None:
        """Step into the line with a value; the session's own place is kept if it has one, with the new value.

        Raises LeaseLost for a session whose lease is gone.
        """
        await self.session.start()
        if self._leaving:
            # Its deletion may still come: a place that was taken over would fall to it.
            await self.leave()
        key = self.prefix + f"{self.session.lease_id:x}".encode()
        self._ghost = self.session.ghosts.get(key)
        if self._ghost is not None:
            await self._ghost.pause()
        answer = await self._put_if_absent(key, value)
        self.key, self.header = key, answer.header
        if answer.succeeded:
            self.revision = self._written = answer.header.revision
            return
        found = answer.responses[0].response_range.kvs[0]
        self.revision, self._written = found.create_revision, found.mod_revision
        if found.value != value:
            await self.update(value)

    async def _put_if_absent(self, key: bytes, value: bytes) -> pb.TxnResponse:
        write = put(key, value, lease=self.session.lease_id)
        entry = self._kv.txn().when(create_revision(key) == 0).then(write).otherwise(get(key))
        try:
            return await entry.commit(repeatable=True, on_doubt=partial(self._may_appear, key))
        except LeaseNotFound:
            raise LeaseLost(self.session.lease_id) from None
        except asyncio.CancelledError:
            self._may_appear(key)
            raise

    def _may_appear(self, key: bytes) -> None:
        """The store may put the key at any time from now on, also after we have left."""
        if key not in self.session.ghosts:
            self.session.ghosts[key] = Ghost(self._kv, self._watches, self.session, key)
        self._ghost = self.session.ghosts[key]

    async def update(self, value: bytes) -> bool:
        """Write a new value to the place; False if it is not in the line any more."""
        write = put(self.key, value, lease=self.session.lease_id)
        return await self._rewrite(write, lambda place: place.value == value)

    async def move(self, session: Session) -> None:
        """Hang the place on another session's lease; it keeps its key, value and revision.

        The session before it is the caller's to close. Raises LeaseLost when the place is not in the line any more.
        """
        await session.start()
        write = put(self.key, lease=session.lease_id, ignore_value=True)
        try:
            moved = await self._rewrite(write, lambda place: place.lease == session.lease_id)
        except LeaseNotFound:
            raise LeaseLost(session.lease_id) from None
        if not moved:
            raise LeaseLost(self.session.lease_id)
        self.session = session

    async def _rewrite(self, write: pb.RequestOp, done: Callable[[pb.KeyValue], bool]) -> bool:
        """Write to the place if it is as we wrote it last; False if it is not in the line any more."""
        while True:
            as_we_left_it = mod_revision(self.key) == self._written
            change = self._kv.txn().when(self.fenced(), as_we_left_it).then(write).otherwise(get(self.key))
            answer = await change.commit(repeatable=True)
            self.header = answer.header
            if answer.succeeded:
                self._written = answer.header.revision
                return True
            found = answer.responses[0].response_range.kvs
            if not found or found[0].create_revision != self.revision:
                return False
            # An attempt of ours whose answer we have not heard, of this write or of one before.
            self._written = found[0].mod_revision
            if done(found[0]):
                return True

    async def wait_first(self) -> None:
        """Wait until no place is before this one. Raises LeaseLost when the session or the place is lost first."""
        await self.session.unless_lost(self._wait_first())

    async def _wait_first(self) -> None:
        while not await patiently(self._look):
            pass

    async def _look(self) -> bool:
        """Whether this place is first; otherwise wait until the one before it is gone, then say False."""
        own = get(self.key, keys_only=True)
        before = get(
            self.prefix,
            prefix=True,
            max_create_revision=self.revision - 1,
            sort_by="create",
            order="descend",
            limit=1,
            keys_only=True,
        )
        answer = await self._kv.txn().then(own, before).commit()
        mine = answer.responses[0].response_range.kvs
        if not mine or mine[0].create_revision != self.revision:
            raise LeaseLost(self.session.lease_id)
        earlier = answer.responses[1].response_range.kvs
        if not earlier:
            self.header = answer.header
            return True
        watch = self._watches.watch(earlier[0].key, start_revision=answer.header.revision + 1, ignore=["put"])
        async with watch:
            await anext(watch)
        return False

    async def leave(self) -> None:
        """Step out of the line. Raises what a repeatable write does when the store cannot be asked.

        Then the place is deleted once the store can be, and leaving again is harmless.
        """
        try:
            if self.revision:
                await self._delete()
        finally:
            if self._leaving:
                self._may_appear(self.key)
            # Once for each time: leaving again must not hit another claim of the session to the same name.
            ghost, self._ghost = self._ghost, None
            if ghost is not None:
                ghost.begin()

    async def _delete(self) -> None:
        self._leaving = True
        step = self._kv.txn().when(self.fenced()).then(delete(self.key))
        self.header = (await step.commit(repeatable=True)).header
        self.key, self.revision, self._leaving = b"", 0, False

    async def abandon(self) -> None:
        """Step out as far as that is possible now; the end of the lease does the rest."""
        with contextlib.suppress(ClientError):
            await self.leave()
