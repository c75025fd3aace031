"""Raft's snapshots, both ways: which file goes to whom, and how one that came is put in place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kvstore.errors import EtcdError
from kvstore.failpoints import armed, hit
from kvstore.member.awaited import committed
from kvstore.member.config import parse_url
from kvstore.member.disk.discarding import discard
from kvstore.member.peers.snapshots import SnapshotReceiver, send_snapshot
from kvstore.mvcc.meta import APPLIED_INDEX, APPLIED_TERM, CONF_STATE
from kvstore.pb import raft_pb2
from kvstore.raft import codec
from kvstore.raft.types import Message, Ready, SnapshotMeta
from kvstore.storage.copying import open_view
from kvstore.wire.server import GrpcServer

if TYPE_CHECKING:
    from kvstore.member.bootstrap import Opened
    from kvstore.member.member import Member

log = logging.getLogger(__name__)


class SnapshotTransfer:
    """Sends this member's state to followers that are too far behind, and takes the leader's when it is."""

    def __init__(self, member: Member, opened: Opened) -> None:
        self._member = member
        self._log = opened.log
        self._directory = opened.snapshot_dir
        self._receiver = SnapshotReceiver(self._directory, member.cluster.id, member.snapshot_received)
        self._receiver.clean()
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._arrived: list[tuple[SnapshotMeta, Path]] = []

    def register(self, server: GrpcServer) -> None:
        """Serve InstallSnapshot on the peer port."""
        self._receiver.register(server)

    # ---- out ----

    def send(self, message: Message) -> None:
        """Stream our state to message.to; Raft hears how it went."""
        if message.to not in self._sending:
            task = self._member.loop.create_task(self._send(message))
            self._sending[message.to] = task
            task.add_done_callback(lambda _: self._sending.pop(message.to, None))

    async def _send(self, message: Message) -> None:
        member, ok = self._member, False
        path = self._directory / f"outgoing-{message.to:016x}"
        try:
            info = member.cluster.members[message.to]
            await committed(self._member)
            if armed:
                hit("snapshot-before-copy")
            message.snapshot = await member.loop.run_in_executor(None, self._copy, path)
            log.info("sending a snapshot at index %d to member %x", message.snapshot.index, message.to)
            address = parse_url(info.peerURLs[0], "initial-cluster")
            if armed:
                hit("snapshot-before-send")
            size = await send_snapshot(member.dialer, address, member.links.hello(message.to), message, path)
            log.info("sent a snapshot of %d bytes to member %x", size, message.to)
            ok = True
        except (EtcdError, OSError, KeyError, TimeoutError) as problem:
            log.warning("sending a snapshot to member %x failed: %s", message.to, problem)
        finally:
            discard(member.loop, path)
            if not member.stopping:
                member.raw.report_snapshot(message.to, ok)
                member.driver.wake()

    def _copy(self, path: Path) -> SnapshotMeta:
        """In a thread: the copy, and the log position that the copy itself says it has."""
        backend = self._member.state.backend
        path.unlink(missing_ok=True)
        backend.copy_to(path)
        with open_view(path) as view:
            meta = view.table("meta")
            index = int.from_bytes(meta.get(APPLIED_INDEX) or b"", "big")
            term = int.from_bytes(meta.get(APPLIED_TERM) or b"", "big")
            return SnapshotMeta(
                index, term, codec.conf_state_from_pb(raft_pb2.ConfState.FromString(meta.get(CONF_STATE) or b""))
            )

    # ---- in ----

    def arrived(self, message: Message, path: Path) -> None:
        """A whole file lies at `path`; Raft decides whether it is wanted, then weigh() is called."""
        assert message.snapshot is not None
        if armed:
            hit("snapshot-received")
        self._arrived.append((message.snapshot, path))

    def weigh(self) -> None:
        """Raft has heard of all that arrived: only what it waits for is kept, of two that are the same the first."""
        awaited, arrived = self._member.raw.awaited_snapshot, self._arrived
        self._arrived = [(meta, path) for meta, path in arrived if meta is awaited]
        for meta, path in arrived:
            if meta is not awaited:
                discard(self._member.loop, path)

    def install(self, ready: Ready, done: Callable[[], None]) -> None:
        """Replace backend and log by the snapshot: first the backend in one rename, then the log's beginning.

        A crash between the two leaves a backend ahead of its log; bootstrap finishes that.
        """
        member, meta = self._member, ready.snapshot
        assert meta is not None
        self.weigh()
        _, path = self._arrived.pop()
        member.committer.hold(True)
        member.loop.create_task(self._install(meta, ready, path, done))

    async def _install(self, meta: SnapshotMeta, ready: Ready, path: Path, done: Callable[[], None]) -> None:
        member = self._member
        try:
            while member.committer.busy:
                await asyncio.sleep(0.001)
            if armed:
                hit("snapshot-before-install")
            backend, in_thread = member.state.backend, member.loop.run_in_executor
            backend.give_up_shrinking()
            new = await in_thread(None, backend.put_in_place, path)
            old = backend.take_over(new)
            if armed:
                hit("snapshot-mid-install")
            member.state.reload()
            member.learn()
            self._log.install_snapshot(meta)
            self._log.append([], ready.hard_state)
            await in_thread(None, self._log.sync)
            await in_thread(None, old.retire)
        except Exception as problem:  # half-installed in memory; on disk either the old or the new state is whole
            member.failed(problem)
            return
        log.info("installed a snapshot at index %d", meta.index)
        member.committer.hold(False)
        member.applying.serve_readers()
        member.membership_changed()
        done()
        member.duties.compact_physically()  # what the sender had not removed yet
