"""The container's tree while it is made, and the machine's beside it, which by then has no path any more.

Everything is named by its descriptor, as a path of the machine's /proc: the kernel uses what is open and resolves
nothing a second time.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

from node_agent.runtime.descent import descend, make_file, make_folder, top_of
from node_agent.runtime.process import linux


def opened_source(step: dict[str, Any]) -> int:
    """What a bind step shows, opened; a path below a volume, which containers write to, without following links."""
    source = top_of(step["source"])
    if not step.get("below"):
        return source
    try:
        return descend(source, step["below"])
    finally:
        os.close(source)


def attach(source: str, point: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """As linux.mount; its error without our descriptors, whose numbers say nothing to the pod's owner."""
    try:
        linux.mount(source, point, kind, flags, data)
    except OSError as problem:
        raise OSError(problem.errno, os.strerror(problem.errno or 0)) from problem


class Tree:
    """Opened before the root changes; `enter` after it, `leave_machine` when all is mounted.

    makes: mount points that are missing are made; the machine's own tree is left as it is.
    """

    def __init__(self, *, makes: bool) -> None:
        self._makes = makes
        self._machine = top_of("/")
        self._proc = top_of("/proc")
        self._top = -1

    def enter(self) -> None:
        """From here on paths begin in the new root, and the names of descriptors hold."""
        self._top = top_of("/")
        os.fchdir(self._proc)

    def leave_machine(self) -> None:
        os.fchdir(self._machine)
        linux.umount(".")

    def close(self) -> None:
        for descriptor in (self._machine, self._proc, self._top):
            os.close(descriptor)

    def name(self, descriptor: int) -> str:
        return f"self/fd/{descriptor}"

    @contextlib.contextmanager
    def _named(self, descriptor: int) -> Iterator[str]:
        try:
            yield self.name(descriptor)
        finally:
            os.close(descriptor)

    def at(self, path: str) -> contextlib.AbstractContextManager[str]:
        """What is at this path of the container's. Raises OSError."""
        return self._named(descend(self._top, path, links=True))

    def has(self, path: str) -> bool:
        try:
            with self.at(path):
                return True
        except (FileNotFoundError, NotADirectoryError):
            return False

    def of_machine(self, path: str) -> contextlib.AbstractContextManager[str]:
        return self._named(descend(self._machine, path))

    def point(self, path: str, *, folder: bool) -> contextlib.AbstractContextManager[str]:
        """Something to mount on. Raises OSError."""
        if self._makes:
            return self._named(descend(self._top, path, links=True, make=make_folder if folder else make_file))
        try:
            return self.at(path)
        except FileNotFoundError:
            raise FileNotFoundError(
                errno.ENOENT, "this machine has no such mount point, and its root cannot be layered without overlayfs"
            ) from None

    @contextlib.contextmanager
    def mounted(self, path: str, source: int) -> Iterator[str]:
        """What was just mounted there; OSError if a container has swapped the way to it meanwhile."""
        descriptor = descend(self._top, path, links=True)
        with self._named(descriptor) as name:
            if not os.path.samestat(os.fstat(descriptor), os.fstat(source)):
                raise OSError(errno.ESTALE, "the mount point was moved while it was mounted on")
            yield name
