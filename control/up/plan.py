"""What a cluster in a folder consists of: decided once, kept in FOLDER/cluster.json, the same at every start."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from control.up.ranges import SERVICES, service_range

FILE: Final = "cluster.json"
RUNTIMES: Final = ("process", "docker", "cri", "simulated")
NETWORKS: Final = ("host", "bridge")
ROLES: Final = ("store", "apiserver", "controllers", "scheduler", "agent")
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
class Etcd:
    """A store that runs elsewhere: URLs of its members; files (PEM) to be shown to it, "" for none."""

    servers: list[str]
    ca: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True)
class Plan:
    """A cluster's parts.

    simulated: fake nodes, all in one process; then `nodes` is empty. endpoint: the container runtime's socket, "" for
    the usual one. token: what tells its store's members from those of other clusters. etcd: the store, when it is not
    ours. extra: flags for single parts, each as "role.flag=value". network: host (pods are on the machine's, each with
    a loopback address of its own) or bridge. service_range, pod_range: addresses of Services, and of pods on bridges;
    "" until they are chosen. retired: nodes that were taken out, and whose Node objects are still to be deleted.
    """

    masters: list[Master]
    nodes: list[Node]
    runtime: str
    simulated: int = 0
    endpoint: str = ""
    token: str = "fluyt"
    etcd: Etcd | None = None
    extra: list[str] = field(default_factory=list)
    network: str = "host"
    service_range: str = ""
    pod_range: str = ""
    retired: list[str] = field(default_factory=list)

    @property
    def services(self) -> str:
        """The addresses of Services, whoever said so."""
        return self.extra_flags("apiserver").get("service-cluster-ip-range") or self.service_range or SERVICES[0]

    @property
    def pods(self) -> str:
        """The addresses of pods on bridges; "" where pods have none."""
        own = self.extra_flags("agent").get("pod-network", self.network) == "bridge"
        return (self.extra_flags("controllers").get("cluster-cidr") or self.pod_range) if own else ""

    @property
    def node_count(self) -> int:
        """Nodes of either kind."""
        return len(self.nodes) + self.simulated

    @property
    def ports(self) -> set[int]:
        """Those that are its parts', whether they run now or not."""
        masters = {port for m in self.masters for port in (m.client, m.peer, m.api, m.controllers, m.scheduler)}
        return masters | {node.port for node in self.nodes}

    @property
    def store_urls(self) -> list[str]:
        """Where the store's members serve clients."""
        return self.etcd.servers if self.etcd else [f"https://127.0.0.1:{master.client}" for master in self.masters]

    @property
    def api_urls(self) -> list[str]:
        """Where the API servers are."""
        return [f"https://127.0.0.1:{master.api}" for master in self.masters]

    def extra_flags(self, role: str) -> dict[str, str]:
        """What the user asked of the parts of that role: flag → value."""
        words = (entry.removeprefix(f"{role}.") for entry in self.extra if entry.startswith(f"{role}."))
        return dict(word.split("=", 1) for word in words)


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; None: whatever is there, or the default."""

    masters: int | None = None
    nodes: int | None = None
    runtime: str | None = None
    endpoint: str | None = None
    etcd: Etcd | None = None
    extra: tuple[str, ...] = ()
    network: str | None = None
    service_range: str | None = None


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
            etcd=Etcd(**content["etcd"]) if content.get("etcd") else None,
            extra=list(content.get("extra") or ()),
            network=content.get("network") or NETWORKS[0],
            # Clusters of before there was a choice have the default.
            service_range=content.get("service_range", SERVICES[0]),
            pod_range=content.get("pod_range") or "",
            retired=list(content.get("retired") or ()),
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
        present = _founded(wishes, ports, token)
    elif wishes.masters not in (None, len(present.masters)):
        raise UpError(
            f"the folder holds a cluster of {len(present.masters)} masters, and a store does not change its members by "
            f"itself; leave --masters out, or choose another --data-dir"
        )
    if wishes.etcd is not None and (present.etcd is None or wishes.etcd.servers != present.etcd.servers):
        raise UpError("the folder holds a cluster with another store; choose another --data-dir")
    _refuse_moves(present, wishes)
    runtime = wishes.runtime or present.runtime
    if present.network == "bridge" and runtime != RUNTIMES[0]:
        raise UpError(
            f"--network bridge is for --runtime process: {runtime} gives pods addresses by itself, or they need none; "
            f"leave --network out"
        )
    count = present.node_count if wishes.nodes is None else wishes.nodes
    fake = runtime == "simulated"
    nodes = [] if fake else _nodes(present.nodes, count, _besides(present, ports))
    left = {*present.retired, *(node.name for node in present.nodes)} - {node.name for node in nodes}
    return replace(
        present,
        nodes=nodes,
        retired=sorted(left),
        simulated=count if fake else 0,
        runtime=runtime,
        endpoint=present.endpoint if wishes.endpoint is None else wishes.endpoint,
        etcd=wishes.etcd or present.etcd,
        extra=_extra(present.extra, wishes.extra),
    )


def taken_back(before: Plan | None, failed: Plan) -> Plan:
    """The plan to keep when the start of `failed` did not come about. Of a first one it is all but the flags."""
    if before is None:
        return replace(failed, extra=[])
    # They may have come as far as to be listed.
    tried = {node.name for node in failed.nodes} - {node.name for node in before.nodes}
    return replace(before, retired=sorted({*before.retired, *tried}))


def _founded(wishes: Wishes, ports: Callable[[int], list[int]], token: str) -> Plan:
    """A cluster without nodes."""
    wanted = wishes.service_range or ""
    try:
        wanted = str(service_range(wanted)) if wanted else ""
    except ValueError as problem:
        raise UpError(f"--service-cluster-ip-range: {problem}") from None
    masters = _masters(wishes.masters or 1, ports)
    network = wishes.network or NETWORKS[0]
    return Plan(masters, [], RUNTIMES[0], token=token, etcd=wishes.etcd, network=network, service_range=wanted)


def _refuse_moves(present: Plan, wishes: Wishes) -> None:
    """What is decided when a cluster is founded: Services and pods keep their addresses."""
    if wishes.network not in (None, present.network):
        raise UpError(f"the folder holds a cluster with --network {present.network}; choose another --data-dir")
    if wishes.service_range and present.service_range not in ("", wishes.service_range):
        raise UpError(
            f"the folder holds a cluster whose Services have addresses of {present.service_range}, and they keep them; "
            f"leave --service-cluster-ip-range out, or choose another --data-dir"
        )


def _extra(present: Iterable[str], wishes: Iterable[str]) -> list[str]:
    """The later wins; "role.flag=" takes it back."""
    found: dict[str, str] = {}
    for entry in (*present, *wishes):
        name, equals, value = entry.partition("=")
        role, dot, flag = name.partition(".")
        if not (equals and dot and flag) or role not in ROLES:
            raise UpError(f"--extra-config {entry!r} is no ROLE.FLAG=VALUE; roles are {', '.join(ROLES)}")
        found[name] = value
    return [f"{name}={value}" for name, value in found.items() if value]


def _masters(count: int, ports: Callable[[int], list[int]]) -> list[Master]:
    found = ports(count * 5)
    return [Master(f"m{n + 1}", *found[n * 5 : n * 5 + 5]) for n in range(count)]


def _besides(plan: Plan, ports: Callable[[int], list[int]]) -> Callable[[int], list[int]]:
    """Free ports that no part of the plan has: it need not run now, so theirs look free as well."""
    return lambda count: [port for port in ports(count + len(plan.ports)) if port not in plan.ports][:count]


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
