"""What an operator asks of single members: status, hashes, alarms, defragmentation, leadership, snapshots.

Calls with an `endpoint` ask that member (one of the client's endpoints); None: the next in turn.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator

from kvstore.client import rpcs
from kvstore.client.channel import CallFailed, NotSent, Stream
from kvstore.client.errors import ChecksumMismatch, ClientError, Unreachable
from kvstore.client.rpcs import SNAPSHOT_PATH
from kvstore.client.transport import Transport, Uncertain, classify
from kvstore.pb import etcd_pb2 as pb

_DIGEST_SIZE = hashlib.sha256().digest_size


class Maintenance:
    """The maintenance calls of a client. Every method raises what transport.Transport.unary does."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def status(self, endpoint: str | None = None) -> pb.StatusResponse:
        """Version, sizes (bytes), leader and Raft indexes of a member."""
        return await self._transport.unary(rpcs.STATUS, pb.StatusRequest(), endpoint=endpoint)

    async def hash_kv(self, endpoint: str | None = None, *, revision: int = 0) -> pb.HashKVResponse:
        """A hash of the member's history up to the revision (0: all); equal on members that agree."""
        return await self._transport.unary(rpcs.HASH_KV, pb.HashKVRequest(revision=revision), endpoint=endpoint)

    async def defragment(self, endpoint: str | None = None, *, timeout: float | None = None) -> pb.DefragmentResponse:
        """Give the disk space of deleted data back to the file system."""
        return await self._transport.unary(rpcs.DEFRAGMENT, pb.DefragmentRequest(), endpoint=endpoint, timeout=timeout)

    async def move_leader(self, target: int, endpoint: str | None = None) -> pb.MoveLeaderResponse:
        """Hand leadership to the member `target`; `endpoint` must be the leader's. Raises NotLeader."""
        return await self._transport.unary(rpcs.MOVE_LEADER, pb.MoveLeaderRequest(targetID=target), endpoint=endpoint)

    async def alarms(self) -> pb.AlarmResponse:
        """The alarms that are on."""
        return await self._transport.unary(rpcs.ALARM_GET, pb.AlarmRequest(action=pb.AlarmRequest.GET))

    async def disarm(self, member_id: int = 0, alarm: pb.AlarmType = pb.NONE) -> pb.AlarmResponse:
        """Turn an alarm off; with the defaults, every one that is on. The answer lists what was turned off."""
        if member_id or alarm:
            return await self._disarm(member_id, alarm)
        answer = pb.AlarmResponse()
        for armed in (await self.alarms()).alarms:
            answer.alarms.extend((await self._disarm(armed.memberID, armed.alarm)).alarms)
        return answer

    async def _disarm(self, member_id: int, alarm: pb.AlarmType) -> pb.AlarmResponse:
        request = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=member_id, alarm=alarm)
        return await self._transport.unary(rpcs.ALARM_SET, request)

    async def snapshot(self, endpoint: str | None = None) -> AsyncIterator[pb.SnapshotResponse]:
        """A snapshot of a member as the store sends it: each response holds a blob and how many bytes remain.

        The last 32 bytes are the sha256 of all before them; they are checked and passed on like the rest.
        Raises ChecksumMismatch after the last response, and ClientError when the stream breaks.
        """
        check = _Checksum()
        call: Stream | None = None
        try:
            call = await self._open_snapshot(endpoint)
            while (response := await call.read()) is not None:
                check.add(response.blob)
                yield response
        except CallFailed as failure:
            raise _public(classify(failure, True), endpoint) from None
        finally:
            if call is not None:
                call.cancel()
        check.verify()

    async def _open_snapshot(self, endpoint: str | None) -> Stream:
        deadline = time.monotonic() + self._transport.settings.timeout
        member = self._transport.endpoint(endpoint) if endpoint else await self._transport.connected(deadline)
        call = member.channel.stream(SNAPSHOT_PATH, pb.SnapshotResponse, await self._transport.metadata(rpcs.STATUS))
        await call.write(pb.SnapshotRequest())
        await call.done_writing()
        return call


def _public(problem: Exception, endpoint: str | None) -> ClientError:
    """A caller sees the store's own error, that nobody was there, or that the stream broke."""
    if isinstance(problem, NotSent):
        return Unreachable({endpoint or "the store": str(problem)})
    if isinstance(problem, Uncertain) and problem.error is not None:
        return problem.error
    return problem if isinstance(problem, ClientError) else ClientError(f"the snapshot stream broke: {problem}")


class _Checksum:
    """The sha256 of all but the last 32 bytes, which must be it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._tail = b""
        self._size = 0

    def add(self, blob: bytes) -> None:
        data = self._tail + blob
        self._hash.update(data[:-_DIGEST_SIZE])
        self._tail = data[-_DIGEST_SIZE:]
        self._size += len(blob)

    def verify(self) -> None:
        if self._size < _DIGEST_SIZE or self._hash.digest() != self._tail:
            raise ChecksumMismatch(f"the snapshot of {self._size} bytes arrived damaged: its sha256 does not match")
