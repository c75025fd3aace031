"""A disk that refuses: a failed fsync is the end, a full disk is not."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_picture import entries, entry, picture

from kvstore.raft.types import HardState
from kvstore.storage import Log, NoSpace, StorageFailed

SEGMENT = 4096


def refuse(number: int) -> object:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log.create(tmp_path / "log", metadata=b"", segment_bytes=SEGMENT)
    yield made
    made._segments.close()


def test_a_failed_fsync_is_never_retried(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append(entries(1, 1))
    monkeypatch.setattr(os, "fdatasync", refuse(errno.EIO))
    with pytest.raises(StorageFailed, match="fsync failed"):
        log.sync()
    monkeypatch.undo()
    for call in (log.sync, lambda: log.append(entries(2, 1)), lambda: log.append([], HardState(1, 1, 1))):
        with pytest.raises(StorageFailed, match="can't be trusted"):
            call()
    assert log.needs_sync


def test_after_a_failed_fsync_the_pages_are_written_again(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel holds the lost pages for clean: only writing them again brings them to the disk.

    At every start, as a process that sees an fsync fail may be killed before it can say so.
    """
    log.append(entries(1, 3))
    log.sync()
    durable = log._segments.live.synced
    log.append(entries(4, 2))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse(errno.EIO))
        with pytest.raises(StorageFailed):
            log.sync()
    end = log._segments.live.end
    log.close()
    written: list[tuple[int, int]] = []
    real = os.pwritev

    def note(fd: int, parts: list[bytes], offset: int) -> int:
        written.append((offset, sum(map(len, parts))))
        return real(fd, parts, offset)

    monkeypatch.setattr(os, "pwritev", note)
    opened = Log.open(tmp_path / "log", segment_bytes=SEGMENT)
    assert written == [(durable, end - durable)]
    assert opened.last_index() == 5
    opened.close()


def test_a_failed_write_is_the_end_too(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append(entries(1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", refuse(errno.EIO))
        with pytest.raises(StorageFailed, match="can't write"):
            log.append(entries(2, 1))
    assert log.last_index() == 1
    with pytest.raises(StorageFailed):
        log.sync()


def test_a_full_disk_leaves_the_log_as_it_was(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append(entries(1, 2), HardState(1, 1, 0))
    before = picture(log)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", refuse(errno.ENOSPC))
        for call in (
            lambda: log.append(entries(2, 3, term=2), HardState(2, 2, 1)),
            lambda: log.append([], HardState(2, 2, 1)),
        ):
            with pytest.raises(NoSpace, match="free space"):
                call()
    assert picture(log) == before
    log.append([entry(3)])
    log.sync()
    after = picture(log)
    log.close()
    opened = Log.open(tmp_path / "log")
    assert picture(opened) == after
    opened.close()


def test_a_write_that_the_disk_took_in_pieces(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_many, real_one = os.pwritev, os.pwrite
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, at: real_many(fd, [b"".join(parts)[:7]], at))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real_one(fd, data[:50], at))
    log.append(entries(1, 3, size=100))
    before = picture(log)
    log.close()
    opened = Log.open(tmp_path / "log")
    assert picture(opened) == before
    opened.close()


def test_no_room_for_the_next_segment_shows_ahead(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse(errno.ENOSPC))
        log.append(entries(1, 1, size=2500))
        log.append(entries(2, 1, size=2500))  # into the segment that was prepared
        log.sync()
        assert log.space_short
        log.append([], HardState(1, 1, 1))
        with pytest.raises(NoSpace, match="preallocate"):
            log.append(entries(3, 1, size=2500))
        assert log.last_index() == 2
        log.append(entries(3, 1, size=20))
    log.append(entries(4, 1, size=2500))
    monkeypatch.setattr("kvstore.storage.log.segments._RETRY_SPARE_SECONDS", 0)
    log._segments._next_spare_at = 0
    log.sync()
    assert not log.space_short


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_really_full_disk(small_disk: Path) -> None:
    log = Log.create(small_disk / "log", metadata=b"", segment_bytes=1 << 15)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(64 << 10))
    with pytest.raises(NoSpace):
        for index in range(1, 1000):
            log.append(entries(index, 1, size=1000))
            log.sync()
    assert log.space_short
    before = picture(log)
    log.append([], HardState(1, 1, 1))
    ballast.unlink()
    log.append(entries(log.last_index() + 1, 1, size=1000))
    after = picture(log)
    log.close()
    opened = Log.open(small_disk / "log")
    assert picture(opened) == after
    assert after.entries[:-1] == before.entries
    opened.close()


def test_appends_go_on_while_a_worker_syncs(tmp_path: Path) -> None:
    """What was appended before a sync began is durable after it, whatever is appended meanwhile."""
    log = Log.create(tmp_path / "log", metadata=b"", segment_bytes=1 << 14)
    failures: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            while not done.is_set():
                log.sync()
        except BaseException as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    for index in range(1, 1500):
        log.append(entries(index, 1, size=200), HardState(1, 1, index - 1))
    done.set()
    worker.join()
    assert not failures
    before = picture(log)
    log.close()
    opened = Log.open(tmp_path / "log")
    assert picture(opened) == before
    opened.close()
