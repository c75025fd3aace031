"""What a member reads through the map of its backend does not stay in its resident size."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvstore.storage import Backend
from kvstore.storage.environment import RESIDENT_BYTES
from kvstore.storage.resident import mapped_bytes, release

ROWS = 10_000
VALUE = bytes(4000)

pytestmark = pytest.mark.skipif(mapped_bytes() == 0, reason="no /proc/self/statm here")


def filled(directory: Path) -> Backend:
    """A backend with 40 MB in it."""
    backend = Backend.open(directory, fsync=False, headroom_bytes=1 << 20)
    table = backend.table("rows")
    for row in range(ROWS):
        table.put(b"%08d" % row, VALUE)
    backend.commit()
    return backend


def read_all(backend: Backend) -> int:
    """Touch every page."""
    with backend.read() as view:
        return sum(1 for _ in view.table("rows").scan())


def test_reading_everything_does_not_grow_the_member(tmp_path: Path) -> None:
    """After the next commit the pages are given back, and what is in them can still be read."""
    backend = Backend.open(tmp_path, headroom_bytes=1 << 20)
    before = mapped_bytes()
    table = backend.table("rows")
    for row in range(ROWS):
        table.put(b"%08d" % row, VALUE)
    backend.commit()
    backend.sync()
    assert read_all(backend) == ROWS
    assert mapped_bytes() > before + RESIDENT_BYTES
    table.put(b"more", b"")
    backend.commit()
    backend.sync()
    assert mapped_bytes() < before + RESIDENT_BYTES
    assert read_all(backend) == ROWS + 1
    backend.close()


def test_only_the_file_itself_is_given_back(tmp_path: Path) -> None:
    """A file that is not mapped has nothing to give."""
    backend = filled(tmp_path)
    read_all(backend)
    held = mapped_bytes()
    other = tmp_path / "other"
    other.write_bytes(b"x")
    assert release(other)
    assert mapped_bytes() > held - RESIDENT_BYTES
    backend.close()


def test_pages_are_given_back_after_the_file_was_shrunk(tmp_path: Path) -> None:
    """The map is looked for by the file's name, which the copy takes."""
    backend = Backend.open(tmp_path / "backend", headroom_bytes=1 << 20)
    before = mapped_bytes()
    table = backend.table("rows")
    shrinking = backend.shrink(tmp_path / "copy.mdb")
    for row in range(ROWS):
        table.put(b"%08d" % row, VALUE)
    backend.commit()
    backend.sync()
    shrinking.copy()
    while not shrinking.catch_up(1000):
        pass
    shrinking.commit()
    shrinking.take_name()
    shrinking.switch().retire()
    backend.commit()
    backend.sync()
    assert read_all(backend) == ROWS
    assert mapped_bytes() > before + 2 * RESIDENT_BYTES
    backend.release()
    assert mapped_bytes() < before + 2 * RESIDENT_BYTES
    backend.close()
