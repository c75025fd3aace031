"""A disk that forgets: what a directory may look like after the machine lost power.

The machine may also stop at any fsync, rename or unlink: that call raises Stop and does not happen.
While it watches, every fsync of a file or of the directory is remembered. `crash` then builds a directory as the disk
may hold it: of every file what was synced and any of the sectors written since; each name as it was synced or as it is.
Descriptors of all files that were or whose names were synced are kept, so that an inode number never means two files.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECTOR = 512


class Stop(BaseException):
    """The machine ends here."""


class PowerLoss:
    """Watches one flat directory."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self._content: dict[int, bytes] = {}
        self._kept: dict[int, int] = {}
        self._names: dict[str, int] = {}
        self.steps_left = 1 << 60
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._watch(getattr(os, name)))
        monkeypatch.setattr(os, "rename", self._counted(os.rename))
        monkeypatch.setattr(Path, "unlink", self._counted(Path.unlink))

    def _watch(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def synced(fd: int) -> None:
            self.step()
            real(fd)
            self.remember(fd)

        return synced

    def _counted(self, real: Callable[..., None]) -> Callable[..., None]:
        def step(*args: Any, **options: Any) -> None:
            self.step()
            real(*args, **options)

        return step

    def step(self) -> None:
        """One more call that the machine may not survive."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise Stop

    def remember(self, fd: int) -> None:
        """What the descriptor stands for is on the disk."""
        found = os.fstat(fd)
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            if os.path.realpath(f"/proc/self/fd/{fd}") == str(self.directory.resolve()):
                self._names = self._present()
                for name, inode in self._names.items():
                    self._keep(inode, self.directory / name)
            return
        self._keep(found.st_ino, f"/proc/self/fd/{fd}")
        self._content[found.st_ino] = os.pread(self._kept[found.st_ino], found.st_size, 0)

    def _keep(self, inode: int, path: Path | str) -> None:
        if inode not in self._kept:
            self._kept[inode] = os.open(path, os.O_RDONLY)

    def remember_all(self) -> None:
        """All that is there now is on the disk."""
        for path in (*self.directory.iterdir(), self.directory):
            fd = os.open(path, os.O_RDONLY)
            self.remember(fd)
            os.close(fd)

    def crash(self, target: Path, chance: random.Random, *, kill: bool = False) -> None:
        """Fill a new directory with what may be left; kill: only the process ended, so everything is."""
        if kill:
            shutil.copytree(self.directory, target)
            return
        target.mkdir()
        present = self._present()
        for name in sorted(present | self._names):
            # Each change of the directory that was not synced came through or not, for itself.
            inode = (present if chance.random() < 0.5 else self._names).get(name)
            if inode is not None:
                (target / name).write_bytes(self._left(inode, name, chance))

    def _left(self, inode: int, name: str, chance: random.Random) -> bytes:
        durable = self._content.get(inode, b"")
        kept = self._kept.get(inode)
        now = os.pread(kept, os.fstat(kept).st_size, 0) if kept is not None else (self.directory / name).read_bytes()
        share = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        size = max(len(durable), len(now) if chance.random() < 0.8 else 0)
        left = bytearray(durable.ljust(size, b"\0"))
        for at in range(0, min(len(now), size), SECTOR):
            if chance.random() < share:
                left[at : at + SECTOR] = now[at : at + SECTOR]
        return bytes(left[:size])

    def _present(self) -> dict[str, int]:
        return {entry.name: entry.inode() for entry in os.scandir(self.directory)}

    def close(self) -> None:
        """Let go of the files; no call is stopped any more."""
        self.steps_left = 1 << 60
        for fd in self._kept.values():
            os.close(fd)


class WatchedEnvironment:
    """An lmdb environment whose sync() is seen by a PowerLoss: LMDB calls the kernel without Python."""

    def __init__(self, environment: Any, path: Path, disk: PowerLoss) -> None:
        self._environment = environment
        self._path = path
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def sync(self, force: bool = False) -> None:
        """Really sync, and remember."""
        self._disk.step()
        self._environment.sync(force)
        fd = os.open(self._path, os.O_RDONLY)
        self._disk.remember(fd)
        os.close(fd)
