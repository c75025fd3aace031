"""Which endpoints a Service's port leads to, as this node sees them. Pure.

Invariants: an endpoint that is ready is preferred to one that merely still serves while its pod ends; a policy `Local`
never leads off the node. Sources: "Virtual IPs and Service Proxies" and KEP-1669 (terminating endpoints) of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """Where connections go. local: on this node."""

    ip: str
    port: int
    local: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint's address with its conditions."""

    backend: Backend
    ready: bool
    serving: bool


def candidates(slices: Iterable[Object], port_name: str, protocol: str, family: str, here: Here) -> list[Candidate]:
    """The endpoints of one port of a Service, each address once. family: "IPv4" or "IPv6"."""
    found: dict[tuple[str, int], Candidate] = {}
    for each in slices:
        if each.get("addressType") != family:
            continue
        for number in _numbers(each, port_name, protocol):
            for endpoint in each.get("endpoints") or []:
                candidate = _candidate(endpoint, number, here)
                if candidate is not None:
                    key = candidate.backend.ip, number
                    found[key] = _better(found.get(key), candidate)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Here:
    """What makes an endpoint local: the names of the nodes that this machine is, and its addresses.

    pods: ranges of addresses that pods of this machine have, for clients; "10.244.1.0/24".
    """

    nodes: Collection[str] = ()
    ips: Collection[str] = ()
    pods: Collection[str] = ()


def _numbers(each: Object, name: str, protocol: str) -> list[int]:
    return [
        int(port["port"])
        for port in each.get("ports") or []
        if (port.get("name") or "") == name and (port.get("protocol") or "TCP") == protocol and port.get("port")
    ]


def _candidate(endpoint: Object, port: int, here: Here) -> Candidate | None:
    addresses = endpoint.get("addresses") or []
    if not addresses:
        return None
    conditions = endpoint.get("conditions") or {}
    # Absent means unknown, and that is taken for ready.
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    # All addresses of an endpoint are one pod's, so its first one is enough.
    ip = str(addresses[0])
    local = endpoint.get("nodeName") in here.nodes or ip in here.ips
    return Candidate(Backend(ip, port, local), ready, ready if serving is None else bool(serving))


def _better(one: Candidate | None, other: Candidate) -> Candidate:
    """Two slices may hold the same address for a moment, while it moves from one to the other."""
    if one is None or other.ready > one.ready or (other.ready == one.ready and other.serving > one.serving):
        return other
    return one


def choose(found: Iterable[Candidate], local_only: bool) -> tuple[Backend, ...]:
    """Those that get new connections: the ready ones, else those that serve while they end; in order of address."""
    usable = [each for each in found if each.backend.local or not local_only]
    ready = [each.backend for each in usable if each.ready]
    return tuple(sorted(ready or [each.backend for each in usable if each.serving]))


def within(address: str, ranges: Iterable[str]) -> bool:
    """Whether it is of one of these; "10.244.1.0/24"."""
    return any(ip_address(address) in ip_network(each, strict=False) for each in ranges)
