"""Files are whole or absent, and their directory is told."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from kvstore.storage import durable


def test_steps_of_an_atomic_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    for name in ("pwritev", "fsync", "rename"):
        real = getattr(os, name)

        def step(*args: object, _real: object = real, _name: str = name) -> object:
            kind = "directory " if _name == "fsync" and os.path.isdir(f"/proc/self/fd/{args[0]}") else ""
            steps.append(kind + _name)
            return _real(*args)  # type: ignore[operator]

        monkeypatch.setattr(os, name, step)
    path = tmp_path / "file"
    durable.write_file(path, b"one")
    assert steps == ["pwritev", "fsync", "rename", "directory fsync"]
    assert path.stat().st_mode & 0o777 == 0o600
    durable.write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["pwritev", "fsync", "rename"])
def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "file"
    durable.write_file(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, step, refuse)
        with pytest.raises(OSError, match="Input/output"):
            durable.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    durable.write_file(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_reserving_takes_blocks_but_no_size(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"x")
    durable.reserve(fd, 1, 1 << 20)
    found = os.fstat(fd)
    os.close(fd)
    assert found.st_size == 1
    assert found.st_blocks * 512 >= 1 << 20


def test_reserving_too_much_says_so(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError) as refused:
        durable.reserve(fd, 0, 1 << 60)
    os.close(fd)
    assert refused.value.errno in (errno.ENOSPC, errno.EFBIG)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_that_can_t_reserve_are_left_alone(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    class Library:
        def fallocate(self, *_: object) -> int:
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(durable, "_libc", Library())
    durable.reserve(0, 0, 4096)


def test_other_errors_of_reserving_are_not_swallowed() -> None:
    reader, writer = os.pipe()
    with pytest.raises(OSError) as refused:
        durable.reserve(writer, 0, 4096)
    assert refused.value.errno == errno.ESPIPE
    os.close(reader)
    os.close(writer)
