"""What this machine is made of, from /proc, /sys and /etc. What cannot be read is left empty; nothing here raises."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

from node_agent.node.facts import Machine

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}
_KI: Final = 1024


def read_machine(root: Path) -> Machine:
    """root: the agent's folder, whose file system is the node's ephemeral storage."""
    memory = meminfo()
    system = os.uname()
    return Machine(
        cpu=1000 * (os.cpu_count() or 1),
        memory=memory.get("MemTotal", 0),
        disk=_disk(root),
        pids=_number("/proc/sys/kernel/pid_max"),
        architecture=_ARCHITECTURES.get(system.machine, system.machine),
        operating_system=system.sysname.lower(),
        kernel=system.release,
        os_image=_os_name(),
        machine_id=_text("/etc/machine-id") or _text("/var/lib/dbus/machine-id"),
        system_uuid=_text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
        swap=memory.get("SwapTotal", 0),
    )


def meminfo() -> dict[str, int]:
    """/proc/meminfo, in bytes."""
    found = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (_KI if len(words) > 1 else 1)
    return found


def _disk(root: Path) -> int:
    while not root.exists() and root != root.parent:
        root = root.parent
    try:
        found = os.statvfs(root)
    except OSError:
        return 0
    return found.f_blocks * found.f_frsize


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
