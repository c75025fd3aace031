"""`fluyt snapshot`: which file it writes, and what it leaves when it is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fluyt_process import Runner, Started
from harness.cluster import Cluster
from harness.process import clean_environment
from harness.wait import wait_until


def _names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [Path.mkdir, _fifo, _socket, _loop])
def test_what_is_no_file_is_not_replaced(bare_fluyt: Runner, tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "x"
    make(path)
    before = path.lstat()
    # Nobody is there to ask: it is refused before that.
    refused = bare_fluyt("--endpoints", "127.0.0.1:1", "snapshot", "save", str(path))
    assert refused.code == 5
    assert refused.stderr == f"Error: snapshot not saved: {path} is there, and is no regular file\n"
    assert path.lstat() == before
    assert _names(tmp_path) == ["x"]


def test_an_empty_name_is_refused(bare_fluyt: Runner) -> None:
    refused = bare_fluyt("--endpoints", "127.0.0.1:1", "snapshot", "save", "")
    assert (refused.code, refused.stderr) == (5, "Error: snapshot not saved: the file's name is empty\n")


def test_a_link_is_written_through(fluyt: Runner, store: Cluster, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/backup.db")
    assert fluyt("snapshot", "save", str(tmp_path / "link")).code == 0
    assert (tmp_path / "link").is_symlink()
    assert _names(tmp_path / "there") == ["backup.db"]
    assert (tmp_path / "there" / "backup.db").stat().st_mode & 0o777 == 0o600


def test_what_lies_in_wait_is_not_written_to(fluyt: Runner, store: Cluster, tmp_path: Path) -> None:
    """Others' files beside it, of the name that it once used: they stay, and what is in them."""
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "linked.db.part").symlink_to("victim")
    (tmp_path / "open.db.part").write_text("kept")
    (tmp_path / "open.db.part").chmod(0o666)
    for name in ("linked.db", "open.db"):
        assert fluyt("snapshot", "save", str(tmp_path / name)).code == 0
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "victim").read_text() == "kept"
    assert (tmp_path / "open.db.part").read_text() == "kept"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_save_that_is_stopped_leaves_nothing(
    new_cluster: Callable[..., Cluster], started: Started, tmp_path: Path, number: int, code: int
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    with new_cluster(members=1, start=False) as cluster:
        cluster.pause(0)
        saving = started("snapshot", "save", str(folder / "b.db"), "--endpoints", cluster.endpoints[0])
        wait_until(lambda: _names(folder), "the file that is being written")
        os.kill(saving.pid, number)
        assert saving.wait(15) == code
        cluster.resume(0)
    assert _names(folder) == []


# `fluyt snapshot restore`, told to end in the middle of its work.
_RESTORE = """
import os, signal, sys
from kvstore.backup import restore
from kvstore.cli.main import main
restore._fill = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
main(["snapshot", "restore", sys.argv[1], "--data-dir", sys.argv[2]])
"""


def test_a_restore_that_is_stopped_leaves_nothing(fluyt: Runner, store: Cluster, tmp_path: Path) -> None:
    saved, folder = tmp_path / "b.db", tmp_path / "restored"
    assert fluyt("snapshot", "save", str(saved)).code == 0
    folder.mkdir()
    words = [sys.executable, "-c", _RESTORE, str(saved), str(folder / "d")]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=30, env=clean_environment(), check=False)
    assert (ended.returncode, ended.stderr) == (143, "")
    assert _names(folder) == []
