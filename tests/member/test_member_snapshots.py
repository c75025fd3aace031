"""A snapshot that comes in is whole, lies in a file of its own, and is kept only as long as it is wanted."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import google_crc32c
import pytest
from member_site import Site, put, until

from kvstore.errors import Code, EtcdError
from kvstore.member.config import Address
from kvstore.member.peers import snapshots
from kvstore.member.peers.dial import Dialer
from kvstore.member.peers.snapshots import CHUNK_BYTES, SnapshotReceiver, send_snapshot
from kvstore.pb import raft_pb2
from kvstore.raft import codec
from kvstore.raft.types import ConfState, Message, MessageKind, SnapshotMeta
from kvstore.wire.grpc.call import Call

CLUSTER = 7
DATA = os.urandom(600_000)
MESSAGE = Message(MessageKind.SNAPSHOT, to=1, from_=2, snapshot=SnapshotMeta(5, 1, ConfState()))


class FakeCall:
    """Notes what the sender hears."""

    def __init__(self) -> None:
        self.closed = False
        self.heard: list[str] = []

    def reply(self, data: bytes) -> None:
        self.heard.append("stored")

    def fail(self, code: int, text: str) -> None:
        self.heard.append(text)
        self.closed = True


class Receiving:
    """A member's receiver in a folder, and the files it hands over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handed: list[Path] = []
        self.receiver = SnapshotReceiver(folder, CLUSTER, lambda message, path: self.handed.append(path))

    def stream(self) -> Stream:
        return Stream(self)


class Stream:
    """One snapshot on its way in."""

    def __init__(self, receiving: Receiving) -> None:
        self._receiving = receiving
        self.call = FakeCall()
        self.end = snapshots._Incoming(receiving.receiver, cast(Call, self.call))

    def begin(self) -> None:
        hello = raft_pb2.Hello(cluster_id=CLUSTER, member_id=2)
        header = raft_pb2.SnapshotHeader(hello=hello, message=codec.message_to_pb(MESSAGE), size=len(DATA))
        self.end.message(raft_pb2.SnapshotChunk(header=header).SerializeToString())

    def chunks(self) -> None:
        for at in range(0, len(DATA), CHUNK_BYTES):
            part = DATA[at : at + CHUNK_BYTES]
            chunk = raft_pb2.SnapshotChunk(data=part, crc32c=google_crc32c.value(part))
            self.end.message(chunk.SerializeToString())

    async def finish(self) -> None:
        before = len(self._receiving.handed)
        self.end.half_close()
        await until(lambda: self.call.heard or len(self._receiving.handed) > before, "the end of the stream")

    async def whole(self) -> None:
        self.begin()
        self.chunks()
        await self.finish()


