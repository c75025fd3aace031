"""The defragmenter beside what else holds the commits, and when its disk fails, without a member around it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.member.awaited import committed
from kvstore.member.defragment import Defragmenter
from kvstore.member.disk.committer import COMMIT_REQUESTS, Committer
from kvstore.storage import Backend, NoSpace, StorageError, StorageFailed
from kvstore.storage.shrinking import Shrinking
from kvstore.storage.table import Table


class World:
    """What a defragmenter needs of its member."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.get_running_loop()
        self.applied = 0
        self.durable: list[int] = []
        self.failures: list[BaseException] = []
        self.backend = Backend.open(folder / "backend", headroom_bytes=1 << 20)
        self.table = self.backend.table("table")
        for row in range(1000):
            self.table.put(b"%d" % row, b"v" * 1000)
        self.committer = Committer(
            self.loop,
            self.backend,
            prepare=lambda: self.applied,
            durable=self.durable.append,
            failed=self.failed,
        )
        state = SimpleNamespace(backend=self.backend, save_position=lambda: None)
        self.member: Any = SimpleNamespace(
            state=state, loop=self.loop, committer=self.committer, failed=self.failed, stopping=False
        )
        self.defragmenter = Defragmenter(cast(Any, self.member), folder)

    def failed(self, problem: BaseException) -> None:
        """The member's: it ends."""
        self.member.stopping = True
        self.failures.append(problem)

    def close(self) -> None:
        self.committer.stop()
        self.backend.close()


def refuse(problem: Exception) -> Any:
    """A method that raises."""

    def refused(*_: object) -> None:
        raise problem

    return refused


def write_when_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry is applied while the copy takes the name."""
    take_name = Shrinking.take_name

    def taken(shrinking: Shrinking) -> None:
        take_name(shrinking)
        world.table.put(b"during", b"x")
        world.applied = 1

    monkeypatch.setattr(Shrinking, "take_name", taken)


@pytest.mark.parametrize("problem", [NoSpace("no space left"), StorageError("other"), RuntimeError("a bug")])
def test_a_failure_after_the_copy_took_the_name_ends_the_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    """Nothing that was applied since is called durable: the log has to keep it."""

    async def live() -> None:
        world = World(tmp_path)
        write_when_named(world, monkeypatch)
        bring = Shrinking._bring

        def brought(shrinking: Shrinking, table: Table, key: bytes) -> None:
            if shrinking.named:
                raise problem
            bring(shrinking, table, key)

        monkeypatch.setattr(Shrinking, "_bring", brought)
        with pytest.raises(type(problem)):
            await world.defragmenter.run()
        world.table.put(b"later", b"x")
        world.applied = 2
        world.committer.flush(lambda: pytest.fail("called durable"))
        await asyncio.sleep(0.05)
        assert isinstance(world.failures[0], StorageFailed)
        assert set(world.durable) == {0}
        world.close()

    asyncio.run(live())


def test_a_failure_before_the_copy_took_the_name_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def live() -> None:
        world = World(tmp_path)
        monkeypatch.setattr(Shrinking, "take_name", refuse(NoSpace("no space left")))
        with pytest.raises(NoSpace):
            await world.defragmenter.run()
        world.applied = 1
        await committed(world.member)
        assert world.durable[-1] == 1
        assert not world.failures
        world.close()

    asyncio.run(live())


def test_stopped_while_the_copy_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The member ends in peace: nothing more is committed, and nobody is told of a failure."""

    async def live() -> None:
        world = World(tmp_path)
        write_when_named(world, monkeypatch)
        catch_up = Shrinking.catch_up

        def endless(shrinking: Shrinking, budget: int) -> bool:
            return catch_up(shrinking, budget) and not shrinking.named

        monkeypatch.setattr(Shrinking, "catch_up", endless)
        running = asyncio.ensure_future(world.defragmenter.run())
        while not world.applied:
            await asyncio.sleep(0.001)
        world.member.stopping = True
        world.defragmenter.close()
        world.committer.stop()
        with pytest.raises(asyncio.CancelledError):
            await running
        world.backend.close()
        assert not world.failures
        assert set(world.durable) == {0}
        found = Backend.open(tmp_path / "backend", headroom_bytes=1 << 20)
        assert found.table("table").get(b"999") is not None
        found.close()

    asyncio.run(live())


def test_given_up_it_lets_go_of_its_own_hold_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot is being put in place: a commit of the old file now would be lost, or be taken for the snapshot's."""

    async def live() -> None:
        world = World(tmp_path)

        def given_up(shrinking: Shrinking) -> None:
            world.loop.call_soon_threadsafe(world.committer.hold, True)
            world.loop.call_soon_threadsafe(world.backend.give_up_shrinking)
            raise StorageError("given up")

        monkeypatch.setattr(Shrinking, "take_name", given_up)
        with pytest.raises(StorageError, match="given up"):
            await world.defragmenter.run()
        before = world.backend._committed
        world.table.put(b"compaction", b"slice")
        world.committer.applied(2 * COMMIT_REQUESTS)
        assert world.backend._committed == before
        world.committer.hold(False)
        assert world.backend._committed > before
        await committed(world.member)
        world.close()

    asyncio.run(live())
