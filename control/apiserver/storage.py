"""Objects in the store: keys, and one transaction a write.

Every write compares the key's mod_revision (0: the key must not be there) and whatever else the write depends on (a
fence, an address that must be free), and does all it does in that one transaction. So a write that is answered with
success happened once, and one that was refused did not happen. The store is known through kvstore.client only and
may be any etcd from 3.4 on.

Faults assumed: members die, hang, lose their leader at any moment. A write of unknown fate is looked up afterwards:
when the key holds exactly our bytes it was done, otherwise the client hears 504 (see outage.py); it is never repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from control.api.catalogue import BUILTIN
from control.api.status import StatusError, internal_error
from control.apiserver.outage import status_of
from control.apiserver.request import Encryption
from kvstore.client import (
    AsyncClient,
    ClientError,
    LeaseNotFound,
    MaybeApplied,
    TimedOut,
    create_revision,
    delete,
    get,
    mod_revision,
    put,
)
from kvstore.client.requests import prefix_end
from kvstore.pb import etcd_pb2 as pb

ENCRYPTED = b"k8s:enc:"
BARRIER = b"/registry/"
_LOOK_UP_SECONDS = 1.5
# Keys of built-in kinds do not say the group; where two groups serve the objects, it is the one they are stored in.
_BUILTIN: Final = {kind.plural: kind.resource for kind in BUILTIN if kind.stored and not kind.storage_version}


@dataclass(frozen=True, slots=True)
class Stored:
    """One key-value, decrypted. revision: mod_revision.

    problem: why the value could not be read (no key of --encryption-provider-config fits); then value is b"".
    """

    key: bytes
    value: bytes
    revision: int
    problem: StatusError | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a range at one revision. remaining: how many keys follow."""

    items: list[Stored]
    revision: int
    remaining: int


@dataclass(frozen=True, slots=True)
class Fence:
    """A leadership that a write depends on: the election key and its create revision."""

    key: bytes
    revision: int


@dataclass(slots=True)
class Extra:
    """What else a write's transaction holds. claims: keys that must be free, and are taken; releases: given back.

    notes: puts that go along (the cause), without a condition. lease: what the object itself hangs on, 0 for nothing.
    warnings: for the client.
    """

    fence: Fence | None = None
    claims: dict[bytes, bytes] = field(default_factory=dict)
    releases: Sequence[bytes] = ()
    notes: Sequence[pb.RequestOp] = ()
    lease: int = 0
    warnings: list[str] = field(default_factory=list)

    def compares(self) -> list[pb.Compare]:
        """The conditions, each with the operation that tells later whether it held."""
        found = [create_revision(key) == 0 for key in self.claims]
        if self.fence is not None:
            found.append(create_revision(self.fence.key) == self.fence.revision)
        return found

    def looks(self) -> list[pb.RequestOp]:
        keys = [*self.claims, *([self.fence.key] if self.fence else [])]
        return [get(key, keys_only=True) for key in keys]

    def operations(self) -> list[pb.RequestOp]:
        return [*(put(k, v) for k, v in self.claims.items()), *(delete(k) for k in self.releases), *self.notes]


class Changed(Exception):
    """The key is not at the expected revision; `current` is what is there (None: nothing)."""

    def __init__(self, current: Stored | None) -> None:
        super().__init__("the object has changed")
        self.current = current


class Fenced(Exception):
    """The leadership that the write depended on is over."""


