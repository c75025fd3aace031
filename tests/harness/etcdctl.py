"""Running real etcdctl (3.4 or 3.5), once or in the background, with its outputs captured."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.process import Process, clean_environment
from harness.require import require

Version = Literal["3.4", "3.5"]
VERSIONS: tuple[Version, ...] = ("3.4", "3.5")


@dataclass(frozen=True)
class Outcome:
    """What a finished command left behind."""

    code: int
    stdout: str
    stderr: str


def etcdctl(
    version: Version,
    *arguments: str,
    endpoints: Sequence[str],
    stdin: str = "",
    timeout: float = 30.0,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run etcdctl to its end. subprocess.TimeoutExpired after `timeout` seconds."""
    run = subprocess.run(
        [require(f"etcdctl-{version}"), f"--endpoints={','.join(endpoints)}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        env=clean_environment(environment),
        check=False,
    )
    return Outcome(run.returncode, run.stdout, run.stderr)


def etcdctl_background(version: Version, *arguments: str, endpoints: Sequence[str], log: Path) -> Process:
    """Start etcdctl, both outputs to `log`; end it with the Process's methods."""
    return Process([require(f"etcdctl-{version}"), f"--endpoints={','.join(endpoints)}", *arguments], log)
