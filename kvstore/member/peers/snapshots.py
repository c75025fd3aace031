"""Snapshots between members: the backend as a file, streamed to a follower that is too far behind for the log.

The sender copies its backend (a consistent state with its applied index, term and configuration inside) and streams
the copy in checked chunks; the receiver puts it beside its own state, and only once the file is whole and durable
does Raft hear of it. Installing is one rename: a crash before it leaves the old state whole, a crash after it leaves
a backend that is ahead of the log, which start-up puts right.
Invariant: a file is one stream's alone: the same snapshot may come twice, while the first is being installed.
Faults assumed: chunks that are damaged, a connection that dies and is noticed late, a disk that takes only a part.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable
from pathlib import Path

import google_crc32c

from kvstore.errors import Code, EtcdError
from kvstore.member.config import Address
from kvstore.member.disk.discarding import close, discard
from kvstore.member.peers.dial import Dialer
from kvstore.pb import raft_pb2
from kvstore.raft import codec
from kvstore.raft.types import Message
from kvstore.storage.durable import write_at
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

log = logging.getLogger(__name__)

INSTALL_PATH = "/fluyt.raft.Raft/InstallSnapshot"
CHUNK_BYTES = 256 * 1024
MAX_BUFFERED = 4 * CHUNK_BYTES


class _Outgoing:
    """The sender's ear on its stream. No future: one whose sender gave up before is nobody's, and would complain."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.problem: EtcdError | None = None
        self.drained = asyncio.Event()

    def message(self, data: bytes) -> None:
        """SnapshotDone; the trailers that follow decide."""

    def finished(self, code: int, message: str) -> None:
        if not self.over.is_set() and code != Code.OK:
            self.problem = EtcdError(Code(code), message)
        self.over.set()
        self.drained.set()

    def lost(self, problem: BaseException | None) -> None:
        self.finished(Code.UNAVAILABLE, f"connection lost: {problem}")


async def send_snapshot(dialer: Dialer, address: Address, hello: raft_pb2.Hello, message: Message, path: Path) -> int:
    """Stream the file at `path` as the data of a SNAPSHOT message. Returns bytes sent; raises EtcdError or OSError."""
    ear = _Outgoing()
    size = path.stat().st_size
    channel = await dialer.connect(address, timeout=2.0, on_lost=ear.lost)
    try:
        call = channel.open(INSTALL_PATH, listener=ear)
        call.on_drain = ear.drained.set
        header = raft_pb2.SnapshotHeader(hello=hello, message=codec.message_to_pb(message), size=size)
        call.send(raft_pb2.SnapshotChunk(header=header).SerializeToString())
        with path.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                while call.buffered > MAX_BUFFERED and not ear.over.is_set():
                    ear.drained.clear()
                    await ear.drained.wait()
                if ear.over.is_set():
                    break
                call.send(raft_pb2.SnapshotChunk(data=data, crc32c=google_crc32c.value(data)).SerializeToString())
                await asyncio.sleep(0)
        if not ear.over.is_set():
            call.half_close()
        await ear.over.wait()
        if ear.problem is not None:
            raise ear.problem
    finally:
        channel.close()
    return size


class SnapshotReceiver:
    """Takes snapshots in: one file a stream, handed over only when whole and durable."""

    def __init__(self, directory: Path, cluster_id: int, received: Callable[[Message, Path], None]) -> None:
        self._directory = directory
        self.cluster_id = cluster_id
        self._received = received
        self._numbers = itertools.count(1)

    def register(self, server: GrpcServer) -> None:
        """Serve InstallSnapshot on the peer port."""
        server.stream(INSTALL_PATH, lambda call: _Incoming(self, call))

    def clean(self) -> None:
        """Remove what a crash left half-received, and what was installed."""
        for leftover in self._directory.glob("incoming-*"):
            leftover.unlink()

    def begin(self, message: Message, sender: int) -> Path:
        """Where the data of this snapshot goes: to no file that was ever given to another stream."""
        index = message.snapshot.index if message.snapshot else 0
        return self._directory / f"incoming-{sender:016x}-{index:020d}-{next(self._numbers)}"

    def complete(self, message: Message, path: Path) -> None:
        """The file is whole and durable."""
        self._received(message, path)


