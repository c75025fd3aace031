"""The root file system of a container, made in a mount namespace of its own: the spec's mount steps, carried out.

Invariants: nothing is created or mounted outside the new root, however its symbolic links point: the root has
changed by then, the old one has no path, and mount points are gone down to without the kernel following a link
(tree.py); a volume's sub path is the folder that the agent saw, or the container does not start. The machine's own
mounts never see ours (everything is a slave of theirs first). When the last process of the container ends, the
kernel takes the namespace and all its mounts away, so there is nothing to clean up.

Modes: `image` (an overlay or a copy that belongs to the container), `host` (the machine's own tree without a layer
above, where overlays are not allowed: only mount points that exist can be used).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Any

from node_agent.runtime.process import linux
from node_agent.runtime.process.shim.tree import Tree, attach, opened_source

_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
)


def build_root(spec: dict[str, Any]) -> None:
    """Raises OSError, which names the mount."""
    linux.mount("", "/", "", linux.MS_REC | linux.MS_SLAVE)
    root, own = spec["root"], spec["root"]["mode"] != "host"
    tree, steps = Tree(makes=own), _opened(spec["mounts"])
    if own:
        _mount_root(root)
        _change_root(root["target"])
    tree.enter()
    _carry_out(steps, tree)
    if own:
        tree.leave_machine()
    tree.close()
    os.chdir("/")
    if spec["readonly"] and own:
        linux.mount("", "/", "", linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NODEV)


def _mount_root(root: dict[str, Any]) -> None:
    target = root["target"]
    if root.get("overlay"):
        linux.mount("overlay", target, "overlay", linux.MS_NODEV, root["overlay"])
    else:
        linux.mount(target, target, "", linux.MS_BIND | linux.MS_REC)


def _change_root(target: str) -> None:
    """The old root comes to lie on top of the new one, where descriptors lead and no path does: pivot_root(2)."""
    os.chdir(target)
    linux.pivot_root(".", ".")


def _opened(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sources are the machine's: they are opened before the root changes. Those of optional steps may be missing."""
    found = []
    for step in steps:
        with _named(step):
            found.append({**step, "opened": opened_source(step)} if step["do"] == "bind" else step)
    return found


def _carry_out(steps: list[dict[str, Any]], tree: Tree) -> None:
    for step in steps:
        with _named(step):
            _ACTIONS[step["do"]](step, tree)
        if "opened" in step:
            os.close(step["opened"])


@contextlib.contextmanager
def _named(step: dict[str, Any]) -> Iterator[None]:
    """Say which mount it was that failed; an optional one may."""
    try:
        yield
    except OSError as problem:
        if not step.get("optional"):
            of = f" of {step['source']}" if "source" in step else ""
            raise OSError(problem.errno, f"mount{of} at {step['at']}: {problem.strerror or problem}") from problem


def _file_system(step: dict[str, Any], tree: Tree) -> None:
    with tree.point(step["at"], folder=True) as point:
        attach(step["type"], point, step["type"], step.get("flags", 0), step.get("data", ""))


def _bind(step: dict[str, Any], tree: Tree) -> None:
    source = step["opened"]
    recursive = linux.MS_REC if step.get("recursive", True) else 0
    with tree.point(step["at"], folder=stat.S_ISDIR(os.fstat(source).st_mode)) as point:
        attach(tree.name(source), point, "", linux.MS_BIND | recursive)
    with tree.mounted(step["at"], source) as mounted:
        attach("", mounted, "", linux.MS_REC | (linux.MS_SLAVE if step.get("follow") else linux.MS_PRIVATE))
        if step.get("readonly"):
            _read_only(mounted)


def _read_only(mounted: str) -> None:
    flags = os.statvfs(mounted).f_flag & (linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    attach("", mounted, "", linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | flags)


def _protect(step: dict[str, Any], tree: Tree) -> None:
    """Make a part of /proc or /sys read-only."""
    if not tree.has(step["at"]):
        return
    with tree.at(step["at"]) as part:
        attach(part, part, "", linux.MS_BIND | linux.MS_REC)
    with tree.at(step["at"]) as mounted:
        _read_only(mounted)


def _mask(step: dict[str, Any], tree: Tree) -> None:
    """Hide a part of /proc or /sys."""
    if not tree.has(step["at"]):
        return
    with tree.at(step["at"]) as part, tree.at("/dev/null") as nothing:
        if os.path.isdir(part):
            attach("tmpfs", part, "tmpfs", linux.MS_RDONLY, "size=0")
        else:
            attach(nothing, part, "", linux.MS_BIND)


def _devices(step: dict[str, Any], tree: Tree) -> None:
    """The devices that every program may count on: made, or (without root) the machine's own."""
    with tree.at(step["at"]) as folder:
        for name, major, minor in _DEVICES:
            path = f"{folder}/{name}"
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
                os.chmod(path, 0o666)
            except PermissionError:
                with (
                    tree.point(f"{step['at']}/{name}", folder=False) as point,
                    tree.of_machine(f"dev/{name}") as device,
                ):
                    attach(device, point, "", linux.MS_BIND)
        for target, name in _LINKS:
            os.symlink(target, f"{folder}/{name}")


_ACTIONS = {
    "filesystem": _file_system,
    "bind": _bind,
    "protect": _protect,
    "mask": _mask,
    "devices": _devices,
}
