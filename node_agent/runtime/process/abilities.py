"""What the process runtime can do on this machine, and what it does instead where it cannot. Pure, from what
probe.py found.
"""

from __future__ import annotations

from dataclasses import dataclass

_INSTEAD = {
    "mounts": "containers run as plain processes on the machine's own files; only the image `host` can be used",
    "pids": "containers see the machine's processes; what they leave behind is ended by process group and cgroup",
    "overlay": "each container gets a copy of its image's files (image `host`: the machine's own files, unprotected)",
    "network": "pods have the machine's network",
    "shared": "pods share the machine's host name and System V IPC",
}


@dataclass(frozen=True, slots=True)
class Abilities:
    """`user`: a user namespace is needed for everything (no root). `degraded`: a line for each thing that is
    missing.
    """

    mounts: bool = False
    pids: bool = False
    overlay: bool = False
    network: bool = False
    shared: bool = False
    cgroup_namespace: bool = False
    user: bool = False
    degraded: tuple[str, ...] = ()


def abilities(found: dict[str, str], *, root: bool) -> Abilities:
    """From ability → why it is missing."""
    degraded = [f"{found[name]}: {instead}" for name, instead in _INSTEAD.items() if found.get(name)]
    if not root:
        degraded.append("not root: every file and process of a container belongs to the agent's user")
        degraded.append("not root: the image `host` is the machine's own files as they are, not a copy-on-write view")
    has = {name: not found.get(name) for name in (*_INSTEAD, "cgroup_namespace")}
    return Abilities(**has, user=not root and has["mounts"], degraded=tuple(degraded))
