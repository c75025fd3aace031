"""One agent at a time does what exists once per machine: several agents may share a machine (`fluyt up --nodes 3`).

The lock is a file that is locked, so it ends with its holder however that ends; there is one per network namespace
(whose inode is in the name) and cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import Final

_LOOK_AGAIN: Final = 0.5


def folder() -> Path:
    """Where locks are: of the system, or the user's own."""
    if os.geteuid() == 0:
        return Path("/run/fluyt")
    own = os.environ.get("XDG_RUNTIME_DIR")
    return Path(own, "fluyt") if own else Path(tempfile.gettempdir(), f"fluyt-{os.geteuid()}")


def path_of(purpose: str, cluster: str, base: Path | None = None) -> Path:
    """Of this network namespace. cluster: what tells it from others."""
    try:
        namespace = os.stat("/proc/self/ns/net").st_ino
    except OSError:
        namespace = 0
    return (base or folder()) / f"{purpose}-{namespace}-{cluster}.lock"


def remove_unheld(purpose: str, base: Path | None = None) -> None:
    """Remove the files of locks that nobody holds: of agents that were killed and will not come back."""
    for path in (base or folder()).glob(f"{purpose}-*.lock"):
        lock = MachineLock(path)
        with contextlib.suppress(OSError):
            lock.take()
        lock.release()


class MachineLock:
    """taken(), then release()."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        return self._handle is not None

    def take(self, note: str = "") -> bool:
        """Whether it is ours now. note: who we are, for others to read. Raises OSError: the folder is not ours."""
        if self._handle is not None:
            return True
        self.path.parent.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        if self.path.parent.stat().st_uid != os.geteuid():
            raise PermissionError(13, "the folder of locks belongs to another user", str(self.path.parent))
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        except BaseException:
            os.close(handle)
            raise
        if not self._still_there(handle):
            os.close(handle)
            return False
        os.ftruncate(handle, 0)
        os.write(handle, note.encode())
        self._handle = handle
        return True

    def _still_there(self, handle: int) -> bool:
        """Whether the file that is locked is the one at the path: its last holder may have removed it meanwhile."""
        try:
            return os.fstat(handle).st_ino == os.stat(self.path).st_ino
        except FileNotFoundError:
            return False

    def holder(self) -> str:
        """The note of who holds it; "" when nobody has said."""
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")[:200]
        except OSError:
            return ""

    async def taken(self, note: str = "") -> None:
        """Return when it is ours. Raises OSError."""
        while not self.take(note):
            await asyncio.sleep(_LOOK_AGAIN)

    def release(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            os.close(self._handle)
            self._handle = None
