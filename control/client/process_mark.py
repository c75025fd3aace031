"""Marks of processes: whether the process behind one is certainly gone, asked of this machine's own kernel.

A candidate that is started again finds its dead predecessor in the line before it. Nobody was connected to that one, so
no broken connection tells of its end; but the kernel knows. Invariant: "gone" is said only where the mark is of this
boot of this machine and of our namespace of process ids, and then it is true: an id that was given to another process
has another start time. Source: proc(5), /proc/[pid]/stat, field 22.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE: Final = Path("/proc/self/ns/pid")
# Of a process that has ended and that its parent has not collected yet.
_ENDED: Final = frozenset("ZX")


def own_mark() -> dict[str, Any]:
    """This process's mark, JSON; {} where /proc does not tell."""
    started = _started(os.getpid())
    place = _place()
    return {**place, "pid": os.getpid(), "started": started} if place and started else {}


def is_gone(mark: Mapping[str, Any]) -> bool:
    """Whether the process is certainly gone; False where it lives or where that cannot be told from here."""
    place = _place()
    if not place or any(mark.get(name) != value for name, value in place.items()):
        return False
    pid, started = mark.get("pid"), mark.get("started")
    if not isinstance(pid, int) or not isinstance(started, int) or pid <= 0:
        return False
    try:
        # Asked first: /proc may hide the processes of others (hidepid), and what is hidden is not gone.
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return _started(pid) not in (started, None)


def _place() -> dict[str, str]:
    """Where process ids mean the same as here: this boot, this namespace; {} where that is not known."""
    try:
        return {"boot": _BOOT.read_text().strip(), "namespace": os.readlink(_NAMESPACE)}
    except OSError:
        return {}


def _started(pid: int) -> int | None:
    """When the process was started, in clock ticks since the boot; 0: it has ended; None: that cannot be seen."""
    try:
        # The command's name, in parentheses, may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return 0 if fields[0] in _ENDED else int(fields[19])
