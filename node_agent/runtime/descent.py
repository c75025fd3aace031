"""The way down into a folder, which nobody can bend by swapping folders for links meanwhile.

Invariants: one component at a time is opened from the one above it (O_PATH | O_NOFOLLOW), so that what was looked at
is what is used; links are read as text and never followed by the kernel, so those of /proc (`/proc/1/root`) lead
where their text says and to no other root; `..` leads back to what was come through, never above the top. Faults
assumed: a container that changes the tree at any moment. Imports next to nothing: the shim can afford no more.

Source: openat(2); openat2(2), RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS; CVE-2017-1002101, CVE-2021-25741,
CVE-2024-21626.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

_MAX_LINKS = 40
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

# Makes what is missing: in this open folder, of this name; whether it is the last one of the path.
Maker = Callable[[int, str, bool], None]


def top_of(path: str) -> int:
    """A descriptor of what is at this path of the machine's, links followed. Raises OSError."""
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def descend(top: int, path: str, *, links: bool = False, make: Maker | None = None) -> int:
    """A descriptor (O_PATH) of `path` below the open folder `top`. Raises OSError.

    links: they are followed as if `top` were the root of everything; without, a link on the way is refused.
    """
    way = [os.dup(top)]
    left, followed = _parts(path), 0
    try:
        while left:
            name = left.pop()
            if name == "..":
                _back(way, 1)
                continue
            found = _entered(way[-1], name, make, last=not left)
            way.append(found)
            if not stat.S_ISLNK(os.fstat(found).st_mode):
                continue
            followed += 1
            if not links or followed > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP) if links else f"{name!r} is a symbolic link")
            target = os.readlink("", dir_fd=found)
            _back(way, len(way) if target.startswith("/") else 1)
            left += _parts(target)
        return os.dup(way[-1])
    finally:
        for descriptor in way:
            os.close(descriptor)


def _parts(path: str) -> list[str]:
    """The last one first."""
    return [part for part in path.split("/") if part not in ("", ".")][::-1]


def _back(way: list[int], steps: int) -> None:
    """Up again, but not above the top."""
    for _ in range(min(steps, len(way) - 1)):
        os.close(way.pop())


def _entered(folder: int, name: str, make: Maker | None, *, last: bool) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, _STEP, dir_fd=folder)
    if make is not None:
        with contextlib.suppress(FileExistsError):  # somebody was faster: theirs is looked at like any other
            make(folder, name, last)
    return os.open(name, _STEP, dir_fd=folder)


def make_folder(folder: int, name: str, last: bool) -> None:
    """A Maker of folders."""
    os.mkdir(name, dir_fd=folder)


def make_file(folder: int, name: str, last: bool) -> None:
    """A Maker of an empty file and of the folders above it."""
    if not last:
        make_folder(folder, name, last)
        return
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(name, flags, 0o644, dir_fd=folder))