class Claimed(Exception):
    """A key that must be free is taken: `key`."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key.decode())
        self.key = key


class Storage:
    """Every method raises StatusError (503, 504, 429 …) when the store fails."""

    def __init__(self, client: AsyncClient, encryption: Encryption | None = None) -> None:
        self.client = client
        self._encryption = encryption
        # The newest revision this server knows of: its own writes' and every answer's.
        self.revision = 0
        # Called when the store does not know a lease any more that keys were to hang on.
        self.lease_lost: list[Callable[[], None]] = []

    # ---- reading ----

    async def get(self, key: bytes) -> Stored | None:
        """The object now (linearizable). StatusError 500: its value cannot be read."""
        stored = await self.look(key)
        if stored is not None and stored.problem is not None:
            raise stored.problem
        return stored

    async def look(self, key: bytes) -> Stored | None:
        """The same, also where the value cannot be read."""
        try:
            answer = await self.client.range(key)
        except ClientError as problem:
            raise status_of(problem) from problem
        self._seen(answer.header.revision)
        return self.stored(answer.kvs[0]) if answer.kvs else None

    async def page(self, prefix: bytes, *, limit: int = 0, revision: int = 0, after: bytes = b"") -> Page:
        """Keys with the prefix, those greater than `after`, at a revision (0: now). StatusError 410: compacted.

        Items whose value cannot be read are among them, each with its problem.
        """
        start, end = (after + b"\0" if after else prefix), prefix_end(prefix)
        try:
            answer = await self.client.range(start, end, limit=limit, revision=revision)
        except ClientError as problem:
            raise status_of(problem) from problem
        self._seen(answer.header.revision)
        remaining = max(answer.count - len(answer.kvs), 0)
        return Page([self.stored(kv) for kv in answer.kvs], revision or answer.header.revision, remaining)

    async def current_revision(self) -> int:
        """The store's revision now: one cheap linearizable read."""
        try:
            answer = await self.client.range(BARRIER, keys_only=True)
        except ClientError as problem:
            raise status_of(problem) from problem
        self._seen(answer.header.revision)
        return answer.header.revision

    def open(self, key: bytes, value: bytes) -> bytes:
        """The value as it was before encryption. StatusError 500: no key fits. Only objects are encrypted."""
        if self._encryption is not None:
            return _decrypted(self._encryption, key, value)
        if value.startswith(ENCRYPTED) and (resource := resource_of(key)):
            where = f"{resource} at {key.decode(errors='replace')}"
            raise internal_error(f"{where} cannot be read: encrypted data, but no --encryption-provider-config")
        return value

    # ---- writing ----

    async def create(self, key: bytes, value: bytes, extra: Extra | None = None) -> int:
        """The revision. Raises Changed when the key is there, Fenced, Claimed."""
        return await self.update(key, value, 0, extra)

    async def update(self, key: bytes, value: bytes, expected: int, extra: Extra | None = None) -> int:
        """Write over the revision `expected`; the new revision. Raises Changed, Fenced, Claimed."""
        if self._encryption is not None and (resource := resource_of(key)):
            value = self._encryption.encrypt(resource, key, value)
        return await self._commit(key, value, expected, extra or Extra())

    async def delete(self, key: bytes, expected: int, extra: Extra | None = None) -> int:
        """Delete the revision `expected`; the deletion's revision. Raises Changed, Fenced, Claimed."""
        return await self._commit(key, None, expected, extra or Extra())

    async def _commit(self, key: bytes, value: bytes | None, expected: int, extra: Extra) -> int:
        """Put the value, or delete the key (None)."""
        operation = delete(key) if value is None else put(key, value, lease=extra.lease)
        txn = self.client.txn().when(mod_revision(key) == expected, *extra.compares())
        txn.then(operation, *extra.operations()).otherwise(get(key), *extra.looks())
        try:
            answer = await txn.commit()
        except LeaseNotFound:
            if not (extra.notes or extra.lease):
                raise status_of(TimedOut("a lease is gone")) from None
            for forget in self.lease_lost:
                forget()
            extra.notes, extra.lease = (), 0
            return await self._commit(key, value, expected, extra)
        except MaybeApplied as unknown:
            return await self._look_up(key, value, expected, unknown)
        except ClientError as problem:
            raise status_of(problem) from problem
        self._seen(answer.header.revision)
        if not answer.succeeded:
            self._explain(answer, expected, extra)
        return answer.header.revision

    async def _look_up(self, key: bytes, value: bytes | None, expected: int, unknown: MaybeApplied) -> int:
        """The revision of a write of unknown fate if it can be seen to have been done."""
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                answer = await self.client.range(key)
        except (ClientError, TimeoutError):
            raise status_of(unknown) from unknown
        self._seen(answer.header.revision)
        if value is not None and answer.kvs and answer.kvs[0].value == value and answer.kvs[0].mod_revision > expected:
            return answer.kvs[0].mod_revision
        if value is None and not answer.kvs:
            return answer.header.revision
        raise status_of(unknown) from unknown

    def _explain(self, answer: pb.TxnResponse, expected: int, extra: Extra) -> None:
        """Raise what kept the transaction from happening."""
        found = [part.response_range.kvs for part in answer.responses]
        current = self.stored(found[0][0]) if found[0] else None
        if (current.revision if current else 0) != expected:
            raise (current.problem if current else None) or Changed(current)
        for key, kvs in zip(extra.claims, found[1:], strict=False):
            if kvs:
                raise Claimed(key)
        raise Fenced

    def stored(self, kv: pb.KeyValue) -> Stored:
        """A key-value of the store, decrypted, or with the problem of that."""
        try:
            return Stored(kv.key, self.open(kv.key, kv.value), kv.mod_revision)
        except StatusError as problem:
            return Stored(kv.key, b"", kv.mod_revision, problem)

    def _seen(self, revision: int) -> None:
        self.revision = max(self.revision, revision)


def resource_of(key: bytes) -> str:
    """The resource a key belongs to as encryption rules name it: "secrets", "deployments.apps", "widgets.example.com".

    "": it holds no object, but what the servers note beside them.
    """
    parts = key.split(b"/", 4)
    if not key.startswith(BARRIER) or len(parts) < 4:
        return ""
    group, plural = parts[2].decode(), parts[3].decode()
    return f"{plural}.{group}" if "." in group else _BUILTIN.get(group, "")


def _decrypted(encryption: Encryption, key: bytes, value: bytes) -> bytes:
    """The rules were once asked for built-in kinds without their group, as if deployments were in the core group: what
    was written then, under another rule or none, is read by that rule."""
    resource = resource_of(key)
    if not resource:
        return value
    try:
        return encryption.decrypt(resource, key, value)
    except StatusError:
        plural = resource.partition(".")[0]
        if key.startswith(f"/registry/{plural}/".encode()):
            with suppress(StatusError):
                return encryption.decrypt(plural, key, value)
        raise
