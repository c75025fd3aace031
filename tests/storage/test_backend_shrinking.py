"""Shrinking the backend's file while it is written: nothing is lost at any step, whichever file a crash leaves."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import lmdb
import pytest

from kvstore.storage import Backend, StorageError, StorageFailed
from kvstore.storage.shrinking import COMMIT_ROWS, Shrinking

HEADROOM = 1 << 20
Model = dict[bytes, bytes]


class World:
    """A backend and what it has to hold; `committed` is what a crash may not lose."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.backend = Backend.open(folder / "backend", headroom_bytes=HEADROOM)
        self.model: Model = {}
        self.committed: Model = {}
        self.counter = 0

    def write(self, rows: int) -> None:
        """Puts, deletes and appends."""
        table, log = self.backend.table("table"), self.backend.table("log")
        for _ in range(rows):
            key = b"key%d" % self.rng.randrange(2000)
            if self.rng.random() < 0.3:
                table.delete(key)
                self.model.pop(key, None)
            else:
                self.model[key] = self.rng.randbytes(self.rng.choice([0, 20, 300]))
                table.put(key, self.model[key])
            self.counter += 1
            log.append(self.counter.to_bytes(8, "big"), b"x")

    def commit(self) -> None:
        """As the committer does."""
        self.backend.commit()
        self.backend.sync()
        self.committed = dict(self.model)

    def check(self) -> None:
        """The backend is what it has to be."""
        assert dict(self.backend.table("table").scan()) == self.model
        assert sum(1 for _ in self.backend.table("log").scan()) == self.counter

    def crash(self, name: str) -> Model:
        """What a process finds that starts on a copy of the folder as it is now."""
        copy = self.folder.parent / name
        shutil.copytree(self.folder / "backend", copy)
        found = Backend.open(copy, headroom_bytes=HEADROOM)
        try:
            return dict(found.table("table").scan())
        finally:
            found.close()


def catch_up(world: World, shrinking: Shrinking, between: int = 0) -> None:
    """In slices, with writes between them."""
    while not shrinking.catch_up(50):
        world.write(between)


@pytest.fixture
def world(tmp_path: Path, seed: int) -> World:
    """With many freed pages."""
    (tmp_path / "here").mkdir()
    made = World(tmp_path / "here", seed)
    table = made.backend.table("table")
    for number in range(3000):
        table.put(b"old%d" % number, b"v" * 2000)
    made.commit()
    for number in range(3000):
        table.delete(b"old%d" % number)
    made.write(3000)
    made.commit()
    return made


@pytest.mark.parametrize("late", [0, 10, 3 * COMMIT_ROWS])
def test_every_step(world: World, tmp_path: Path, late: int) -> None:
    """late: rows written after the copy took the name."""
    before = world.backend.size()
    world.write(100)
    shrinking = world.backend.shrink(tmp_path / "here" / "copy.mdb")
    world.write(100)
    world.commit()
    shrinking.copy()
    world.write(3000)
    world.commit()
    world.write(500)
    catch_up(world, shrinking, between=10)
    assert world.crash("before") == world.committed
    shrinking.commit()
    shrinking.sync()
    world.write(50)
    catch_up(world, shrinking)
    shrinking.commit()
    named_with = dict(world.model)
    shrinking.take_name()
    assert world.crash("named") == named_with
    world.write(late)
    world.check()
    world.backend.commit()  # held back: the old file must not be committed any more
    assert world.crash("held") == named_with
    catch_up(world, shrinking, between=5)
    shrinking.switch().retire()
    world.check()
    assert world.backend.size() < before / 2
    assert not world.backend.needs_sync
    assert world.crash("switched") == named_with
    for number in range(3):
        world.write(200)
        world.commit()
        world.check()
        assert world.crash(f"after{number}") == world.committed
    world.backend.close()
    world.backend = Backend.open(world.folder / "backend", headroom_bytes=HEADROOM)
    world.check()
    world.backend.close()


def named(world: World) -> Shrinking:
    """A shrinking whose copy has taken the file's name."""
    shrinking = world.backend.shrink(world.folder / "copy.mdb")
    world.commit()
    shrinking.copy()
    catch_up(world, shrinking)
    shrinking.commit()
    shrinking.take_name()
    return shrinking


