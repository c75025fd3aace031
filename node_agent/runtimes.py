"""The container runtime by its name; each is loaded only when it is asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from node_agent.runtime.interface import Network, Runtime

_DOCKER: Final = "unix:///var/run/docker.sock"
_CONTAINERD: Final = "unix:///run/containerd/containerd.sock"
NAMES: Final = ("process", "docker", "cri", "simulated")


def new_runtime(name: str, endpoint: str, root: Path, node: str, network: Network | None = None) -> Runtime:
    """ValueError: no such runtime. endpoint: a URL as "unix:///run/containerd/containerd.sock", "" for the default.

    network: gives addresses to pods; for process only, the others have their own.
    """
    # Several nodes, of several clusters even, may share one daemon: what is ours carries our name and our folder's.
    owner = f"{node}-{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:8]}"
    match name:
        case "process":
            from node_agent.runtime.process.runtime import ProcessRuntime

            return ProcessRuntime(root / "runtime", network)
        case "simulated":
            from node_agent.runtime.simulated import SimulatedRuntime, World

            return SimulatedRuntime(World(), node)
        case "docker":
            from node_agent.runtime.docker import DockerRuntime

            return DockerRuntime(endpoint or _DOCKER, owner=owner)
        case "cri":
            from node_agent.runtime.cri import CriRuntime

            return CriRuntime(endpoint or _CONTAINERD, owner=owner)
    raise ValueError(f"there is no runtime {name!r}; known are {', '.join(NAMES)}")
