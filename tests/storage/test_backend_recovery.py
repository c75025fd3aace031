"""The backend after a stop: the last synced state, whole, whatever of a later one reached the disk."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import lmdb
import pytest
from power_loss import PowerLoss, Stop, WatchedEnvironment

from kvstore.storage import Backend, BackendDamaged, NoSpace, StorageFailed, environment
from kvstore.storage.sync_mark import ANY, SyncMark

SMALL = {"map_bytes": 1 << 26, "headroom_bytes": 1 << 16}
PAGE = 4096


def state(backend: Backend) -> dict[bytes, bytes]:
    return dict(backend.table("keys").scan())


def saved(backend: Backend) -> None:
    backend.commit()
    backend.sync()


def pages(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [data[at : at + PAGE] for at in range(0, len(data), PAGE)]


def test_an_unsynced_commit_is_taken_back(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "backend", **SMALL)
    table = backend.table("keys")
    for number in range(300):
        table.put(b"%04d" % number, b"synced")
    saved(backend)
    before = pages(tmp_path / "backend" / "data.mdb")
    for number in range(0, 300, 2):
        table.put(b"%04d" % number, b"lost")
    backend.commit()
    shutil.copytree(tmp_path / "backend", tmp_path / "left")
    backend.close()
    # The machine stopped: the meta page of the last commit is on the disk, its other pages are not.
    data = tmp_path / "left" / "data.mdb"
    after = pages(data)
    changed = [n for n in range(2, len(after)) if n >= len(before) or after[n] != before[n]]
    assert changed
    with data.open("r+b") as file:
        for number in changed:
            file.seek(number * PAGE)
            file.write(bytes(PAGE))
    for _ in range(2):  # and once more: taking back may itself be interrupted and repeated
        again = Backend.open(tmp_path / "left", **SMALL)
        assert state(again) == {b"%04d" % number: b"synced" for number in range(300)}
        again._mark.close()
        again._environment.retire()
    again = Backend.open(tmp_path / "left", **SMALL)
    again.table("keys").put(b"0000", b"new")
    saved(again)
    assert state(again)[b"0000"] == b"new"
    again.close()


def test_closed_in_peace_nothing_is_taken_back(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "backend", **SMALL)
    backend.table("keys").put(b"a", b"1")
    backend.commit()
    backend.close()
    again = Backend.open(tmp_path / "backend", **SMALL)
    assert state(again) == {b"a": b"1"}
    again.close()


def watched(directory: Path, monkeypatch: pytest.MonkeyPatch) -> PowerLoss:
    """A PowerLoss that sees LMDB's syncs as well."""
    disk = PowerLoss(directory, monkeypatch)
    real = environment._open

    def watching(path: Path, map_bytes: int) -> Any:
        return WatchedEnvironment(real(path, map_bytes), path, disk)

    monkeypatch.setattr(environment, "_open", watching)
    return disk


def life(directory: Path, opened: list[Backend], states: list[dict[bytes, bytes]], chance: random.Random) -> None:
    """Batches, a replacement and an opening in between; whenever this stops, one of `states` must be found."""
    backend = Backend.open(directory, **SMALL)
    opened.append(backend)
    table = backend.table("keys")
    for batch in range(14):
        for _ in range(chance.randrange(1, 60)):
            table.put(b"%04d" % chance.randrange(300), b"%d" % batch * chance.randrange(1, 400))
            table.delete(b"%04d" % chance.randrange(300))
        states.append(state(backend))
        saved(backend)
        del states[:-1]
        if batch == 7:
            copied = states[0]
            backend.copy_to(directory / "snapshot")
        if batch == 8:
            for _ in range(50):
                table.put(b"%04d" % chance.randrange(300), bytes(300))
            states.append(state(backend))
            backend.commit()  # and not synced
            states.append(copied)
            backend.replace_with(directory / "snapshot")
            assert state(backend) == copied
            del states[:-1]
    table.put(b"last", b"x")
    states.append(state(backend))
    backend.commit()
    backend.close()
    del states[:-1]
    again = Backend.open(directory, **SMALL)
    opened.append(again)
    again.table("keys").put(b"more", b"x")
    states.append(state(again))
    again.commit()


