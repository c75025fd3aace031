"""Sub paths of volumes for runtimes that take paths alone (Docker, the CRI): each is mounted at a path of ours.

    <root>/pods/<uid>/volume-subpaths/<volume>/<container>/<number>

A daemon resolves the path that it is given when the container starts, and a neighbour may have put a link there by
then. What is mounted stays the folder that was looked at, and no container reaches the place itself.

Invariants: at one place one mount at most; what was mounted is never removed, just let go of, so nothing of the
volume is lost; mounts outlive the agent and are found again in the kernel's own list. Faults assumed: a killed agent,
no root. Source: the kubelet's layout (pkg/volume/util/subpath), CVE-2017-1002101.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from node_agent.runtime.descent import descend, top_of
from node_agent.runtime.process import linux
from node_agent.volumes.mounted import mounts_below
from node_agent.volumes.scratch import remove_tree


def pin(root: Path, below: str, place: Path) -> None:
    """Mount root/below at `place`, instead of what was there. Blocks; raises OSError."""
    top = top_of(str(root))
    try:
        found = descend(top, below)
    finally:
        os.close(top)
    try:
        let_go(place)
        _make(place, folder=stat.S_ISDIR(os.fstat(found).st_mode))
        linux.mount(f"/proc/self/fd/{found}", str(place), "", linux.MS_BIND)
    finally:
        os.close(found)


def _make(place: Path, *, folder: bool) -> None:
    if folder:
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def let_go(folder: Path) -> None:
    """Unmount all at and below it, and remove it. Containers keep theirs. Blocks; raises OSError for what stays."""
    for mounted in mounts_below(folder):
        linux.umount(str(mounted))
    if mounts_below(folder):
        raise OSError(errno.EBUSY, f"something is still mounted below {folder}")
    with contextlib.suppress(FileNotFoundError):
        remove_tree(folder)
