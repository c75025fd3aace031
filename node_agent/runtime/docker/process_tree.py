"""Ending a program of the engine's with everything that it started, on the same machine. Blocking; quick."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def parents() -> dict[int, int]:
    """Process → its parent, of all that can be seen."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path("/proc", entry, "stat").read_bytes()
                found[int(entry)] = int(stat.rpartition(b")")[2].split()[1])
    return found


def descendants(root: int, parent_of: dict[int, int]) -> list[int]:
    """Those below `root`, nearest first. Pure."""
    below = [root]
    for process in below:
        below += [child for child, parent in parent_of.items() if parent == process and child not in below]
    return below[1:]


def kill_tree(root: int) -> None:
    """SIGKILL to a process and all below it; it is held first, so that it starts nothing more meanwhile."""
    with contextlib.suppress(OSError):
        os.kill(root, signal.SIGSTOP)
    for process in (root, *descendants(root, parents())):
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)
