"""What a pod's sandbox knows of names: its host name, /etc/hosts, resolv.conf, ports of the node. Pure.

Source: "DNS for Services and Pods" in the Kubernetes documentation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from node_agent.pod import spec
from node_agent.pod.spec import Object
from node_agent.runtime.types import Dns, PortMapping

_LONGEST_HOST_NAME: Final = 63


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """servers: addresses of the cluster's DNS, none: pods use the node's."""

    servers: tuple[str, ...] = ()
    domain: str = "cluster.local"


def loopback_address(uid: str) -> str:
    """A pod's own address of the machine's loopback network, where several nodes share one machine.

    Every process of a Linux machine may bind any address of 127.0.0.0/8, without root. It follows from the pod's uid,
    so it needs no memory: of 200 pods two have the same one with a chance of 1 : 800. 127.0.0.0/16 is left to others.
    """
    first, second, third = hashlib.sha256(uid.encode()).digest()[:3]
    return f"127.{first % 254 + 1}.{second}.{third % 254 + 1}"


def host_name(pod: Object, node: str) -> str:
    """The sandbox's host name; a pod with the node's network has the node's."""
    if spec.host_network(pod):
        return node
    name = spec.spec(pod).get("hostname") or spec.name(pod)
    return str(name)[:_LONGEST_HOST_NAME].rstrip("-.")


def qualified_name(pod: Object, dns: ClusterDns) -> str:
    """host.subdomain.namespace.svc.domain for a pod with a subdomain, else ""."""
    subdomain = spec.spec(pod).get("subdomain")
    if not subdomain:
        return ""
    return f"{host_name(pod, '')}.{subdomain}.{spec.namespace(pod)}.svc.{dns.domain}"


def aliases(pod: Object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """hostAliases, as lines of /etc/hosts."""
    return tuple((a["ip"], tuple(a.get("hostnames") or ())) for a in spec.spec(pod).get("hostAliases") or [])


def dns_of(pod: Object, cluster: ClusterDns) -> Dns:
    """What resolv.conf holds; empty: as the node's."""
    policy = spec.spec(pod).get("dnsPolicy") or "ClusterFirst"
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    wants_cluster = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.host_network(pod))
    if wants_cluster and cluster.servers:
        domain = cluster.domain
        servers = cluster.servers
        searches = (f"{spec.namespace(pod)}.svc.{domain}", f"svc.{domain}", domain)
        options = ("ndots:5",)
    own = spec.spec(pod).get("dnsConfig") or {}
    return Dns(
        _united(servers, tuple(own.get("nameservers") or ())),
        _united(searches, tuple(own.get("searches") or ())),
        _options(options, own.get("options") or []),
    )


def _united(first: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(first + more))


def _options(first: tuple[str, ...], more: list[Object]) -> tuple[str, ...]:
    """The pod's own options win over those of the policy by name."""
    found = dict(option.partition(":")[::2] for option in first)
    found |= {option["name"]: str(option.get("value") or "") for option in more if option.get("name")}
    return tuple(f"{name}:{value}" if value else name for name, value in found.items())


def port_mappings(pod: Object) -> tuple[PortMapping, ...]:
    """Host ports; a pod with the node's network has them anyway."""
    if spec.host_network(pod):
        return ()
    return tuple(
        PortMapping(int(p["containerPort"]), int(p["hostPort"]), p.get("protocol") or "TCP", p.get("hostIP") or "")
        for container in spec.init_containers(pod) + spec.containers(pod)
        for p in container.get("ports") or []
        if p.get("hostPort")
    )


def host_ports(pod: Object) -> set[tuple[str, int, str]]:
    """(protocol, port, address) that the pod takes on the node; "" is every address."""
    found = set()
    for container in spec.init_containers(pod) + spec.containers(pod):
        for port in container.get("ports") or []:
            number = port.get("hostPort") or (port.get("containerPort") if spec.host_network(pod) else None)
            if number:
                found.add((port.get("protocol") or "TCP", int(number), port.get("hostIP") or ""))
    return found
