"""The member's own KV for services of this process, with the permissions of the caller they work for.

A caller is somebody for the whole of a call: their token was good when it began, and what they may do is asked again at
every step. So a wait for a lock may take longer than a token lives.
"""

from __future__ import annotations

from typing import Any

from kvstore.auth.types import Identity
from kvstore.member.awaited import linearizable
from kvstore.member.member import Member
from kvstore.member.requests import RequestKind
from kvstore.mvcc.results import RangeResult, TxnResult
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.lease import random_id
from kvstore.services.tasks import proposed
from kvstore.wire.grpc.call import Call


class LocalStore:
    """Requests of one call."""

    def __init__(self, member: Member, call: Call) -> None:
        self.member = member
        self._user = call.user.user if call.user is not None else None

    def identity(self) -> Identity | None:
        """Who asks, as of now."""
        if self._user is None or not self.member.auth.enabled:
            return None
        return Identity(self._user, self.member.auth.revision)

    def header(self, revision: int) -> pb.ResponseHeader:
        """A response's header."""
        return pb.ResponseHeader.FromString(self.member.header(revision))

    async def range(self, request: pb.RangeRequest) -> RangeResult:
        """A linearizable read. Raises what Range answers."""
        await linearizable(self.member)
        self.check_read(request.key, request.range_end)
        return self.member.store.range(request)

    def check_read(self, key: bytes, range_end: bytes = b"") -> None:
        """Raises USER_EMPTY or PERMISSION_DENIED for who may not read these keys."""
        self.member.checks.read(self.identity(), key, range_end)

    async def txn(self, request: pb.TxnRequest) -> TxnResult:
        """A transaction through the log. Raises what Txn answers."""
        self.member.store.check_txn(request)
        self.member.check_space(request.ByteSize())
        result: TxnResult = await proposed(self.member, RequestKind.TXN, request, self.identity())
        return result

    async def delete(self, key: bytes) -> int:
        """Delete a key; the revision after it. Raises what DeleteRange answers."""
        request = pb.DeleteRangeRequest(key=key)
        result: Any = await proposed(self.member, RequestKind.DELETE_RANGE, request, self.identity())
        return int(result.revision)

    async def grant(self, ttl: int) -> int:
        """Grant a lease of `ttl` seconds; its id. Raises what LeaseGrant answers."""
        request = pb.LeaseGrantRequest(ID=random_id(), TTL=ttl)
        await proposed(self.member, RequestKind.LEASE_GRANT, request, self.identity())
        return request.ID


def key_value(encoded: bytes) -> pb.KeyValue:
    """A key-value as the store keeps it, decoded."""
    return pb.KeyValue.FromString(encoded)
