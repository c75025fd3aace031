"""`fluyt` as a process of its own: run to its end, or started, read and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

from harness.binaries import find
from harness.cluster import Cluster
from harness.etcdctl import Outcome
from harness.process import Process, clean_environment

# fluyt("get", "k"): a command to its end.
Runner = Callable[..., Outcome]
# started("watch", "k"): a running `fluyt`, ended with the test.
Started = Callable[..., Process]


def run(store: Cluster, *words: str, stdin: str = "") -> Outcome:
    """`fluyt` as a process of its own, to its end."""
    program = find("fluyt")
    assert program is not None
    done = subprocess.run(
        [program, f"--endpoints={store.endpoints[0]}", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(),
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def lines(process: Process) -> list[str]:
    """What the process has written so far, without the harness's first line."""
    return process.output().splitlines()[1:]


def interrupt(process: Process) -> int:
    """Ctrl-C; the exit code."""
    os.kill(process.pid, signal.SIGINT)
    return process.wait(15)