class _Incoming:
    """One snapshot that is being received."""

    def __init__(self, receiver: SnapshotReceiver, call: Call) -> None:
        self._receiver = receiver
        self._call = call
        self._message: Message | None = None
        self._path: Path | None = None
        self._fd = -1
        self._syncing = False  # a thread has the file, and it is whole: it is wanted even if its sender is gone
        self._size = 0
        self._got = 0

    def message(self, data: bytes) -> None:
        try:
            chunk = raft_pb2.SnapshotChunk.FromString(data)
            if self._fd < 0:
                self._begin(chunk.header)
            else:
                self._take(chunk)
        except EtcdError as problem:
            self._give_up(problem)
        except Exception as problem:  # DecodeError, OSError: the sender tries again later
            self._give_up(EtcdError(Code.INTERNAL, f"snapshot not stored: {problem}"))

    def _begin(self, header: raft_pb2.SnapshotHeader) -> None:
        if header.hello.cluster_id != self._receiver.cluster_id:
            raise EtcdError(Code.FAILED_PRECONDITION, "cluster ID mismatch")
        self._message = codec.message_from_pb(header.message)
        self._size = header.size
        self._path = self._receiver.begin(self._message, header.hello.member_id)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def _take(self, chunk: raft_pb2.SnapshotChunk) -> None:
        if google_crc32c.value(chunk.data) != chunk.crc32c:
            raise EtcdError(Code.DATA_LOSS, "snapshot chunk does not match its checksum")
        if self._got + len(chunk.data) > self._size:
            raise EtcdError(Code.DATA_LOSS, f"snapshot is longer than the {self._size} bytes announced")
        self._got += write_at(self._fd, [chunk.data], self._got)

    def half_close(self) -> None:
        if self._call.closed:
            return
        if self._got != self._size or self._fd < 0:
            self._give_up(EtcdError(Code.DATA_LOSS, f"snapshot ended after {self._got} of {self._size} bytes"))
            return
        fd, self._fd, self._syncing = self._fd, -1, True
        sync = asyncio.get_running_loop().run_in_executor(None, _finish, fd, self._size)
        sync.add_done_callback(self._stored)

    def _stored(self, future: asyncio.Future[None]) -> None:
        problem = future.exception()
        if problem is not None:
            self._syncing = False
            self._give_up(EtcdError(Code.INTERNAL, f"snapshot not stored: {problem}"))
            return
        assert self._message is not None
        assert self._path is not None
        path, self._path = self._path, None
        self._receiver.complete(self._message, path)
        if not self._call.closed:
            self._call.reply(raft_pb2.SnapshotDone(bytes_received=self._got).SerializeToString())

    def closed(self) -> None:
        self._discard()

    def _give_up(self, problem: EtcdError) -> None:
        log.warning("receiving a snapshot: %s", problem)
        self._discard()
        if not self._call.closed:
            self._call.fail(problem.code, problem.message)

    def _discard(self) -> None:
        if self._syncing:
            return
        loop = asyncio.get_running_loop()
        if self._path is not None:
            discard(loop, self._path)
            self._path = None
        if self._fd >= 0:
            close(loop, self._fd)
            self._fd = -1


def _finish(fd: int, size: int) -> None:
    """Make the file durable and close it. OSError, also if the disk has less of it than was sent.

    Whoever reads a map past the end of its file is ended by the system, without an exception (SIGBUS).
    """
    try:
        os.fsync(fd)
        found = os.fstat(fd).st_size
        if found != size:
            raise OSError(f"the file has {found} of {size} bytes")
    finally:
        os.close(fd)