@pytest.mark.parametrize("power", [True, False], ids=["power-loss", "kill"])
def test_a_stop_at_every_step_of_a_backend_s_life(tmp_path: Path, power: bool, seed: int) -> None:
    for number in range(1000):
        directory, left = tmp_path / f"{number}", tmp_path / f"{number}.left"
        directory.mkdir()
        opened: list[Backend] = []
        states: list[dict[bytes, bytes]] = [{}]
        chance = random.Random(seed + number)
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = watched(directory, monkeypatch)
            disk.steps_left = number
            try:
                life(directory, opened, states, chance)
                stopped = False
            except Stop:
                stopped = True
            disk.crash(left, chance, kill=not power)
            disk.close()
            for backend in opened:
                backend._environment.retire()
        for lock in left.glob("*-lock"):
            lock.unlink()
        again = Backend.open(left, **SMALL)
        assert state(again) in states
        again.table("keys").put(b"on", b"1")
        saved(again)
        again.close()
        shutil.rmtree(directory)
        shutil.rmtree(left)
        if not stopped:
            break
    assert number > 40


def test_a_replacement_that_a_crash_left_unmarked_is_marked_when_opened(tmp_path: Path) -> None:
    """The mark said that any state in the file is on the disk; that must end before the next commit."""
    Backend.open(tmp_path / "backend", **SMALL).close()
    mark = SyncMark.open(tmp_path / "backend" / "synced")
    mark.write(ANY)
    mark.close()
    backend = Backend.open(tmp_path / "backend", **SMALL)
    assert SyncMark.open(tmp_path / "backend" / "synced").transaction == 0
    backend.close()


def test_a_received_file_that_nobody_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "backend"
    source = Backend.open(tmp_path / "source", **SMALL)
    source.table("keys").put(b"a", b"received")
    saved(source)
    source.copy_to(tmp_path / "copy")
    source.close()
    disk = watched(directory, monkeypatch)
    backend = Backend.open(directory, **SMALL)
    (directory / "received").write_bytes((tmp_path / "copy").read_bytes())
    backend.replace_with(directory / "received")
    for number in range(5):
        left = tmp_path / f"{number}.left"
        disk.crash(left, random.Random(number))
        (left / "data.mdb-lock").unlink(missing_ok=True)
        again = Backend.open(left, **SMALL)
        assert state(again) == {b"a": b"received"}
        again.close()
    backend.close()
    disk.close()


