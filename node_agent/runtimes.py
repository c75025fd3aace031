"""The container runtime by its name; each is loaded only when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from node_agent.runtime.interface import Runtime

NAMES: Final = ("process", "docker", "cri", "simulated")


def new_runtime(name: str, endpoint: str, root: Path, node: str) -> Runtime:
    """ValueError: no such runtime. endpoint: a URL as "unix:///run/containerd/containerd.sock", "" for the default."""
    match name:
        case "process":
            from node_agent.runtime.process.runtime import ProcessRuntime

            return ProcessRuntime(root / "runtime")
        case "simulated":
            from node_agent.runtime.simulated import SimulatedRuntime, World

            return SimulatedRuntime(World(), node)
    raise ValueError(f"there is no runtime {name!r}; known are {', '.join(NAMES)}")
