"""The root file system of a container, made in a mount namespace of its own: the spec's mount steps, carried out.

Invariants: nothing is created outside the new root, however its symbolic links point, because everything below
happens after the root has changed; the machine's own mounts never see ours (everything is a slave of theirs first).
When the last process of the container ends, the kernel takes the namespace and all its mounts away, so there is
nothing to clean up.

Modes: `image` (an overlay or a copy that belongs to the container), `host` (the machine's own tree without a layer
above, where overlays are not allowed: only mount points that exist can be used).
"""

from __future__ import annotations

import os
import stat
from typing import Any

from node_agent.runtime.process import linux

_OLD = "/.fluyt-old-root"
_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)


def build_root(spec: dict[str, Any]) -> None:
    """Raises OSError, which names the mount."""
    linux.mount("", "/", "", linux.MS_REC | linux.MS_SLAVE)
    root = spec["root"]
    steps = [_resolved(step) for step in spec["mounts"]]
    if root["mode"] == "host":
        _carry_out(steps, "")
        return
    _mount_root(root)
    os.chdir(root["target"])
    os.makedirs(root["target"] + _OLD, mode=0o700, exist_ok=True)
    linux.pivot_root(".", "." + _OLD)
    os.chdir("/")
    _carry_out(steps, _OLD)
    linux.umount(_OLD)
    os.rmdir(_OLD)
    if spec["readonly"]:
        linux.mount("", "/", "", linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NODEV)


def _mount_root(root: dict[str, Any]) -> None:
    target = root["target"]
    if root.get("overlay"):
        linux.mount("overlay", target, "overlay", linux.MS_NODEV, root["overlay"])
    else:
        linux.mount(target, target, "", linux.MS_BIND | linux.MS_REC)


def _resolved(step: dict[str, Any]) -> dict[str, Any]:
    """Sources are the machine's: their links are followed before the root changes."""
    if "source" not in step or step["do"] != "bind":
        return step
    source = os.path.realpath(step["source"])
    return {**step, "source": source, "folder": os.path.isdir(source)}


def _carry_out(steps: list[dict[str, Any]], old: str) -> None:
    for step in steps:
        try:
            _ACTIONS[step["do"]](step, old)
        except OSError as problem:
            if not step.get("optional"):
                raise OSError(problem.errno, f"mount at {step['at']}: {problem.strerror or problem}") from problem


def _point(path: str, old: str, *, folder: bool) -> None:
    """Something to mount on; the machine's own tree (no old root) is left as it is."""
    if not old and not os.path.exists(path):
        raise FileNotFoundError(
            2, "this machine has no such mount point, and its root cannot be layered without overlayfs"
        )
    if folder:
        os.makedirs(path, exist_ok=True)
    elif not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _file_system(step: dict[str, Any], old: str) -> None:
    _point(step["at"], old, folder=True)
    linux.mount(step["type"], step["at"], step["type"], step.get("flags", 0), step.get("data", ""))


def _bind(step: dict[str, Any], old: str) -> None:
    _point(step["at"], old, folder=step["folder"])
    recursive = linux.MS_REC if step.get("recursive", True) else 0
    linux.mount(old + step["source"], step["at"], "", linux.MS_BIND | recursive)
    linux.mount("", step["at"], "", linux.MS_REC | (linux.MS_SLAVE if step.get("follow") else linux.MS_PRIVATE))
    if step.get("readonly"):
        _read_only(step, old)


def _read_only(step: dict[str, Any], old: str) -> None:
    flags = os.statvfs(step["at"]).f_flag & (linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.mount("", step["at"], "", linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | flags)


def _protect(step: dict[str, Any], old: str) -> None:
    """Make a part of /proc or /sys read-only."""
    if os.path.exists(step["at"]):
        linux.mount(step["at"], step["at"], "", linux.MS_BIND | linux.MS_REC)
        _read_only(step, old)


def _mask(step: dict[str, Any], old: str) -> None:
    """Hide a part of /proc or /sys."""
    if os.path.isdir(step["at"]):
        linux.mount("tmpfs", step["at"], "tmpfs", linux.MS_RDONLY, "size=0")
    elif os.path.exists(step["at"]):
        linux.mount("/dev/null", step["at"], "", linux.MS_BIND)


def _devices(step: dict[str, Any], old: str) -> None:
    """The devices that every program may count on: made, or (without root) the machine's own."""
    for name, major, minor in _DEVICES:
        path = f"/dev/{name}"
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            os.chmod(path, 0o666)
        except PermissionError:
            _point(path, old, folder=False)
            linux.mount(f"{old}/dev/{name}", path, "", linux.MS_BIND)
    for target, path in _LINKS:
        os.symlink(target, path)


_ACTIONS = {
    "filesystem": _file_system,
    "bind": _bind,
    "protect": _protect,
    "mask": _mask,
    "devices": _devices,
}
