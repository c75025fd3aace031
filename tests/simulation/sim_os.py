"""The operating system as the member's code sees it while a simulation runs.

Paths below /simdisk/N belong to the disk of member N; everything else is the real machine's. So the code under test is
the member's own, unchanged: whatever opens, writes, syncs, renames or lists files there meets the simulated disk.
"""

from __future__ import annotations

import fcntl
import io
import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from sim_disk import Disk, Inode

ROOT = "/simdisk/"
FIRST_FD = 1 << 20


class _Entry:
    """What scandir gives."""

    def __init__(self, name: str, path: str, inode: Inode) -> None:
        self.name = name
        self.path = path
        self._inode = inode

    def is_dir(self) -> bool:
        return self._inode.directory

    def is_file(self) -> bool:
        return not self._inode.directory

    def is_symlink(self) -> bool:
        return False

    def inode(self) -> int:
        return self._inode.number


class _Entries:
    def __init__(self, entries: list[_Entry]) -> None:
        self._entries = entries

    def __enter__(self) -> Iterator[_Entry]:
        return iter(self._entries)

    def __exit__(self, *_: Any) -> None:
        pass


class SimOs:
    """Replaces functions of `os` while it is installed."""

    def __init__(self, disks: dict[int, Disk], random_bytes: Callable[[int], bytes]) -> None:
        self._disks = disks
        self._random_bytes = random_bytes
        self._files: dict[int, tuple[Disk, Inode, list[int]]] = {}
        self._next = FIRST_FD

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While in this context, simulated paths and descriptors are served here."""
        by_path = {
            "open": self._open,
            "stat": lambda disk, path, *_, **__: disk.stat(disk.inode(path)),
            "unlink": lambda disk, path, **_: disk.unlink(path),
            "mkdir": lambda disk, path, *_, **__: disk.mkdir(path),
            "listdir": lambda disk, path: disk.listdir(path),
            "scandir": self._scandir,
            "rename": lambda disk, path, target, **_: disk.rename(path, os.fspath(target)),
        }
        by_fd = {
            "pwritev": lambda disk, inode, at, parts, offset, *_: disk.write(inode, parts, offset),
            "pwrite": lambda disk, inode, at, data, offset: disk.write(inode, [data], offset),
            "pread": lambda disk, inode, at, size, offset: bytes(inode.data[offset : offset + size]),
            "write": self._write,
            "fsync": lambda disk, inode, at: disk.sync(inode),
            "fdatasync": lambda disk, inode, at: disk.sync(inode),
            "fstat": lambda disk, inode, at: disk.stat(inode),
            "posix_fallocate": lambda disk, inode, at, offset, size: disk.allocate(inode, offset + size),
        }
        patches = {name: self._for_path(getattr(os, name), work) for name, work in by_path.items()}
        patches |= {name: self._for_fd(getattr(os, name), work) for name, work in by_fd.items()}
        patches["close"] = self._closer(os.close)
        patches["urandom"] = self._random_bytes
        with (
            mock.patch.multiple(os, **patches),
            mock.patch.object(pathlib.Path, "open", self._path_open(pathlib.Path.open)),
            mock.patch.object(fcntl, "flock", self._flock(fcntl.flock)),
        ):
            yield

    def _for_path(self, real: Callable[..., Any], work: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *args: Any, **options: Any) -> Any:
            text = path if type(path) is str else os.fspath(path) if hasattr(path, "__fspath__") else ""
            if type(text) is str and text.startswith(ROOT):
                return work(self._disk(text), text.rstrip("/"), *args, **options)
            return real(path, *args, **options)

        return call

    def _for_fd(self, real: Callable[..., Any], work: Callable[..., Any]) -> Callable[..., Any]:
        files = self._files

        def call(fd: int, *args: Any) -> Any:
            if type(fd) is int and fd >= FIRST_FD:
                return work(*files[fd], *args)
            return real(fd, *args)

        return call

    def _disk(self, path: str) -> Disk:
        return self._disks[int(path[len(ROOT) :].partition("/")[0])]

    def _open(self, disk: Disk, path: str, flags: int, mode: int = 0o777, **_: Any) -> int:
        inode = disk.open(path, flags)
        self._next += 1
        self._files[self._next] = (disk, inode, [0])
        return self._next

    def _write(self, disk: Disk, inode: Inode, at: list[int], data: bytes) -> int:
        at[0] += disk.write(inode, [data], at[0])
        return len(data)

    def _scandir(self, disk: Disk, path: str) -> _Entries:
        names = disk.listdir(path)
        return _Entries([_Entry(name, f"{path}/{name}", disk.inode(f"{path}/{name}")) for name in names])

    def _closer(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def close(fd: int) -> None:
            if fd >= FIRST_FD:
                self._files.pop(fd, None)
            else:
                real(fd)

        return close

    def _flock(self, real: Callable[[int, int], None]) -> Callable[[int, int], None]:
        return lambda fd, how: None if fd >= FIRST_FD else real(fd, how)

    def _path_open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def open_path(path: pathlib.Path, mode: str = "r", *args: Any, **options: Any) -> Any:
            if not str(path).startswith(ROOT):
                return real(path, mode, *args, **options)
            data = bytes(self._disk(str(path)).inode(str(path)).data)
            return io.BytesIO(data) if "b" in mode else io.StringIO(data.decode())

        return open_path
