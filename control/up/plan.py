"""What a cluster in a folder consists of: decided once, kept in FOLDER/cluster.json, the same at every start."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

FILE: Final = "cluster.json"
RUNTIMES: Final = ("process", "docker", "cri", "simulated")
_MOST_MASTERS: Final = 9


class UpError(Exception):
    """The cluster cannot be started, found or stopped; the message is for the user and names the cure."""


@dataclass(frozen=True)
class Master:
    """Ports of one master's processes, all on 127.0.0.1."""

    name: str
    client: int
    peer: int
    api: int
    controllers: int
    scheduler: int


@dataclass(frozen=True)
class Node:
    """port: of the agent's own server."""

    name: str
    port: int


@dataclass(frozen=True)
class Plan:
    """A cluster's parts.

    simulated: fake nodes, all in one process; then `nodes` is empty. endpoint: the container runtime's socket, "" for
    the usual one. token: what tells its store's members from those of other clusters.
    """

    masters: list[Master]
    nodes: list[Node]
    runtime: str
    simulated: int = 0
    endpoint: str = ""
    token: str = "fluyt"

    @property
    def node_count(self) -> int:
        """Nodes of either kind."""
        return len(self.nodes) + self.simulated

    @property
    def store_urls(self) -> list[str]:
        """Where the store's members serve clients."""
        return [f"https://127.0.0.1:{master.client}" for master in self.masters]

    @property
    def api_urls(self) -> list[str]:
        """Where the API servers are."""
        return [f"https://127.0.0.1:{master.api}" for master in self.masters]


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; None: whatever is there, or the default."""

    masters: int | None = None
    nodes: int | None = None
    runtime: str | None = None
    endpoint: str | None = None


def read(folder: Path) -> Plan | None:
    """The plan of a folder, None without one. Raises UpError for a file that is none."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise UpError(f"{path} cannot be read: {problem}") from None
    try:
        return Plan(
            masters=[Master(**master) for master in content["masters"]],
            nodes=[Node(**node) for node in content["nodes"]],
            **{name: content[name] for name in ("runtime", "simulated", "endpoint", "token")},
        )
    except (KeyError, TypeError) as problem:
        raise UpError(f"{path} is no description of a cluster: {problem}; choose another --data-dir") from None


def decide(present: Plan | None, wishes: Wishes, ports: Callable[[int], list[int]], token: str) -> Plan:
    """The plan to go by. ports(n): n free ports. Raises UpError when the wishes do not fit what is there."""
    if wishes.masters is not None and not 1 <= wishes.masters <= _MOST_MASTERS:
        raise UpError(f"--masters must be between 1 and {_MOST_MASTERS}")
    if wishes.nodes is not None and wishes.nodes < 0:
        raise UpError("--nodes must not be negative")
    if present is None:
        present = Plan(_masters(wishes.masters or 1, ports), [], RUNTIMES[0], token=token)
    elif wishes.masters not in (None, len(present.masters)):
        raise UpError(
            f"the folder holds a cluster of {len(present.masters)} masters, and a store does not change its members by "
            f"itself; leave --masters out, or choose another --data-dir"
        )
    runtime = wishes.runtime or present.runtime
    count = present.node_count if wishes.nodes is None else wishes.nodes
    fake = runtime == "simulated"
    return replace(
        present,
        nodes=[] if fake else _nodes(present.nodes, count, ports),
        simulated=count if fake else 0,
        runtime=runtime,
        endpoint=present.endpoint if wishes.endpoint is None else wishes.endpoint,
    )


def _masters(count: int, ports: Callable[[int], list[int]]) -> list[Master]:
    found = ports(count * 5)
    return [Master(f"m{n + 1}", *found[n * 5 : n * 5 + 5]) for n in range(count)]


def _nodes(present: list[Node], count: int, ports: Callable[[int], list[int]]) -> list[Node]:
    more = max(count - len(present), 0)
    made = [Node(f"n{len(present) + n + 1}", port) for n, port in enumerate(ports(more))]
    return [*present[:count], *made]


def write(folder: Path, plan: Plan) -> None:
    """Keep the plan; whole or not at all."""
    content: dict[str, Any] = asdict(plan)
    temporary = folder / f".{FILE}.new"
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, folder / FILE)
