"""Where the user-space proxy is to listen, and for whom. Pure.

A port without an endpoint has no listener, so that clients are refused at once. Where the external policy `Local`
leaves none on this node, there is one for the machine itself alone: a load balancer that knocks must not find the port
open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from node_agent.network.proxy.endpoints import Backend, within
from node_agent.network.proxy.ports import ServicePort


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """protocol: TCP or UDP. inside: for clients on this machine alone."""

    protocol: str
    address: str
    port: int
    inside: bool = False

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Target:
    """title: the Service's port, for logs. affinity: in seconds. inside: what the machine itself and its pods (their
    ranges: pods) get instead of backends; empty: the same. sources: ranges of the only clients that are served, empty
    for all.
    """

    title: str
    backends: tuple[Backend, ...]
    affinity: int = 0
    inside: tuple[Backend, ...] = ()
    pods: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def backends_for(self, client: str, is_own: Callable[[str], bool]) -> tuple[Backend, ...]:
        """Where that client may go. client: its address; is_own: whether one is this machine's."""
        if self.sources and not within(client, self.sources):
            return ()
        if self.inside and (within(client, self.pods) or is_own(client)):
            return self.inside
        return self.backends


_ANY = {"IPv4": "0.0.0.0", "IPv6": "::"}


def places(ports: Iterable[ServicePort], *, own_addresses: bool = True) -> dict[Place, Target]:
    """own_addresses: whether cluster IPs can be brought to this machine; without, there are node ports only."""
    found: dict[Place, Target] = {}
    for port in ports:
        if own_addresses and port.internal:
            target = Target(port.title, port.internal, port.affinity)
            found.update({Place(port.protocol, ip, port.port): target for ip in port.cluster_ips})
        if port.is_external and port.anywhere:
            found.update(_external(port, own_addresses))
    return found


def _external(port: ServicePort, own_addresses: bool) -> dict[Place, Target]:
    found: dict[Place, Target] = {}
    inside = not port.external
    target = Target(port.title, port.external, port.affinity, port.anywhere if port.local_external else (), port.pods)
    if own_addresses:
        found.update({Place(port.protocol, ip, port.port, inside): target for ip in port.external_ips})
        filtered = replace(target, sources=port.sources)
        found.update({Place(port.protocol, ip, port.port, inside): filtered for ip in port.balancer_ips})
    if port.node_port:
        found[Place(port.protocol, _ANY[port.family], port.node_port, inside)] = target
    return found


def addresses(found: Iterable[Place]) -> set[str]:
    """What has to be brought to this machine for these places."""
    return {place.address for place in found} - set(_ANY.values())
