"""What was measured on: processor, memory, kernel, file system and interpreter, without a path or a host's name.

Sources: proc(5) for cpuinfo, meminfo and mountinfo.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from pathlib import Path, PurePath

# Where a distribution installs its own Python.
_OF_THE_SYSTEM = "/usr"


def machine() -> dict[str, str]:
    """Facts about this machine, in words; the file system is that of the members' data."""
    cpu = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    mounts = Path("/proc/self/mountinfo").read_text()
    return {
        "processor": f"{cpu[1].strip() if cpu else '?'}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "file system": f"data on {file_system(Path(tempfile.gettempdir()).resolve(), mounts)}",
        "interpreter": interpreter(platform.python_version(), sys.version, sys.base_prefix, _distribution()),
    }


def file_system(folder: PurePath, mountinfo: str) -> str:
    """The type of the file system that holds a folder: of the longest mount point above it, the last one mounted."""
    deepest, kind = -1, "?"
    for line in mountinfo.splitlines():
        mount, _, rest = line.partition(" - ")
        point = PurePath(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), mount.split()[4]))
        if folder.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind = len(point.parts), rest.split()[0]
    return kind


def interpreter(number: str, version: str, prefix: str, distribution: str) -> str:
    """`Python 3.11.2 (Debian GNU/Linux's build, GCC 12.2.0)`. version, prefix: sys.version and sys.base_prefix."""
    compiler = re.search(r"\[([^\]/]*)\]\s*$", version)
    known = [
        f"{distribution}'s build" if distribution and prefix == _OF_THE_SYSTEM else "a build of its own",
        compiler[1].strip() if compiler else "",
    ]
    return f"Python {number} ({', '.join(word for word in known if word)})"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("NAME", "")
    except OSError:
        return ""
