"""Has a snapshot made by a child process (child.py), from the member's side.

Invariants: the file that is copied is the one under the backend's name from before the child opened it until it has its
view, so that its view is of a file whose lock it holds, too; a child does not outlive the call.
Faults assumed: the child is killed or cannot be started (OSError); the backend is replaced meanwhile (once more).
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys

from kvstore.backup.child import BEGUN
from kvstore.storage import Backend

_TRIES = 5


class SnapshotMaker:
    """One snapshot. make() blocks and is for a worker thread; give_up() may come from any."""

    def __init__(self, backend: Backend, descriptor: int) -> None:
        """descriptor: of an empty file. It may be closed before make() has ended, which keeps its own."""
        self._backend = backend
        self._descriptor = os.dup(descriptor)
        self._child: subprocess.Popen[str] | None = None
        self._given_up = False

    def make(self) -> int:
        """Write the last commit to the file, once; its size in bytes. The descriptor's position is 0 then. OSError."""
        try:
            for _ in range(_TRIES):
                size = self._try()
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                if size is not None:
                    return size
                os.ftruncate(self._descriptor, 0)
            raise OSError(errno.EBUSY, "the backend was replaced again and again")
        finally:
            os.close(self._descriptor)

    def give_up(self) -> None:
        """Nobody wants it any more: make() ends with OSError soon."""
        self._given_up = True
        child = self._child
        if child is not None:
            child.kill()

    def _try(self) -> int | None:
        """None if the backend's file was replaced while the child opened it."""
        with self._backend.file() as opened:
            child = self._child = self._start(opened.path)
            try:
                if self._given_up:
                    raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
                if _said(child) != BEGUN:
                    raise OSError(errno.EIO, "it could not be begun")
                return int(_said(child)) if opened.in_place() else None
            finally:
                child.kill()
                child.communicate()

    def _start(self, path: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "kvstore.backup.child", path, str(self._descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=[self._descriptor],
            text=True,
        )


def _said(child: subprocess.Popen[str]) -> str:
    """What the child says next. OSError for what it reports, and if it ended instead."""
    assert child.stdout is not None
    words = child.stdout.readline().split()
    if len(words) == 2:
        raise OSError(int(words[1]), os.strerror(int(words[1])))
    if not words:
        raise OSError(errno.EIO, f"the process that makes it ended with code {child.wait()}")
    return words[0]
