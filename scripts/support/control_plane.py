"""Whole masters and nodes on this machine as separate processes: `fluyt up --detach` by another name."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.binaries import find
from harness.process import clean_environment


def start(folder: Path | None, masters: int | None, nodes: int | None, runtime: str | None) -> int:
    """The exit code of `fluyt up`. Three masters unless the folder has a cluster of another size."""
    from control.up.cluster import Cluster, default_folder

    folder = (folder or default_folder()).absolute()
    present = Cluster(folder).plan
    wanted = masters or (len(present.masters) if present else 3)
    words = ["--data-dir", str(folder), "--masters", str(wanted), "--detach"]
    words += ["--nodes", str(nodes)] if nodes is not None else []
    words += ["--runtime", runtime] if runtime else []
    return _fluyt("up", *words)


def stop(folder: Path | None, wipe: bool) -> int:
    """The exit code of `fluyt down`."""
    words = ["--data-dir", str(folder.absolute())] if folder else []
    return _fluyt("down", *words, *(["--wipe"] if wipe else []))


def _fluyt(*words: str) -> int:
    program = find("fluyt")
    if program is None:
        print("the command fluyt is not installed; run scripts/venv")
        return 1
    return subprocess.call([program, *words], env=clean_environment())
