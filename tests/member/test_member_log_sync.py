"""Who waits for the log's disk: the loop, the kernel or a thread; and the kernel's way itself, on this machine."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from kvstore.member.disk import aio_sync, kernel_sync, log_sync, ring_sync
from kvstore.member.disk.aio_sync import NUMBERS, AioSync, Numbers
from kvstore.member.disk.kernel_sync import KernelSync
from kvstore.member.disk.log_sync import QUICK_BYTES, LogSync
from kvstore.member.disk.ring_sync import RingSync
from kvstore.raft.types import ConfState, Entry, SnapshotMeta
from kvstore.storage.errors import StorageFailed
from kvstore.storage.log import Log


class Orders:
    """In place of the kernel and of the thread: what was asked of them, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.takes = True
        self.kernel_done: Callable[[OSError | None], None]
        self.thread_done: Callable[[BaseException | None], None]
        self.seconds = 0.0005
        # How what was under way when the kernel's part was closed has ended.
        self.last: OSError | None = None

    def thread(self, loop: Any, name: str, work: Any, done: Callable[[BaseException | None], None]) -> Orders:
        self.thread_done = done
        return self

    def open(self, loop: Any, done: Callable[[OSError | None], None]) -> Any:
        self.kernel_done = done
        return _Kernel(self)

    def start(self) -> None:
        self.asked.append("thread")

    def stop(self) -> None:
        self.asked.append("stopped")


class _Kernel:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def start(self, fd: int) -> bool:
        if self._orders.takes:
            self._orders.asked.append("kernel")
        return self._orders.takes

    def close(self) -> OSError | None:
        self._orders.asked.append("closed")
        return self._orders.last


class Bench:
    """A log with its first segment named, and what became of its syncs."""

    def __init__(self, folder: Path, orders: Orders) -> None:
        self.orders = orders
        self.ended: list[str] = []
        self.wal = Log.create(folder / "log", metadata=b"test")
        self.wal.install_snapshot(SnapshotMeta(0, 0, ConfState(voters=(1,))))
        self.wal.sync()
        self.sync = LogSync(
            cast(Any, None),
            self.wal,
            durable=lambda: self.ended.append("durable"),
            failed=lambda problem: self.ended.append(str(problem)),
        )
        self.index = 0

    def append(self) -> None:
        self.index += 1
        self.wal.append([Entry(1, self.index, 0, b"x")])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    orders = Orders()
    monkeypatch.setattr(log_sync, "SyncThread", orders.thread)
    monkeypatch.setattr(log_sync, "RingSync", orders)
    # Whatever this machine's disk does meanwhile.
    monkeypatch.setattr(log_sync, "QUICK_SECONDS", 1e9)
    made = Bench(tmp_path, orders)
    made.sync._lately = 0.0
    made.append()
    yield made
    made.wal.close()


def test_one_request_alone_is_waited_for_on_the_loop(bench: Bench) -> None:
    bench.sync.start(100, busy=False)
    assert bench.sync.due
    assert bench.wal.needs_sync
    bench.sync.here()
    assert bench.ended == ["durable"]
    assert not bench.wal.needs_sync
    assert bench.orders.asked == []
    bench.sync.here()
    assert bench.ended == ["durable"], "it is not due any more"


@pytest.mark.parametrize(("size", "busy"), [(100, True), (QUICK_BYTES + 1, False)])
def test_the_kernel_syncs_while_there_is_something_else_to_do(bench: Bench, size: int, busy: bool) -> None:
    bench.sync.start(size, busy)
    assert bench.orders.asked == ["kernel"]
    assert not bench.sync.due
    bench.append()
    bench.orders.kernel_done(None)
    assert bench.ended == ["durable"]
    assert bench.wal.needs_sync, "what came after the beginning is not covered"


def test_what_is_more_than_one_fdatasync_is_a_threads(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Log, "begin_sync", lambda log: None)
    bench.sync.start(QUICK_BYTES + 1, busy=True)
    assert bench.orders.asked == ["thread"]
    bench.orders.thread_done(None)
    assert bench.ended == ["durable"]


def test_a_kernel_that_takes_nothing_is_done_without(bench: Bench) -> None:
    bench.orders.takes = False
    bench.sync.start(100, busy=True)
    assert bench.sync.due
    bench.sync.here()
    bench.sync.start(QUICK_BYTES + 1, busy=True)
    assert bench.orders.asked == ["thread"]


def test_after_a_stall_nobody_waits_on_the_loop_for_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sync, "QUICK_SECONDS", 0.001)
    bench.sync.start(QUICK_BYTES + 1, busy=False)
    bench.sync._began -= 1.0
    bench.orders.kernel_done(None)
    bench.append()
    bench.sync.start(1, busy=False)
    assert bench.orders.asked == ["kernel", "kernel"]


def test_a_sync_that_failed_is_said_and_never_tried_again(bench: Bench) -> None:
    bench.sync.start(100, busy=True)
    bench.orders.kernel_done(OSError(errno.EIO, "Input/output error"))
    assert len(bench.ended) == 1
    assert "fsync failed" in bench.ended[0]
    with pytest.raises(StorageFailed, match="fsync failed"):
        bench.wal.sync()
    with pytest.raises(StorageFailed, match="fsync failed"):
        bench.append()


