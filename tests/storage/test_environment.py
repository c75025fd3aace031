"""A backend's file that another has taken the place of is closed once, when nobody reads it any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvstore.storage import Backend, StorageError, StorageFailed
from kvstore.storage.environment import Environment

MAP = 1 << 26
SMALL = {"map_bytes": MAP, "headroom_bytes": 1 << 16}


@contextmanager
def reused(descriptor: int, path: Path) -> Iterator[int]:
    """Another file that has this descriptor now, as a segment of the log may."""
    opened = [os.open(path, os.O_CREAT | os.O_RDWR)]
    while opened[-1] < descriptor:
        opened.append(os.open(path, os.O_RDWR))
    assert opened[-1] == descriptor
    try:
        yield descriptor
    finally:
        for one in opened:
            os.close(one)


def test_who_comes_after_the_end_closes_nothing(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "data.mdb", MAP)
    descriptor = environment._fd
    environment.retire()
    with reused(descriptor, tmp_path / "other") as other:
        with pytest.raises(StorageError, match=r"data\.mdb: closed"), environment.hold():
            pass
        environment.release_pages()
        environment._resident = -1  # as if there were something to give back
        environment.release_pages()
        environment.retire()
        os.fstat(other)


def test_the_last_reader_closes_it(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "data.mdb", MAP)
    with environment.hold():
        environment.retire()
        environment.retire()
        with environment.hold():
            os.fstat(environment._fd)
        os.fstat(environment._fd)
    with pytest.raises(StorageError), environment.hold():
        pass


def filled(path: Path, value: bytes) -> Backend:
    backend = Backend.open(path, **SMALL)
    backend.table("keys").put(b"key", value)
    backend.commit()
    backend.sync()
    return backend


def test_who_finds_its_file_replaced_takes_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that asked for the old one just before it was closed."""
    source = filled(tmp_path / "source", b"new")
    source.copy_to(tmp_path / "received")
    source.close()
    backend = filled(tmp_path / "backend", b"old")
    old, hold = backend.environment, Environment.hold
    asked, replaced = threading.Event(), threading.Event()

    def late(environment: Environment) -> object:
        if environment is old:
            asked.set()
            assert replaced.wait(10)
        return hold(environment)

    def work() -> None:
        with backend.file() as file:
            seen.append(file.in_place())
        seen.append(backend.copy_to(tmp_path / "copy") > 0)
        with backend.read() as view:
            seen.append(view.table("keys").get(b"key"))

    seen: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "hold", late)
        thread = threading.Thread(target=work)
        thread.start()
        assert asked.wait(10)
        backend.replace_with(tmp_path / "received")
        backend.table("keys").put(b"more", b"")
        backend.commit()
        backend.sync()
        replaced.set()
        thread.join(10)
    assert seen == [True, True, b"new"]
    backend.close()
    with pytest.raises(StorageFailed), backend.file():
        pass
