"""Where secrets go: a folder of ours on a tmpfs that the machine has anyway, so that nothing need be mounted.

The folder's name follows from the agent's root, so a restarted agent finds it. On a tmpfs that everybody may write to
(/dev/shm) somebody could have made it before us: then it is not used. Blocking, for a moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Final

# In the folder: the root of the agent that it belongs to.
OWNER: Final = ".root"
_PLACES: Final = ("/run", "/dev/shm")


def memory_folder(root: Path) -> Path | None:
    """The folder, made if it is not there; None: there is no tmpfs for us."""
    name = f"fluyt-agent-{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:12]}"
    in_memory = _file_systems("tmpfs")
    for place in _PLACES:
        if place in in_memory and os.access(place, os.W_OK | os.X_OK):
            folder = Path(place) / name
            if _ours(folder):
                (folder / OWNER).write_text(str(root.absolute()), encoding="utf-8")
                _sweep(Path(place))
                return folder
    return None


def _sweep(place: Path) -> None:
    """Remove folders of agents that were killed and whose root has been removed since."""
    for folder in place.glob("fluyt-agent-*"):
        with contextlib.suppress(OSError):
            root = (folder / OWNER).read_text(encoding="utf-8")
            if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink() and not os.path.lexists(root):
                shutil.rmtree(folder)


def _ours(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o711)
    except FileExistsError:
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    except OSError:
        return False
    return True


def _file_systems(kind: str) -> set[str]:
    """Mount points of that type."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {words[1] for words in (line.split(" ") for line in lines) if len(words) > 2 and words[2] == kind}