def test_a_file_older_than_its_mark_is_refused(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "backend", **SMALL)
    backend.table("keys").put(b"a", b"1")
    saved(backend)
    shutil.copy(tmp_path / "backend" / "data.mdb", tmp_path / "old.mdb")
    for _ in range(3):
        backend.table("keys").put(b"a", b"2")
        saved(backend)
    backend.close()
    shutil.copy(tmp_path / "old.mdb", tmp_path / "backend" / "data.mdb")
    good = (tmp_path / "old.mdb").read_bytes()
    with pytest.raises(BackendDamaged, match="transaction 4 was synced, but the file holds"):
        Backend.open(tmp_path / "backend", **SMALL)
    assert (tmp_path / "backend" / "data.mdb").read_bytes() == good


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("synced", None, "missing"),
        ("synced", b"", "both copies"),
        ("synced", bytes(1024), "both copies"),
        ("data.mdb", b"", "holds none"),
        ("data.mdb", b"SQLite format 3" + bytes(9000), "holds none"),
    ],
)
def test_what_is_no_backend_is_refused(tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    Backend.open(tmp_path / "backend", **SMALL).close()
    path = tmp_path / "backend" / name
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    with pytest.raises(BackendDamaged, match=message):
        Backend.open(tmp_path / "backend", **SMALL)


def test_one_rotten_slot_of_the_mark_is_survived(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "backend", **SMALL)
    backend.table("keys").put(b"a", b"1")
    saved(backend)
    backend.table("keys").put(b"a", b"2")
    saved(backend)
    newest = backend._mark._sequence % 2
    backend.close()
    with (tmp_path / "backend" / "synced").open("r+b") as file:
        file.seek(newest * 512 + 9)
        file.write(b"?")
    again = Backend.open(tmp_path / "backend", **SMALL)
    assert state(again) == {b"a": b"1"}
    again.close()


class FailingSync:
    """An lmdb environment whose sync fails."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def sync(self, force: bool = False) -> None:
        raise lmdb.Error("mdb_env_sync: Input/output error")


def test_a_failed_sync_is_never_retried_and_goes_back(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "backend", **SMALL)
    backend.table("keys").put(b"a", b"1")
    saved(backend)
    backend.table("keys").put(b"a", b"2")
    backend.commit()
    real = backend._environment.env
    backend._environment.env = FailingSync(real)
    with pytest.raises(StorageFailed, match=r"fsync of .* failed"):
        backend.sync()
    backend._environment.env = real
    for call in (backend.sync, backend.commit, backend.read, lambda: backend.copy_to(tmp_path / "copy")):
        with pytest.raises(StorageFailed, match="started again"):
            call()
    backend.close()
    again = Backend.open(tmp_path / "backend", **SMALL)
    assert state(again) == {b"a": b"1"}
    again.close()


def test_what_was_written_without_fsync_is_on_the_disk_before_it_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The first start after --unsafe-no-fsync: the mark says from then on that the power may fail."""
    directory = tmp_path / "backend"
    disk = watched(directory, monkeypatch)
    backend = Backend.open(directory, fsync=False, **SMALL)
    for number in range(300):
        backend.table("keys").put(b"%04d" % number, b"unsynced")
    saved(backend)
    expected = state(backend)
    backend.close()
    started = Backend.open(directory, **SMALL)
    for number in range(5):
        left = tmp_path / f"{number}.left"
        disk.crash(left, random.Random(seed + number))
        (left / "data.mdb-lock").unlink(missing_ok=True)
        again = Backend.open(left, **SMALL)
        assert state(again) == expected
        again.close()
    started.close()
    disk.close()


def test_a_disk_that_refuses_at_the_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Backend.open(tmp_path / "backend", **SMALL).close()
    real = environment._open
    monkeypatch.setattr(environment, "_open", lambda path, map_bytes: FailingSync(real(path, map_bytes)))
    with pytest.raises(StorageFailed, match=r"can't open .*Input/output error"):
        Backend.open(tmp_path / "backend", **SMALL)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_disk_shows_before_a_commit_meets_it(small_disk: Path) -> None:
    backend = Backend.open(small_disk / "backend", map_bytes=1 << 26, headroom_bytes=1 << 19)
    table = backend.table("keys")
    number = 0
    while not backend.space_short:
        number += 1
        table.put(b"%04d" % number, bytes(20_000))
        saved(backend)
        assert number < 200
    # What was taken ahead still serves deletes.
    for old in range(1, number):
        table.delete(b"%04d" % old)
        saved(backend)
    assert len(state(backend)) == 1
    fill(small_disk)
    with pytest.raises(NoSpace, match="free space"):
        backend.copy_to(small_disk / "copy")
    assert not list(small_disk.glob("*.tmp"))
    for old in range(1, 100):
        table.put(b"%04d" % old, bytes(20_000))
    with pytest.raises(NoSpace, match="free space"):
        backend.commit()
    with pytest.raises(StorageFailed):
        backend.sync()
    backend.close()
    (small_disk / "ballast").unlink()
    again = Backend.open(small_disk / "backend", map_bytes=1 << 26, headroom_bytes=1 << 16)
    assert len(state(again)) == 1
    again.close()


def fill(disk: Path) -> None:
    """Leave no room, neither for others nor for what the backend has not taken yet."""
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_map_is_no_space(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "backend", map_bytes=1 << 20, headroom_bytes=1 << 16)
    table = backend.table("keys")
    with pytest.raises(NoSpace, match="started again"):
        for number in range(100):
            table.put(b"%d" % number, bytes(50_000))
    with pytest.raises(StorageFailed):
        backend.commit()
    backend.close()


def test_without_fsync_it_opens_what_is_there(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "backend", fsync=False, **SMALL)
    for number in range(3):
        backend.table("keys").put(b"a", b"%d" % number)
        saved(backend)
    shutil.copytree(tmp_path / "backend", tmp_path / "left")
    backend.close()
    again = Backend.open(tmp_path / "left", **SMALL)
    assert state(again) == {b"a": b"2"}
    again.close()
