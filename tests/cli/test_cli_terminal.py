"""What is read from a terminal or a pipe, and written to what takes nothing: Ctrl-C, passwords, closed descriptors."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from fluyt_process import Runner, run
from harness.binaries import find
from harness.cluster import Cluster
from harness.process import clean_environment
from typing_process import TypingProcess

# ---- Ctrl-C ----


@pytest.mark.parametrize("command", ["put k", "watch -i"])
def test_ctrl_c_ends_a_command_that_reads_lines(store: Cluster, command: str) -> None:
    with TypingProcess(store, *command.split()) as typing:
        typing.type_line("watch k")
        typing.press_ctrl_c()
        assert typing.wait() == 130


def test_ctrl_c_ends_a_transaction_that_is_asked_for(store: Cluster) -> None:
    with TypingProcess(store, "txn", "-i") as typing:
        typing.wait_shown(b"compares:")
        typing.type(b"\n")
        typing.wait_shown(b"success requests")
        typing.press_ctrl_c()
        assert typing.wait() == 130


@pytest.mark.parametrize("command", ["user add typed", "user passwd typed", "get k --user typed"])
def test_ctrl_c_ends_the_question_for_a_password(store: Cluster, command: str) -> None:
    with TypingProcess(store, *command.split()) as typing:
        assert typing.echoes
        typing.wait_shown(b"Password")
        assert not typing.echoes
        typing.press_ctrl_c()
        assert typing.wait() == 130
        assert typing.echoes


def test_watches_are_typed(store: Cluster, name: str) -> None:
    run(store, "put", name, "v")
    with TypingProcess(store, "watch", "-i") as typing:
        typing.type(f"watch --rev 1 {name}\n".encode())
        typing.wait_shown(b"PUT\r\n" + name.encode() + b"\r\nv\r\n")
        typing.type(b"\x04")
        assert typing.wait() == 3


# ---- a login's password without a terminal ----


def test_the_password_of_user_may_come_from_a_pipe(fluyt: Runner, name: str) -> None:
    # A store without users takes any: as with etcdctl, the login that it does not want is no error.
    asked = fluyt("--user", "root", "put", name, "v", stdin="secret\n")
    assert (asked.code, asked.stdout, asked.stderr) == (0, "OK\n", "Password: \n")
    nothing = fluyt("--user", "root", "get", name, stdin="")
    assert (nothing.code, nothing.stdout) == (128, "")
    assert "Error: no password: type one, or give it as --user name:password" in nothing.stderr


# ---- descriptors that are closed, or take nothing ----


def _shell(store: Cluster, line: str) -> subprocess.CompletedProcess[str]:
    program = find("fluyt")
    assert program is not None
    command = f"{shlex.quote(program)} --endpoints={store.endpoints[0]} {line}"
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=30, env=clean_environment(), check=False
    )


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("put k <&-", 3, "cannot read stdin: it is closed"),
        ("txn <&-", 3, "cannot read stdin: it is closed"),
        ("watch -i <&-", 3, "cannot read stdin: it is closed"),
        ("user add u <&-", 3, "cannot read stdin: it is closed"),
        ("member list >&-", 1, "cannot write to stdout: it is closed"),
        ("member list >/dev/full", 1, "cannot write to stdout: No space left on device"),
        ("member list -w protobuf >/dev/full", 1, "cannot write to stdout: No space left on device"),
        ("version >/dev/full", 1, "input or output: No space left on device"),
    ],
)
def test_what_cannot_be_read_or_written_is_one_line(store: Cluster, line: str, code: int, message: str) -> None:
    ended = _shell(store, line)
    assert (ended.returncode, ended.stderr) == (code, f"Error: {message}\n")
