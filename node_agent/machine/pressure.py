"""How much of the machine is left at present. What cannot be measured has capacity 0 and presses nobody."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from node_agent.machine.facts import meminfo
from node_agent.node.facts import Pressure
from node_agent.runtime.types import FsUsage


def read_pressure(root: Path, images: FsUsage | None) -> Pressure:
    """root: the agent's folder; images: of the runtime. Blocks for a moment."""
    memory = meminfo()
    available, capacity, inodes_free, inodes = _file_system(root)
    pids, most_pids = _processes()
    return Pressure(
        memory_available=memory.get("MemAvailable", 0),
        memory_capacity=memory.get("MemTotal", 0),
        disk_available=available,
        disk_capacity=capacity,
        inodes_free=inodes_free,
        inodes=inodes,
        image_available=images.available if images else 0,
        image_capacity=images.capacity if images else 0,
        image_inodes_free=images.inodes_free if images else 0,
        image_inodes=images.inodes if images else 0,
        pids_available=max(most_pids - pids, 0),
        pids_capacity=most_pids,
    )


def _file_system(root: Path) -> tuple[int, int, int, int]:
    """Available and capacity in bytes, free and all inodes."""
    try:
        found = os.statvfs(root)
    except OSError:
        return 0, 0, 0, 0
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail, found.f_files


def _processes() -> tuple[int, int]:
    """How many tasks there are, and how many there may be."""
    try:
        running = Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[2]
        most = Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii").strip()
        return int(running), int(most)
    except (OSError, ValueError, IndexError):
        return 0, 0


def disk_usage(root: Path) -> tuple[int, int, int]:
    """Total, used and free bytes of the file system; zeros if it cannot be asked."""
    try:
        total, used, free = shutil.disk_usage(root)
    except OSError:
        return 0, 0, 0
    return total, used, free
