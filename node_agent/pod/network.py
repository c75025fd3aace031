"""What a pod's sandbox knows of names: its host name, /etc/hosts, resolv.conf, ports of the node. Pure.

Source: "DNS for Services and Pods" in the Kubernetes documentation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from node_agent.pod import spec
from node_agent.pod.spec import Object
from node_agent.runtime.types import Dns, PortMapping

_LONGEST_HOST_NAME: Final = 63
_MOST_SEARCHES: Final = 32


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """servers: addresses of the cluster's DNS, none: pods use the node's. machine: what the node's resolv.conf says."""

    servers: tuple[str, ...] = ()
    domain: str = "cluster.local"
    machine: Dns = field(default_factory=Dns)


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
    """What resolv.conf holds; empty: as the node's. The pod's dnsConfig comes on top of what its policy says."""
    policy = spec.spec(pod).get("dnsPolicy") or "ClusterFirst"
    wants_cluster = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.host_network(pod))
    own = spec.spec(pod).get("dnsConfig") or {}
    if policy == "None":
        base = Dns()
    elif wants_cluster and cluster.servers:
        base = _cluster_first(spec.namespace(pod), cluster)
    elif own:
        base = cluster.machine
    else:
        return Dns()
    return Dns(
        _united(base.servers, tuple(own.get("nameservers") or ())),
        _united(base.searches, tuple(own.get("searches") or ()))[:_MOST_SEARCHES],
        _options(base.options, own.get("options") or []),
    )


def _cluster_first(namespace: str, cluster: ClusterDns) -> Dns:
    """The cluster's names by their short forms, then the node's own search list."""
    domain = cluster.domain
    searches = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
    return Dns(cluster.servers, _united(searches, cluster.machine.searches), ("ndots:5",))


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
