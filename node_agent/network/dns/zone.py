"""The cluster's zone: which records a name has, looked up in Services and EndpointSlices. Pure.

    <service>.<ns>.svc.<zone>                   A, AAAA: the cluster IP, or the endpoints of a headless Service; CNAME
    _<port>._<protocol>.<service>.<ns>.svc.…    SRV
    <host>.<service>.<ns>.svc.…                 A, AAAA of one endpoint of a headless Service (a StatefulSet's pod)
    <1-2-3-4>.<ns>.pod.<zone>                   A, AAAA: the address that the name spells
    <reversed address>.in-addr.arpa             PTR

Invariant: a name that exists without a record of the asked type is NODATA, never NXDOMAIN: resolvers would take the
latter for every type. Source: "Kubernetes DNS-Based Service Discovery" (specification 1.1.0); names of endpoints
without a host name are spelt as CoreDNS spells them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, Protocol

Object = dict[str, Any]
VERSION: Final = "1.1.0"
TTL: Final = 5
MOST_RECORDS: Final = 500
_V4, _V6 = ".in-addr.arpa", ".ip6.arpa"


@dataclass(frozen=True, slots=True)
class Record:
    """type and what follows it: A, AAAA: (address,); CNAME, PTR: (name,); TXT: (text,); SRV: (port, target name).

    Names are without the last dot. name: whose record it is; "" for the name that was asked for.
    """

    type: str
    data: tuple[Any, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """records: of the asked type, or a CNAME. additional: addresses of SRV targets. exists: False for NXDOMAIN."""

    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    exists: bool = True

    @property
    def alias(self) -> str:
        """Where a CNAME leads to, "" when this is none."""
        return str(self.records[0].data[0]) if self.records and self.records[0].type == "CNAME" else ""


NOTHING: Final = Found()
NO_NAME: Final = Found(exists=False)


class Cluster(Protocol):
    """What is known of the cluster; answers must be quick."""

    def service(self, namespace: str, name: str) -> Object | None: ...

    def slices(self, namespace: str, name: str) -> Sequence[Object]:
        """Of one Service."""
        ...

    def has_namespace(self, name: str) -> bool:
        """Whether there is a Service in it."""
        ...

    def services_at(self, address: str) -> Sequence[Object]:
        """Those with that cluster IP."""
        ...

    def slices_at(self, address: str) -> Sequence[Object]:
        """Those with an endpoint of that address."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Of a headless Service. ports: name, number, protocol."""

    host: str
    address: str
    ports: tuple[tuple[str, int, str], ...] = field(default=())