def test_a_sync_that_fails_while_the_member_stops_is_not_made_good_by_closing(bench: Bench) -> None:
    """A second fdatasync may succeed though the first has lost the pages; the log must not call itself durable."""
    bench.append()
    bench.sync.start(100, busy=True)
    end = bench.wal._segments.live.end
    bench.orders.last = OSError(errno.EIO, "Input/output error")
    bench.sync.stop()
    assert "fsync failed" in bench.ended[0]
    with pytest.raises(StorageFailed, match="fsync failed"):
        bench.wal.sync()
    live = bench.wal._segments.live
    bench.wal.close()
    assert live.end == end, "a last record says that all before it is durable"


def test_stop_waits_for_both(bench: Bench) -> None:
    bench.sync.stop()
    assert bench.orders.asked == ["stopped", "closed"]


# ---- the log's part


def test_a_new_segment_is_not_one_fdatasync(tmp_path: Path) -> None:
    wal = Log.create(tmp_path / "log", metadata=b"test", segment_bytes=4096)
    wal.install_snapshot(SnapshotMeta(0, 0, ConfState(voters=(1,))))
    kinds = []
    for index in range(1, 30):
        wal.append([Entry(1, index, 0, bytes(1000))])
        descriptor = wal.begin_sync()
        kinds.append(descriptor is not None)
        if descriptor is None:
            wal.sync()
        else:
            os.fdatasync(descriptor)
            wal.end_sync(None)
        assert not wal.needs_sync
    assert {True, False} == set(kinds)
    wal.close()
    reopened = Log.open(tmp_path / "log", segment_bytes=4096)
    assert reopened.last_index() == 29
    reopened.close()


# ---- the kernel's part

WAYS = pytest.mark.parametrize("way", [RingSync, AioSync])


def opened(way: type[KernelSync], done: Callable[[OSError | None], None]) -> KernelSync:
    """On the loop of the caller, if this machine's kernel takes such orders."""
    found = way.open(asyncio.get_running_loop(), done)
    if found is None:
        pytest.skip(f"this kernel, or its sandbox, takes no orders for {way.__name__}")
    return found


@WAYS
def test_the_kernel_says_when_it_has(way: type[KernelSync], tmp_path: Path) -> None:
    async def scene() -> None:
        ended: asyncio.Queue[OSError | None] = asyncio.Queue()
        kernel = opened(way, ended.put_nowait)
        with open(tmp_path / "file", "wb") as file:
            for _ in range(20):
                file.write(b"some more")
                file.flush()
                assert kernel.start(file.fileno())
                assert await asyncio.wait_for(ended.get(), 30) is None
                assert not kernel.busy
            # One under way is waited for, and not told any more.
            assert kernel.start(file.fileno())
            assert kernel.close() is None
        await asyncio.sleep(0)
        assert ended.empty()

    asyncio.run(scene())


@WAYS
@pytest.mark.parametrize("closing", [False, True])
def test_what_cannot_be_synced_is_refused_or_told(way: type[KernelSync], closing: bool) -> None:
    """io_submit refuses it at once, io_uring says so afterwards; and both go on."""

    async def scene() -> None:
        ended: asyncio.Queue[OSError | None] = asyncio.Queue()
        kernel = opened(way, ended.put_nowait)
        reader, writer = os.pipe()
        for code in (errno.EINVAL, errno.EBADF):
            if code == errno.EBADF:
                os.close(reader)
                os.close(writer)
            if way is AioSync:
                assert not kernel.start(writer)
                assert not kernel.busy
                continue
            assert kernel.start(writer)
            if closing and code == errno.EBADF:
                break
            problem = await asyncio.wait_for(ended.get(), 30)
            assert problem is not None
            assert problem.errno == code
        problem = kernel.close()
        assert (problem.errno if problem else 0) == (errno.EBADF if closing and way is RingSync else 0)

    asyncio.run(scene())


def test_an_order_that_the_ring_does_not_take_is_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        ended: asyncio.Queue[OSError | None] = asyncio.Queue()
        kernel = opened(RingSync, ended.put_nowait)
        with open(tmp_path / "file", "wb") as file:
            for _ in range(3):
                with monkeypatch.context() as patch:
                    patch.setattr(ring_sync, "ENTER", 100_000)
                    assert not kernel.start(file.fileno())
                assert not kernel.busy
                assert kernel.start(file.fileno())
                assert await asyncio.wait_for(ended.get(), 30) is None
        kernel.close()
        assert ended.empty()

    asyncio.run(scene())


def test_a_kernel_without_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        before = len(os.listdir("/proc/self/fd"))
        nothing = Numbers(setup=100_000, destroy=100_001, getevents=100_002, submit=100_003)
        monkeypatch.setattr(aio_sync, "NUMBERS", dict.fromkeys(NUMBERS, nothing))
        monkeypatch.setattr(ring_sync, "SETUP", 100_000)
        for way in (RingSync, AioSync):
            assert way.open(loop, lambda problem: None) is None
        monkeypatch.undo()
        monkeypatch.setattr(ring_sync, "REGISTER", 100_000)
        assert RingSync.open(loop, lambda problem: None) is None
        monkeypatch.setattr(kernel_sync, "MACHINES", ())
        for way in (RingSync, AioSync):
            assert way.open(loop, lambda problem: None) is None
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(scene())
