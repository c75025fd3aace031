"""The words for `ip` that make bridges, pods' interfaces and routes. Pure. Source: ip-link(8), ip-route(8)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from node_agent.network.pods.leases import gateway

Object = dict[str, Any]
Network = IPv4Network | IPv6Network
Words = tuple[str, ...]
# Routes are marked as ours, so that ours are all that we remove. Any number that iproute2 has no name for.
ROUTE_PROTOCOL: Final = "117"


def veth_of(sandbox: str) -> str:
    """The node's end of a sandbox's pair."""
    return "fl" + hashlib.sha256(sandbox.encode()).hexdigest()[:12]


def bridge(name: str, ranges: Sequence[Network]) -> list[Words]:
    """After `ip link add`; all of them may be repeated."""
    made: list[Words] = [("link", "set", "dev", name, "up")]
    made += [
        ("addr", "replace", f"{gateway(n)}/{n.prefixlen}", "dev", name, *(("nodad",) if n.version == 6 else ()))
        for n in ranges
    ]
    return made


def plug(sandbox: str, bridge_name: str, mtu: int) -> list[Words]:
    """The node's end onto the bridge."""
    name = veth_of(sandbox)
    return [
        ("link", "set", "dev", name, "mtu", str(mtu), "master", bridge_name),
        ("link", "set", "dev", name, "type", "bridge_slave", "hairpin", "on"),
        ("link", "set", "dev", name, "up"),
    ]


def inside(ranges: Sequence[Network], addresses: Sequence[str], mtu: int) -> list[Words]:
    """Within the pod's namespace, where the other end is already called eth0.

    Everything goes through the node, neighbours' packets too: on the bridge alone the answer of a Service's backend
    would reach its client without having its address changed back.
    """
    made: list[Words] = [("link", "set", "dev", "lo", "up"), ("link", "set", "dev", "eth0", "mtu", str(mtu), "up")]
    for network, address in zip(ranges, addresses, strict=True):
        six = network.version == 6
        router = gateway(network)
        made.append(
            ("addr", "replace", f"{address}/{network.max_prefixlen}", "dev", "eth0", *(("nodad",) if six else ()))
        )
        made.append(("route", "replace", router, "dev", "eth0"))
        made.append(("route", "replace", "default", "via", router, "dev", "eth0"))
    return made


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """To another node's pods."""

    to: str
    via: str

    @property
    def words(self) -> Words:
        return ("route", "replace", self.to, "via", self.via, "proto", ROUTE_PROTOCOL)


def routes(nodes: Iterable[Object], own: str, own_ips: Iterable[str]) -> set[Route]:
    """One for each range of each other node, by its address of the same family.

    Nodes that share our machine need none: their bridges are here.
    """
    here = set(own_ips)
    found = set()
    for node in nodes:
        name, ips = node["metadata"]["name"], node_ips(node)
        if name == own or here.intersection(ips):
            continue
        for text in ranges_of(node):
            via = next((ip for ip in ips if (":" in ip) == (":" in text) and not ip_address(ip).is_loopback), None)
            if via is not None:
                found.add(Route(text, via))
    return found


def ranges_of(node: Mapping[str, Any]) -> list[str]:
    """A node's podCIDRs."""
    spec = node.get("spec") or {}
    return list(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []))


def node_ips(node: Mapping[str, Any]) -> list[str]:
    """A node's own addresses."""
    addresses = (node.get("status") or {}).get("addresses") or []
    return [str(a["address"]) for a in addresses if a.get("type") == "InternalIP"]
