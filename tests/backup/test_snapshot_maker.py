"""A snapshot made by another process: the same file, no child left behind, and a backend that is replaced meanwhile."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness.wait import wait_until

from kvstore.backup.making import SnapshotMaker
from kvstore.backup.writing import write_snapshot
from kvstore.mvcc.encoding import HEADER, encode_put
from kvstore.mvcc.types import pack, to_bytes
from kvstore.storage import Backend
from kvstore.storage.backend import BackendFile


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """With some revisions, and one that is not committed."""
    made = Backend.open(tmp_path / "backend")
    history = made.table("history")
    for main in range(2, 200):
        record = HEADER.pack(0, 0, main, 1, 0, 0) + encode_put(b"k%d" % main, main, main, 1, b"v" * main, 0)
        history.append(to_bytes(pack(main)), record)
    made.commit()
    history.append(to_bytes(pack(1000)), b"not there yet")
    yield made
    made.close()


class Answering:
    """A backend of which the test says whether its file is in place; children: how often one began."""

    def __init__(self, path: Path, *answers: bool) -> None:
        self.path = path
        self.answers = list(answers)

    @contextmanager
    def file(self) -> Iterator[BackendFile]:
        yield BackendFile(str(self.path), lambda: self.answers.pop(0))


def maker(backend: Any, file: Any) -> SnapshotMaker:
    return SnapshotMaker(backend, file.fileno())


def test_the_child_writes_the_last_commit_as_the_member_itself_would(backend: Backend) -> None:
    with tempfile.TemporaryFile() as ours, tempfile.TemporaryFile() as theirs, backend.read() as view:
        size = write_snapshot(view, ours)
        assert maker(backend, theirs).make() == size
        ours.seek(0)
        assert theirs.read() == ours.read()
        assert os.fstat(theirs.fileno()).st_size == size


def test_a_backend_that_was_replaced_is_copied_anew(backend: Backend, tmp_path: Path) -> None:
    replaced = Answering(tmp_path / "backend" / "data.mdb", False, True)
    with tempfile.TemporaryFile() as file:
        size = maker(replaced, file).make()
        assert not replaced.answers
        assert len(file.read()) == size


@pytest.mark.parametrize("content", [b"", b"no backend" * 1000])
def test_a_child_that_cannot_read_it_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with tempfile.TemporaryFile() as file, pytest.raises(OSError, match="ended with code 1"):
        maker(Answering(tmp_path / "data.mdb"), file).make()


def test_the_systems_own_reason_comes_through(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "unwritable").touch()
    with open(tmp_path / "unwritable", "rb") as file, pytest.raises(OSError) as refused:
        maker(backend, file).make()
    assert refused.value.errno == errno.EBADF


def test_who_gives_up_leaves_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[str]] = []
    problems: list[OSError] = []
    os.mkfifo(tmp_path / "data.mdb")  # a child waits for whoever opens its other end

    def make(given_up: SnapshotMaker) -> None:
        try:
            given_up.make()
        except OSError as problem:
            problems.append(problem)

    with tempfile.TemporaryFile() as file:
        under_way = maker(Answering(tmp_path / "data.mdb"), file)
        start = under_way._start
        monkeypatch.setattr(under_way, "_start", lambda path: children.append(start(path)) or children[-1])
        thread = threading.Thread(target=make, args=(under_way,))
        thread.start()
        wait_until(lambda: children, "a child")
        under_way.give_up()
        thread.join(30)
    assert not thread.is_alive()
    assert len(problems) == 1
    assert children[0].returncode is not None
