"""Processes of a cluster and their pid files: none runs unseen, and none that has ended counts."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness.wait import wait_until

from control.up.children import Children
from control.up.rows import Row

# `up`, killed when the process has begun and its pid file has not: prints the process.
KILLED = """
import os, signal, sys
from pathlib import Path
from control.up.children import Children
from control.up.rows import Row

class Killed(Children):
    def note(self, name, pid):
        print(pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

folder, sys.executable = sys.argv[1:]
Killed(Path(folder)).start(Row("x", ("store",)))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Stands in for Python: it says that it ran, and goes on until somebody ends it."""
    made = tmp_path / "program"
    made.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexec sleep 1000\n")
    made.chmod(0o755)
    return made


def gone(pid: int) -> bool:
    """Also when its parent has not collected it yet."""
    try:
        return b") Z " in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True


def told_or_gone(tmp_path: Path, pid: int) -> bool:
    """Whether it ran; asked once that is decided."""
    wait_until(lambda: (tmp_path / "ran").exists() or gone(pid), "the process to run, or to end")
    return (tmp_path / "ran").exists()


def test_a_process_runs_and_is_found_and_stopped_by_others(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(program))
    children = Children(tmp_path)
    children.start(Row("x", ("store",)))
    pid = children.pid("x")
    assert pid is not None
    assert told_or_gone(tmp_path, pid)
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    assert Children(tmp_path).pid("x") == pid, "it became the program with pid and start time"
    assert children.stop(["x"]) == ["x"]
    assert gone(pid)


def test_what_is_begun_by_an_up_that_is_killed_does_not_run_without_a_pid_file(tmp_path: Path, program: Path) -> None:
    """It ran on, held its ports, and `fluyt down` knew nothing of it."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    try:
        assert not told_or_gone(tmp_path, pid)
    finally:
        if not gone(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_pid_file_that_cannot_be_written_ends_the_process(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start failed, and nothing could stop what it had begun."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(Children, "note", full)
    children = Children(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        children.start(Row("x", ("store",)))
    pid = children._popen["x"].pid
    try:
        assert not told_or_gone(tmp_path, pid)
    finally:
        children._popen["x"].kill()
        children._popen["x"].wait()


def test_one_that_ended_before_it_was_noted_does_not_run(tmp_path: Path) -> None:
    """Its start time was noted as 0, which is what nobody has: it ran for ever, and `fluyt down` waited for its end."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    children = Children(tmp_path)
    children.note("x", ended.pid)
    assert children.pid("x") is None
    assert children.stop(["x"]) == []


def test_who_reads_a_pid_file_while_it_is_written_sees_the_whole_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment it was empty: what ran did not."""
    children = Children(tmp_path)
    children.note("x", os.getpid())
    seen: list[int | None] = []
    real = Path.write_text

    def halting(path: Path, text: str) -> int:
        real(path, "")
        seen.append(children.pid("x"))
        return real(path, text)

    monkeypatch.setattr(Path, "write_text", halting)
    children.note("x", os.getpid())
    assert seen == [os.getpid()]
