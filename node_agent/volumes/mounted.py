"""What is mounted on this machine, from the kernel's own list."""

from __future__ import annotations

import os
from pathlib import Path


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at or below the folder, the deepest first; one that is mounted on twice, twice. Blocks."""
    top = os.path.realpath(folder)
    found = []
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            path = line.split(" ")[1].encode("latin-1", "surrogateescape").decode("unicode_escape")
            if path == top or path.startswith(f"{top}/"):
                found.append(Path(path))
    return sorted(found, key=lambda path: len(path.parts), reverse=True)
