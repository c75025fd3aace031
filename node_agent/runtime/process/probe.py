"""What this machine allows, found out by trying it in processes that end at once.

Run as a program (`python -I -S -c … <folder>`): prints JSON. `Abilities` is what the runtime makes of it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from node_agent.runtime.process import linux


def _tried(attempt: Callable[[], None]) -> str:
    """Empty when it works, else why not; in a child, so that nothing stays."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
            message = ""
        except OSError as problem:
            message = str(problem)
        os.write(into, message.encode("utf-8", "replace"))
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as file:
        said = file.read().decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return said


def _user_namespace() -> None:
    uid, gid = os.getuid(), os.getgid()
    linux.unshare(linux.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _private_mounts(user: bool) -> None:
    if user:
        _user_namespace()
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)


def _overlay(folder: str, user: bool) -> None:
    _private_mounts(user)
    for name in ("lower", "upper", "work", "merged"):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work" + (",userxattr" if user else "")
    linux.mount("overlay", f"{folder}/merged", "overlay", 0, options)


def _processes(user: bool) -> None:
    _private_mounts(user)
    linux.unshare(linux.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        try:
            linux.mount("proc", "/proc", "proc")
            os._exit(0)
        except OSError:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise OSError("/proc cannot be mounted in a PID namespace")


def probe(folder: str) -> dict[str, str]:
    """Ability → why it is missing (empty: it is there)."""
    user = os.geteuid() != 0
    return {
        "mounts": _tried(lambda: _private_mounts(user)),
        "pids": _tried(lambda: _processes(user)),
        "overlay": _tried(lambda: _overlay(folder, user)),
        "network": "not root" if user else _tried(lambda: linux.unshare(linux.CLONE_NEWNET)),
        "shared": "not root" if user else _tried(lambda: linux.unshare(linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)),
        "cgroup_namespace": _tried(lambda: linux.unshare(linux.CLONE_NEWCGROUP)),
    }


def main() -> None:
    print(json.dumps(probe(sys.argv[1])))
