"""The Maintenance service: status, alarms, hashes, snapshots, leadership, defragmentation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from kvstore.backup.stream import BLOB_BYTES, stream_snapshot
from kvstore.errors import Code, EtcdError, error
from kvstore.member.awaited import committed
from kvstore.member.member import Member
from kvstore.member.requests import RequestKind
from kvstore.mvcc.results import HashResult
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.access import require_root, require_user
from kvstore.services.guard import check_leader, parse
from kvstore.services.tasks import TaskStream, run
from kvstore.storage.errors import StorageError
from kvstore.version import ETCD_CLUSTER_VERSION, ETCD_VERSION
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

log = logging.getLogger(__name__)

HASH_ITEMS = 2_000
SNAPSHOT_BUFFERED = 16 * BLOB_BYTES


class MaintenanceService:
    """The handlers of one member."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def register(self, server: GrpcServer) -> None:
        """Serve the methods of etcdserverpb.Maintenance."""
        for name, handler in {
            "Status": self.status,
            "Alarm": self.alarm,
            "Hash": self.hash,
            "HashKV": self.hash_kv,
            "MoveLeader": self.move_leader,
            "Defragment": self.defragment,
        }.items():
            server.unary(f"/etcdserverpb.Maintenance/{name}", handler)
        server.stream("/etcdserverpb.Maintenance/Snapshot", lambda call: _SnapshotStream(self._member, call))

    def _header(self) -> pb.ResponseHeader:
        return pb.ResponseHeader.FromString(self._member.header())

    def status(self, call: Call, message: bytes) -> None:
        """Status of this very member, whatever the others do."""
        parse(pb.StatusRequest, message)
        member, raw = self._member, self._member.raw
        backend = member.state.backend
        errors = [f"memberID:{a.memberID} alarm:{pb.AlarmType.Name(a.alarm)} " for a in member.alarms.active()]
        if not member.leader_id:
            errors.append("etcdserver: no leader")
        reply = pb.StatusResponse(
            header=self._header(),
            version=ETCD_VERSION,
            storageVersion=ETCD_CLUSTER_VERSION,
            dbSize=backend.size(),
            dbSizeInUse=backend.size_in_use(),
            leader=member.leader_id,
            raftIndex=member.driver.committed,
            raftTerm=raw.term,
            raftAppliedIndex=member.state.applied_index,
            errors=errors,
            isLearner=member.is_learner,
        )
        call.reply(reply.SerializeToString())

    def alarm(self, call: Call, message: bytes) -> None:
        """List, raise or clear alarms; only the last two go through the log."""
        request = parse(pb.AlarmRequest, message)

        def done(result: Any, problem: EtcdError | None) -> None:
            if problem is not None:
                call.fail(problem.code, problem.message)
            else:
                call.reply(pb.AlarmResponse(header=self._header(), alarms=result).SerializeToString())

        if request.action == pb.AlarmRequest.GET:
            require_user(self._member, call)
        else:
            require_root(self._member, call)
        if request.action == pb.AlarmRequest.GET:
            done(self._member.alarms.apply(request), None)
        else:
            self._member.propose(RequestKind.ALARM, message, request, done)

    def hash(self, call: Call, message: bytes) -> None:
        """A checksum of everything; like etcd's it only says whether two copies of one member's data are the same."""
        parse(pb.HashRequest, message)
        self._hash(call, 0, lambda found: pb.HashResponse(header=self._header(), hash=found.hash))

    def hash_kv(self, call: Call, message: bytes) -> None:
        """The checksum of all revisions up to one, equal on every member and to etcd's."""
        request = parse(pb.HashKVRequest, message)

        def reply(found: HashResult) -> pb.HashKVResponse:
            return pb.HashKVResponse(header=self._header(), hash=found.hash, compact_revision=found.compact_revision)

        self._hash(call, request.revision, reply)

    def _hash(self, call: Call, revision: int, reply: Callable[[HashResult], Any]) -> None:
        slices = self._member.store.hash_kv_slices(revision, HASH_ITEMS)

        def turn() -> None:
            """One slice, then a turn for everybody else."""
            try:
                found = next(slices)
            except EtcdError as problem:
                call.fail(problem.code, problem.message)
                return
            if found is None:
                self._member.loop.call_soon(turn)
            else:
                call.reply(reply(found).SerializeToString())

        turn()

    def move_leader(self, call: Call, message: bytes) -> None:
        """Hand leadership to another voter; answered once it leads."""
        request = parse(pb.MoveLeaderRequest, message)
        check_leader(self._member, call)
        if request.targetID == self._member.id and self._member.is_leader:
            call.reply(pb.MoveLeaderResponse(header=self._header()).SerializeToString())
            return
        self._member.move_leader(request.targetID)
        task = self._member.loop.create_task(self._await_leader(call, request.targetID))
        task.add_done_callback(lambda t: t.exception())

    async def _await_leader(self, call: Call, target: int) -> None:
        moved = asyncio.Event()
        forget = self._member.on_leader_change(moved.set)
        until = self._member.loop.time() + self._member.config.election_timeout / 1000
        try:
            while self._member.leader_id != target:
                moved.clear()
                left = until - self._member.loop.time()
                await asyncio.wait_for(moved.wait(), max(left, 0.001))
        except TimeoutError:
            problem = error("TIMEOUT")
            call.fail(problem.code, problem.message)
        else:
            call.reply(pb.MoveLeaderResponse(header=self._header()).SerializeToString())
        finally:
            forget()

    def defragment(self, call: Call, message: bytes) -> None:
        """Answered when the file is small; meanwhile everything is served (docs/design/0006-defragment.md)."""
        parse(pb.DefragmentRequest, message)
        run(self._member, call, self._defragment())

    async def _defragment(self) -> bytes:
        try:
            await self._member.defragmenter.run()
        except StorageError as problem:
            raise EtcdError(Code.UNKNOWN, str(problem)) from problem
        return pb.DefragmentResponse(header=self._header()).SerializeToString()


class _SnapshotStream(TaskStream):
    """Maintenance.Snapshot: see kvstore.backup.stream."""

    def message(self, data: bytes) -> None:
        """The request, which says nothing."""
        if not self._asked:
            self._begin(self._run())

    async def _run(self) -> None:
        member = self._member
        try:
            await committed(member)
            await stream_snapshot(member.state.backend, member.snapshot_dir, self._send)
            self._call.finish()
        except OSError as problem:
            log.warning("snapshot for a client not made: %s", problem)
            self._call.fail(Code.UNAVAILABLE, f"snapshot not made: {problem.strerror or problem}")
        except EtcdError as problem:
            self._call.fail(problem.code, problem.message)

    async def _send(self, blob: bytes, left: int) -> None:
        await self._room(SNAPSHOT_BUFFERED)
        self._call.send(pb.SnapshotResponse(remaining_bytes=left, blob=blob, version=ETCD_VERSION).SerializeToString())
        await asyncio.sleep(0)
