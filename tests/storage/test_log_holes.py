"""A segment is read up to the hole at its end, which is most of one that was preallocated a moment ago."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.storage.log.segment import _read_all, allocate

SIZE = 1 << 20


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[int]:
    """A preallocated file with something at its beginning, and something behind a gap."""
    fd = allocate(tmp_path / "segment", SIZE)
    os.pwrite(fd, b"begin", 0)
    os.pwrite(fd, b"end", 300_000)
    yield fd
    os.close(fd)


def test_all_that_was_written_is_read_and_the_size_is_the_files(segment: int) -> None:
    data, size = _read_all(segment)
    assert size == SIZE
    assert data.ljust(SIZE, b"\0") == os.pread(segment, SIZE, 0)
    assert data.rstrip(b"\0").endswith(b"end")


def test_a_file_system_that_cannot_tell_is_read_whole(segment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "lseek", refuse)
    data, size = _read_all(segment)
    assert len(data) == size == SIZE


def test_a_file_without_a_written_octet_has_no_content(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "hole", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, SIZE)
    data, size = _read_all(fd)
    assert data.strip(b"\0") == b""
    assert size == SIZE
    os.close(fd)
