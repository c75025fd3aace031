"""From Services and EndpointSlices to what this node is to do: one ServicePort per port and address family. Pure.

Left out: headless Services and those that are only a name (ExternalName); they are names, see ../dns.
Source: "Virtual IPs and Service Proxies" and Service in the Kubernetes API reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from node_agent.network.proxy.endpoints import Backend, Candidate, Here, Object, candidates, choose, within

SERVICE_NAME: Final = "kubernetes.io/service-name"
# Another program answers for Services that carry this label.
FOREIGN: Final = "service.kubernetes.io/service-proxy-name"
AFFINITY_SECONDS: Final = 10_800
PROTOCOLS: Final = ("TCP", "UDP")
DNS_SERVICE: Final = ("kube-system", "kube-dns")


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service, one address family.

    cluster_ips: where connections from inside go to `internal`. external_ips (externalIPs), balancer_ips (those of a
    load balancer) and node_port (0: none) lead to `external`. local_internal, local_external: the policy is `Local`, so
    no endpoint of another node is used and a client's address is kept. anywhere: the endpoints of all nodes; where
    there is none, clients are refused at once, whereas a node that merely has no local one lets them time out.
    The external policy is for clients outside: the node itself and its pods (their ranges: pods) get `anywhere`.
    sources: ranges of the only clients that balancer_ips serve, empty for all. affinity: seconds a client stays with
    its endpoint, 0 for none.
    """

    namespace: str
    service: str
    port_name: str
    protocol: str
    family: str
    port: int
    cluster_ips: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    balancer_ips: tuple[str, ...] = ()
    node_port: int = 0
    internal: tuple[Backend, ...] = ()
    external: tuple[Backend, ...] = ()
    local_internal: bool = False
    local_external: bool = False
    anywhere: tuple[Backend, ...] = ()
    pods: tuple[str, ...] = ()
    affinity: int = 0
    sources: tuple[str, ...] = ()

    @property
    def is_external(self) -> bool:
        """Whether it has a place for clients outside."""
        return bool(self.node_port or self.external_ips or self.balancer_ips)

    @property
    def title(self) -> str:
        """As logs say it: "default/web:http"."""
        name = f":{self.port_name}" if self.port_name else ""
        return f"{self.namespace}/{self.service}{name}"


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A place where a Service cannot be served on this machine. place: "30080/TCP"; why: in words."""

    namespace: str
    service: str
    place: str
    why: str


def service_ports(
    services: Iterable[Object], slices: Iterable[Object], here: Here, dns: Sequence[Backend] = ()
) -> list[ServicePort]:
    """Everything that this node proxies, in order of name. dns: where names are answered on this node itself; it stands
    in for endpoints of the Service kube-system/kube-dns as long as that has no slices.
    """
    by_service: dict[tuple[str, str], list[Object]] = defaultdict(list)
    for each in slices:
        metadata = each["metadata"]
        name = (metadata.get("labels") or {}).get(SERVICE_NAME)
        if name and not metadata.get("deletionTimestamp"):
            by_service[(metadata.get("namespace", ""), name)].append(each)
    found: list[ServicePort] = []
    for service in sorted(services, key=_key):
        if is_proxied(service):
            found += _of_service(service, by_service.get(_key(service), []), here, dns)
    return found


def _key(service: Object) -> tuple[str, str]:
    metadata = service["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def is_proxied(service: Object) -> bool:
    """Whether it has an address of its own, and nobody else answers for it."""
    spec = service.get("spec") or {}
    foreign = FOREIGN in (service["metadata"].get("labels") or {})
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") not in (None, "", "None") and not foreign


def _of_service(service: Object, slices: list[Object], here: Here, dns: Sequence[Backend]) -> Iterable[ServicePort]:
    spec = service["spec"]
    ips = [str(ip) for ip in spec.get("clusterIPs") or [spec["clusterIP"]]]
    for family in dict.fromkeys(_family(ip) for ip in ips):
        for port in spec.get("ports") or []:
            protocol = port.get("protocol") or "TCP"
            if protocol not in PROTOCOLS:
                continue
            ends = candidates(slices, port.get("name") or "", protocol, family, here)
            if not slices and _key(service) == DNS_SERVICE:
                ends = [Candidate(each, True, True) for each in dns if _family(each.ip) == family]
            yield _port(service, port, family, ips, ends, here)


def _port(service: Object, port: Object, family: str, ips: list[str], ends: list[Candidate], here: Here) -> ServicePort:
    namespace, name = _key(service)
    spec = service["spec"]
    local_internal = spec.get("internalTrafficPolicy") == "Local"
    local_external = spec.get("externalTrafficPolicy") == "Local"
    node_port = int(port.get("nodePort") or 0) if spec.get("type") in ("NodePort", "LoadBalancer") else 0
    external_ips = _of_family(family, spec.get("externalIPs") or [])
    balancer_ips = _of_family(family, _balancer_ips(service))
    return ServicePort(
        namespace=namespace,
        service=name,
        port_name=port.get("name") or "",
        protocol=port.get("protocol") or "TCP",
        family=family,
        port=int(port["port"]),
        cluster_ips=tuple(ip for ip in ips if _family(ip) == family),
        external_ips=external_ips,
        balancer_ips=balancer_ips,
        node_port=node_port,
        internal=choose(ends, local_internal),
        external=choose(ends, local_external) if node_port or external_ips or balancer_ips else (),
        local_internal=local_internal,
        local_external=local_external,
        anywhere=choose(ends, local_only=False),
        pods=_of_family(family, here.pods) if local_external else (),
        affinity=_affinity(spec),
        sources=_sources(_of_family(family, spec.get("loadBalancerSourceRanges") or []), balancer_ips, here),
    )


def _balancer_ips(service: Object) -> list[str]:
    if service["spec"].get("type") != "LoadBalancer":
        return []
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [str(each["ip"]) for each in ingress if each.get("ip") and each.get("ipMode") != "Proxy"]


def _sources(ranges: tuple[str, ...], balancer_ips: tuple[str, ...], here: Here) -> tuple[str, ...]:
    """A machine that has a load balancer's address itself also comes from there: it may, if its own address may."""
    may = any(within(ip, ranges) for ip in here.ips)
    return (*ranges, *balancer_ips) if may else ranges


def _affinity(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or AFFINITY_SECONDS)


def _of_family(family: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Those addresses or ranges, each once, in order."""
    return tuple(sorted({text.strip() for text in texts if _family(text) == family}))


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"
