"""Large files that are not wanted any more: their blocks are freed by a thread, never by the event loop."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from kvstore.backup import stream
from kvstore.member.disk import discarding
from kvstore.storage import Backend


class Closing:
    """os.close that notes which threads use it."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def __call__(self, descriptor: int) -> None:
        self.threads.append(threading.get_ident())
        os.close(descriptor)


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> Closing:
    """What the module under test closes with."""

    class System:
        open, close = staticmethod(os.open), Closing()
        O_RDONLY, O_CLOEXEC = os.O_RDONLY, os.O_CLOEXEC

    monkeypatch.setattr(discarding, "os", System)
    return System.close


def test_the_name_is_free_at_once_and_a_thread_frees_the_rest(tmp_path: Path, closing: Closing) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")

    async def run() -> None:
        discarding.discard(asyncio.get_running_loop(), path)
        path.write_bytes(b"the next one")

    asyncio.run(run())
    assert path.read_bytes() == b"the next one"
    assert len(closing.threads) == 1
    assert closing.threads[0] != threading.get_ident()


def test_a_file_that_is_not_there_is_nothing_to_do(tmp_path: Path, closing: Closing) -> None:
    async def run() -> None:
        discarding.discard(asyncio.get_running_loop(), tmp_path / "file")

    asyncio.run(run())
    assert not closing.threads


def test_when_the_loop_has_no_threads_any_more_it_is_done_all_the_same(tmp_path: Path, closing: Closing) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")

    async def run() -> None:
        loop = asyncio.get_running_loop()
        await loop.shutdown_default_executor()
        discarding.discard(loop, path)

    asyncio.run(run())
    assert not path.exists()
    assert closing.threads == [threading.get_ident()]


@pytest.mark.parametrize("leaves", [False, True])
def test_a_clients_snapshot_is_freed_by_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: bool) -> None:
    closed: list[int] = []

    def noted(**options: Any) -> Any:
        return _Noted(tempfile.TemporaryFile(**options), closed)

    async def send(blob: bytes, left: int) -> None:
        if leaves:
            raise OSError("gone")

    async def run(backend: Backend) -> None:
        await stream.stream_snapshot(backend, tmp_path, send)

    monkeypatch.setattr(stream, "TemporaryFile", noted)
    backend = Backend.open(tmp_path / "backend")
    try:
        if leaves:
            with pytest.raises(OSError, match="gone"):
                asyncio.run(run(backend))
        else:
            asyncio.run(run(backend))
    finally:
        backend.close()
    assert len(closed) == 1
    assert closed[0] != threading.get_ident()


class _Noted:
    """A file that notes which threads close it."""

    def __init__(self, file: Any, closed: list[int]) -> None:
        self._file = file
        self._closed = closed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        self._closed.append(threading.get_ident())
        self._file.close()