class Zone:
    """The names of one cluster; domain as "cluster.local"."""

    def __init__(self, domain: str, cluster: Cluster) -> None:
        self.domain = domain.lower().strip(".")
        self._cluster = cluster

    def owns(self, name: str) -> bool:
        """Whether nobody else can answer for that name (lower case, without the last dot)."""
        return name == self.domain or name.endswith("." + self.domain)

    def find(self, name: str, kind: str) -> Found | None:
        """The answer, None where somebody else is to be asked. name: lower case, without the last dot."""
        if self.owns(name):
            labels = name.removesuffix(self.domain).rstrip(".").split(".")
            return self._below(labels if labels != [""] else [], kind)
        if name.endswith((_V4, _V6)):
            return self._reverse(name, kind)
        return None

    def _below(self, labels: list[str], kind: str) -> Found:
        match labels:
            case [] | ["svc"] | ["pod"]:
                return NOTHING
            case ["dns-version"]:
                return Found((Record("TXT", (VERSION,)),)) if kind == "TXT" else NOTHING
            case [namespace, "svc" | "pod"]:
                return NOTHING if self._cluster.has_namespace(namespace) else NO_NAME
            case [spelt, _, "pod"]:
                return _spelt(spelt, kind)
            case [*rest, service, namespace, "svc"]:
                obj = self._cluster.service(namespace, service)
                return NO_NAME if obj is None else self._service(obj, rest, kind)
        return NO_NAME

    # ---- forward ----

    def _service(self, service: Object, rest: list[str], kind: str) -> Found:
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            target = str(spec.get("externalName") or "").rstrip(".").lower()
            return Found((Record("CNAME", (target,)),)) if not rest and target else NO_NAME
        if spec.get("clusterIP") == "None":
            return self._headless(service, rest, kind)
        own = self.name_of(service)
        ips = [str(ip) for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip]
        ports = tuple(
            (p.get("name") or "", int(p["port"]), p.get("protocol") or "TCP") for p in spec.get("ports") or []
        )
        match rest:
            case []:
                return Found(_addresses(ips, kind))
            case [port, protocol]:
                return self._srv([(own, ip, ports) for ip in ips], port, protocol, kind)
            case [protocol]:
                return _parent(protocol, ports)
        return NO_NAME

    def _headless(self, service: Object, rest: list[str], kind: str) -> Found:
        endpoints = self._endpoints(service)
        own = self.name_of(service)
        match rest:
            case []:
                return Found(_addresses([e.address for e in endpoints], kind))
            case [port, protocol]:
                places = [(f"{e.host}.{own}", e.address, e.ports) for e in endpoints]
                return self._srv(places, port, protocol, kind)
            case [host]:
                matching = [e.address for e in endpoints if e.host == host]
                if matching:
                    return Found(_addresses(matching, kind))
                return _parent(host, [port for e in endpoints for port in e.ports])
        return NO_NAME

    def _endpoints(self, service: Object) -> list[Endpoint]:
        metadata = service["metadata"]
        slices = self._cluster.slices(metadata.get("namespace", ""), metadata["name"])
        return [endpoint for each in slices for endpoint in endpoints_of(each)]

    def _srv(
        self, places: Iterable[tuple[str, str, Sequence[tuple[str, int, str]]]], port: str, protocol: str, kind: str
    ) -> Found:
        """places: (target name, address, ports)."""
        found: dict[Record, None] = {}
        glue: dict[Record, None] = {}
        for target, address, ports in places:
            for name, number, spoken in ports:
                if name and port == f"_{name.lower()}" and protocol == f"_{spoken.lower()}":
                    found[Record("SRV", (number, target))] = None
                    glue[Record(_kind_of(address), (address,), target)] = None
        if not found:
            return NO_NAME
        if kind != "SRV":
            return NOTHING
        return Found(tuple(found)[:MOST_RECORDS], tuple(glue)[:MOST_RECORDS])

    def name_of(self, service: Object) -> str:
        metadata = service["metadata"]
        return f"{metadata['name']}.{metadata.get('namespace', '')}.svc.{self.domain}"

    # ---- reverse ----

    def _reverse(self, name: str, kind: str) -> Found | None:
        address = address_of(name)
        if address is None:
            return None
        names: dict[str, None] = {}
        for service in self._cluster.services_at(address):
            names[self.name_of(service)] = None
        for each in self._cluster.slices_at(address):
            names.update(dict.fromkeys(self._hosts(each, address)))
        if not names:
            return None
        return Found(tuple(Record("PTR", (n,)) for n in names)[:MOST_RECORDS]) if kind == "PTR" else NOTHING

    def _hosts(self, each: Object, address: str) -> Iterator[str]:
        """The names of an address in a slice of a headless Service."""
        metadata = each["metadata"]
        name = (metadata.get("labels") or {}).get("kubernetes.io/service-name", "")
        service = self._cluster.service(metadata.get("namespace", ""), name)
        if service is not None and (service.get("spec") or {}).get("clusterIP") == "None":
            for endpoint in endpoints_of(each):
                if endpoint.address == address:
                    yield f"{endpoint.host}.{self.name_of(service)}"


def endpoints_of(each: Object) -> Iterator[Endpoint]:
    """What of a slice has names: the endpoints that are ready, each with its host name or its address spelt out."""
    ports = tuple(
        (p.get("name") or "", int(p.get("port") or 0), p.get("protocol") or "TCP") for p in each.get("ports") or []
    )
    for endpoint in each.get("endpoints") or []:
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        for address in endpoint.get("addresses") or []:
            host = str(endpoint.get("hostname") or spell(str(address)))
            yield Endpoint(host.lower(), str(address), ports)


def spell(address: str) -> str:
    """An address as a label: 10.0.0.1 is 10-0-0-1."""
    return address.replace(".", "-").replace(":", "-").lower()


def _spelt(label: str, kind: str) -> Found:
    for text in (label.replace("-", "."), label.replace("-", ":")):
        try:
            return Found(_addresses([str(ip_address(text))], kind))
        except ValueError:
            continue
    return NO_NAME


def _parent(label: str, ports: Iterable[tuple[str, int, str]]) -> Found:
    """Whether `_tcp.web.…` has names below it."""
    return NOTHING if any(name and label == f"_{spoken.lower()}" for name, _, spoken in ports) else NO_NAME


def _kind_of(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _addresses(addresses: Iterable[str], kind: str) -> tuple[Record, ...]:
    unique = dict.fromkeys(a for a in addresses if _kind_of(a) == kind)
    return tuple(Record(kind, (address,)) for address in unique)[:MOST_RECORDS]


def address_of(name: str) -> str | None:
    """The address that a name below in-addr.arpa or ip6.arpa stands for."""
    try:
        if name.endswith(_V4):
            return str(IPv4Address(".".join(reversed(name.removesuffix(_V4).split(".")))))
        digits = "".join(reversed(name.removesuffix(_V6).split(".")))
        return str(IPv6Address(int(digits, 16))) if len(digits) == 32 else None
    except ValueError:
        return None
