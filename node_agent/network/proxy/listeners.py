"""Where the user-space proxy is to listen, and for whom. Pure.

A port without an endpoint has no listener, so that clients are refused at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from node_agent.network.proxy.endpoints import Backend
from node_agent.network.proxy.ports import ServicePort


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """protocol: TCP or UDP."""

    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Target:
    """title: the Service's port, for logs. affinity: in seconds. backends: never empty."""

    title: str
    backends: tuple[Backend, ...]
    affinity: int = 0


_ANY = {"IPv4": "0.0.0.0", "IPv6": "::"}


def places(ports: Iterable[ServicePort], *, own_addresses: bool = True) -> dict[Place, Target]:
    """own_addresses: whether cluster IPs can be brought to this machine; without, there are node ports only."""
    found: dict[Place, Target] = {}
    for port in ports:
        if own_addresses and port.internal:
            target = Target(port.title, port.internal, port.affinity)
            found.update({Place(port.protocol, ip, port.port): target for ip in port.cluster_ips})
        if port.external:
            target = Target(port.title, port.external, port.affinity)
            if own_addresses:
                found.update({Place(port.protocol, ip, port.port): target for ip in port.external_ips})
            if port.node_port:
                found[Place(port.protocol, _ANY[port.family], port.node_port)] = target
    return found


def addresses(found: Iterable[Place]) -> set[str]:
    """What has to be brought to this machine for these places."""
    return {place.address for place in found} - set(_ANY.values())