class Refusing:
    """An LMDB object, one of whose calls fails."""

    def __init__(self, real: Any, call: str) -> None:
        self._real = real
        self._call = call

    def begin(self, **options: bool) -> Any:
        if self._call == "begin":
            raise lmdb.MemoryError("mdb_txn_begin: Cannot allocate memory")
        return Refusing(self._real.begin(**options), self._call)

    def open_db(self, name: bytes, txn: Any) -> Any:
        raise lmdb.DiskError("mdb_dbi_open: No space left on device")

    def __getattr__(self, name: str) -> Any:
        if name == self._call:
            raise lmdb.MapFullError(f"mdb_{name}: Environment mapsize limit reached")
        return getattr(self._real, name)


def stopped_for_good(world: World, expected: Model) -> None:
    """Nothing is said to be durable any more, and the next start finds the copy."""
    with pytest.raises(StorageFailed):
        world.backend.commit()
    with pytest.raises(StorageFailed):
        world.backend.sync()
    assert world.backend.failure is not None
    assert world.crash("stopped") == expected
    world.backend.close()
    assert world.crash("closed") == expected


@pytest.mark.parametrize("call", ["begin", "open_db", "put"])
def test_a_failure_after_the_copy_took_the_name_stops_the_backend(world: World, call: str) -> None:
    """The open transaction is that of a file without a name: what it holds is lost, and may not be called durable."""
    shrinking = named(world)
    named_with = dict(world.model)
    world.backend.table("table").put(b"after", b"x")
    new = shrinking._environment()
    new.env = Refusing(new.env, call)
    if call == "open_db":
        new.handles.clear()
    with pytest.raises(StorageFailed, match="smaller copy"):
        shrinking.catch_up(10)
    shrinking.abandon()
    stopped_for_good(world, named_with)


def test_a_failed_switch_stops_the_backend(world: World) -> None:
    shrinking = named(world)
    named_with = dict(world.model)
    new = shrinking._environment()
    new.env = Refusing(new.env, "begin")
    with pytest.raises(StorageFailed, match="smaller copy"):
        shrinking.switch()
    shrinking.abandon()
    stopped_for_good(world, named_with)


def test_given_up_after_the_copy_took_the_name(world: World) -> None:
    shrinking = named(world)
    named_with = dict(world.model)
    world.write(10)
    shrinking.abandon()
    stopped_for_good(world, named_with)


def test_a_snapshot_takes_the_place_after_the_copy_took_the_name(world: World) -> None:
    """Then the snapshot is the file and the backend; the shrinking that is given up stops nobody."""
    received = world.folder / "received.mdb"
    world.backend.copy_to(received)
    expected = dict(world.committed)
    shrinking = named(world)
    world.backend.give_up_shrinking()
    with pytest.raises(StorageError, match="given up"):
        shrinking.catch_up(10)
    shrinking.abandon()
    world.backend.take_over(world.backend.put_in_place(received)).retire()
    assert dict(world.backend.table("table").scan()) == expected
    world.backend.table("table").put(b"more", b"x")
    world.commit()
    assert world.crash("installed") == {**expected, b"more": b"x"}
    world.backend.close()


def test_closed_right_after_the_copy_took_the_name(world: World) -> None:
    shrinking = named(world)
    named_with = dict(world.model)
    world.write(10)
    world.backend.commit()
    world.backend.close()
    shrinking.abandon()
    found = Backend.open(world.folder / "backend", headroom_bytes=HEADROOM)
    assert dict(found.table("table").scan()) == named_with
    found.close()


def test_given_up(world: World, tmp_path: Path) -> None:
    path = tmp_path / "here" / "copy.mdb"
    shrinking = world.backend.shrink(path)
    world.commit()
    shrinking.copy()
    world.write(100)
    shrinking.catch_up(10)
    shrinking.abandon()
    assert not list((tmp_path / "here").glob("copy*"))
    world.check()
    world.commit()
    again = world.backend.shrink(path)  # and it can be asked for again
    again.abandon()
    world.backend.close()


def test_a_snapshot_takes_the_place_meanwhile(world: World, tmp_path: Path) -> None:
    received = tmp_path / "here" / "received.mdb"
    world.backend.copy_to(received)
    expected = dict(world.committed)
    shrinking = world.backend.shrink(tmp_path / "here" / "copy.mdb")
    world.commit()
    shrinking.copy()
    world.write(100)
    world.backend.replace_with(received)
    for step in (lambda: shrinking.catch_up(10), shrinking.take_name, shrinking.switch):
        with pytest.raises(StorageError, match="given up"):
            step()
    shrinking.abandon()
    assert dict(world.backend.table("table").scan()) == expected
    world.backend.close()