def run(folder: Path, test: Callable[[Receiving], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await test(Receiving(folder))

    asyncio.run(main())


@pytest.fixture
def cut_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """write(2) takes a part of what it is given, as when the disk is about to be full."""
    write, pwritev = os.write, os.pwritev
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))

    def half(fd: int, parts: list[bytes], offset: int) -> int:
        data = b"".join(parts)
        return pwritev(fd, [data[: len(data) // 2]], offset)

    monkeypatch.setattr(os, "pwritev", half)


def test_a_write_that_is_cut_short_is_gone_on_with(tmp_path: Path, cut_writes: None) -> None:
    async def test(receiving: Receiving) -> None:
        stream = receiving.stream()
        await stream.whole()
        assert stream.call.heard == ["stored"]
        assert receiving.handed[0].read_bytes() == DATA

    run(tmp_path, test)


def test_a_file_that_is_not_whole_is_not_handed_over(tmp_path: Path) -> None:
    """Reading past its end through a map is no error that can be caught: it ends the process, at each start anew."""

    async def test(receiving: Receiving) -> None:
        stream = receiving.stream()
        stream.begin()
        stream.chunks()
        (path,) = tmp_path.iterdir()
        os.truncate(path, len(DATA) - 1)
        await stream.finish()
        assert receiving.handed == []
        assert stream.call.heard == ["snapshot not stored: the file has 599999 of 600000 bytes"]
        assert list(tmp_path.iterdir()) == []

    run(tmp_path, test)


def test_what_the_disk_refuses_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError("Input/output error")

    async def test(receiving: Receiving) -> None:
        stream = receiving.stream()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            await stream.whole()
        assert receiving.handed == []
        assert stream.call.heard == ["snapshot not stored: Input/output error"]
        assert list(tmp_path.iterdir()) == []

    run(tmp_path, test)


def test_a_second_stream_leaves_the_file_of_the_first_alone(tmp_path: Path) -> None:
    """It may be the backend's before long: its sender did not hear that it was stored, and tries again."""

    async def test(receiving: Receiving) -> None:
        await receiving.stream().whole()
        second = receiving.stream()
        second.begin()
        assert receiving.handed[0].read_bytes() == DATA
        second.chunks()
        await second.finish()
        assert receiving.handed[0] != receiving.handed[1]

    run(tmp_path, test)


def test_a_dead_connection_takes_its_own_file_with_it(tmp_path: Path) -> None:
    """It is noticed late, when the same snapshot has come by another one."""

    async def test(receiving: Receiving) -> None:
        dead = receiving.stream()
        dead.begin()
        alive = receiving.stream()
        alive.begin()
        alive.chunks()
        dead.end.closed()
        await alive.finish()
        assert receiving.handed[0].read_bytes() == DATA
        assert list(tmp_path.iterdir()) == receiving.handed

    run(tmp_path, test)


@pytest.mark.parametrize("beyond", [0, 100])
def test_what_raft_does_not_want_is_removed(tmp_path: Path, beyond: int) -> None:
    """It has all of it already, or the snapshot comes from a leader of an earlier term."""

    async def main() -> None:
        site = Site(tmp_path / "a", "a")
        member = await site.start()
        await until(lambda: member.is_leader, "a leader")
        await put(member, b"k", b"v")
        meta = SnapshotMeta(member.driver.committed + beyond, 1, member.state.conf_state())
        message = replace(MESSAGE, to=member.id, term=1, snapshot=meta)
        path = tmp_path / "received"
        path.write_bytes(DATA)
        assert member.raw.term > 1
        member.snapshot_received(message, path)
        await until(lambda: not path.exists(), "its end")
        await site.stop()

    asyncio.run(main())


class Breaking:
    """Dialer, channel and call in one. lost: when the connection is, beside at its end."""

    buffered = 0

    def __init__(self, lost: str) -> None:
        self._lost = lost
        self._listener: Any = None

    async def connect(self, address: Address, on_lost: Callable[[Exception | None], None], **_: Any) -> Breaking:
        if self._lost == "before it is used":
            on_lost(None)
            raise EtcdError(Code.UNAVAILABLE, "cannot connect")
        return self

    def open(self, path: str, *, listener: Any) -> Breaking:
        self._listener = listener
        return self

    def send(self, message: bytes) -> None:
        if self._lost == "while sending":
            asyncio.get_running_loop().call_soon(self._listener.finished, Code.UNAVAILABLE, "connection lost")

    def close(self) -> None:
        self._listener.finished(Code.UNAVAILABLE, "channel closed")


@pytest.mark.parametrize("file", ["folder", "file"])
@pytest.mark.parametrize("lost", ["never", "while sending", "before it is used"])
def test_a_sender_that_gives_up_leaves_no_complaint(tmp_path: Path, file: str, lost: str) -> None:
    """What became of its connection was told to a future that nobody asked any more."""
    (tmp_path / "folder").mkdir()  # which cannot be read as a file
    (tmp_path / "file").write_bytes(DATA)
    complaints: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: complaints.append(f"{context['message']}: {context['exception']}")
        )
        dialer, address = cast(Dialer, Breaking(lost)), Address("127.0.0.1", 1, tls=False)
        sending = loop.create_task(send_snapshot(dialer, address, raft_pb2.Hello(), MESSAGE, tmp_path / file))
        loop.call_soon(sending.cancel)
        with pytest.raises((EtcdError, IsADirectoryError, asyncio.CancelledError)):
            await sending

    asyncio.run(main())
    gc.collect()
    assert complaints == []
