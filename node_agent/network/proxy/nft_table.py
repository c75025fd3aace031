"""The nftables table that serves Services, from ServicePorts. Pure.

How a connection goes: a map from (address, protocol, port), or from (protocol, port) for node ports, names the chain of
the Service's port; that chain chooses a backend by chance, or the one that the client had before (session affinity),
and rewrites the destination. Connections that the answer would not find back from are marked and get this machine's
address: those from outside, and those of a pod to itself. What has no endpoint anywhere is refused at once.
The external policy `Local` is for clients outside alone: a chain before it leads this machine and its pods to all
endpoints. The source ranges of a load balancer are asked before that, at its own addresses and nowhere else.

Invariant: the content of a chain decides its name where the kernel keeps state for it, so state never outlives its
meaning. Sources: nft(8); "Virtual IPs and Service Proxies" of Kubernetes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from node_agent.network.proxy.endpoints import Backend
from node_agent.network.proxy.ports import ServicePort
from node_agent.network.ruleset import Chain, Lookup, Table

PREFIX: Final = "fluyt-proxy"
# The bit that asks for this machine's address; kube-proxy uses the same one.
MARK: Final = 0x4000
_MARK_IT: Final = f"meta mark set meta mark or {MARK:#x}"
_NAT, _SRCNAT, _FILTER = (
    "type nat hook {} priority -100;",
    "type nat hook {} priority 100;",
    "type filter hook {} priority -110;",
)
_FAMILIES: Final = {"IPv4": ("ip", "ipv4_addr", ""), "IPv6": ("ip6", "ipv6_addr", "6")}
_LOOPBACK: Final = {"ip": "127.0.0.0/8", "ip6": "::1"}
_LONGEST: Final = 100
_MOST_CLIENTS: Final = 65_535


def table_name(cluster: str) -> str:
    """cluster: what tells it from others on the machine."""
    return f"inet {PREFIX}-{cluster}"


def build(cluster: str, ports: Sequence[ServicePort]) -> Table:
    """The whole table."""
    made = _Builder()
    for port in ports:
        made.add(port)
    return Table(table_name(cluster), made.lookups(), made.all_chains())


class _Builder:
    def __init__(self) -> None:
        self._chains: dict[str, Chain] = {}
        self._extra: dict[str, Lookup] = {}
        self._by_address: dict[str, dict[str, str]] = {"IPv4": {}, "IPv6": {}}
        self._by_node_port: dict[str, dict[str, str]] = {"IPv4": {}, "IPv6": {}}
        self._by_loopback: dict[str, dict[str, str]] = {"IPv4": {}, "IPv6": {}}
        self._refused: dict[str, dict[str, str]] = {"IPv4": {}, "IPv6": {}}
        self._refused_ports: dict[str, dict[str, str]] = {"IPv4": {}, "IPv6": {}}
        self._itself: dict[str, dict[str, str]] = {"IPv4": {}, "IPv6": {}}

    def add(self, port: ServicePort) -> None:
        """One Service's port."""
        for backend in {*port.internal, *port.external, *port.anywhere}:
            self._itself[port.family][f"{backend.ip} . {backend.ip}"] = ""
        inside = self._internal(port)
        self._addresses(port, port.cluster_ips, inside)
        if port.is_external:
            outside = self._external(port)
            self._addresses(port, port.external_ips, outside)
            self._addresses(port, port.balancer_ips, self._filtered(port, outside))
            self._node_port(port, outside)

    def _addresses(self, port: ServicePort, ips: Iterable[str], verdict: str) -> None:
        for ip in ips:
            key = f"{ip} . {port.protocol.lower()} . {port.port}"
            if verdict:
                self._by_address[port.family][key] = verdict
            else:
                self._refused[port.family][key] = ""

    def _node_port(self, port: ServicePort, verdict: str) -> None:
        if port.node_port:
            key = f"{port.protocol.lower()} . {port.node_port}"
            if verdict:
                self._by_node_port[port.family][key] = verdict
                self._loopback(port, key)
            else:
                self._refused_ports[port.family][key] = ""

    def _loopback(self, port: ServicePort, key: str) -> None:
        """From the machine's loopback address no packet gets to another machine: its own endpoints alone will do."""
        local = tuple(backend for backend in port.external if backend.local)
        if local:
            name = _name("lo", port)
            self._chains[name] = Chain((_MARK_IT, *_by_chance(port.family, local)))
            self._by_loopback[port.family][key] = f"goto {name}"

    def _internal(self, port: ServicePort) -> str:
        """The verdict; "": refuse."""
        if not port.internal:
            return "drop" if port.anywhere else ""
        return f"goto {self._service_chain(port, port.internal)}"

    def _external(self, port: ServicePort) -> str:
        if not port.anywhere:
            return ""
        name = _name("ext", port)
        cluster = f"goto {self._service_chain(port, port.anywhere)}"
        if port.local_external:
            local = f"goto {self._service_chain(port, port.external)}" if port.external else "drop"
            self._chains[name] = Chain((*_from_inside(port, cluster), local))
        else:
            self._chains[name] = Chain((_MARK_IT, cluster))
        return f"goto {name}"

    def _filtered(self, port: ServicePort, verdict: str) -> str:
        """The same for clients that the load balancer may have, and an end for others."""
        if not (port.sources and port.balancer_ips and verdict):
            return verdict
        name = _name("lb", port)
        selector = _FAMILIES[port.family][0]
        self._chains[name] = Chain((f"{selector} saddr != {{ {', '.join(port.sources)} }} drop", verdict))
        return f"goto {name}"

    def _service_chain(self, port: ServicePort, backends: Sequence[Backend]) -> str:
        name = _name("svc" if backends == port.anywhere else "loc", port)
        rules = self._sticky(port, backends) if port.affinity else _by_chance(port.family, backends)
        self._chains[name] = Chain(rules)
        return name

    def _sticky(self, port: ServicePort, backends: Sequence[Backend]) -> tuple[str, ...]:
        """Clients seen before first; a set of clients for each backend, which outlives changes of the others."""
        selector, kind, _ = _FAMILIES[port.family]
        seen, chosen = [], []
        for backend in backends:
            name = _name(f"af{port.affinity}", port, f"{backend.ip}|{backend.port}")
            head = f"type {kind}; size {_MOST_CLIENTS}; flags dynamic,timeout; timeout {port.affinity}s;"
            self._extra[name] = Lookup("set", head)
            chain = _name("ep", port, f"{backend.ip}|{backend.port}|{port.affinity}")
            # The mark of the time is renewed with every connection.
            self._chains[chain] = Chain(
                (f"update @{name} {{ {selector} saddr timeout {port.affinity}s }}", _to(port.family, backend))
            )
            seen.append(f"{selector} saddr @{name} goto {chain}")
            chosen.append(f"goto {chain}")
        if len(chosen) == 1:
            return (*seen, chosen[0])
        verdicts = ", ".join(f"{n} : {verdict}" for n, verdict in enumerate(chosen))
        return (*seen, f"numgen random mod {len(chosen)} vmap {{ {verdicts} }}")

    # ---- what is always there ----

    def lookups(self) -> dict[str, Lookup]:
        found: dict[str, Lookup] = {}
        for family, (_, kind, suffix) in _FAMILIES.items():
            key = f"{kind} . inet_proto . inet_service"
            found[f"addresses{suffix}"] = Lookup("map", f"type {key} : verdict;", self._by_address[family])
            found[f"refused{suffix}"] = Lookup("set", f"type {key};", self._refused[family])
            port_key = "inet_proto . inet_service"
            found[f"node-ports{suffix}"] = Lookup("map", f"type {port_key} : verdict;", self._by_node_port[family])
            found[f"loopback-ports{suffix}"] = Lookup("map", f"type {port_key} : verdict;", self._by_loopback[family])
            found[f"refused-ports{suffix}"] = Lookup("set", f"type {port_key};", self._refused_ports[family])
            found[f"itself{suffix}"] = Lookup("set", f"type {kind} . {kind};", self._itself[family])
        return found | self._extra

    def all_chains(self) -> dict[str, Chain]:
        services, refuse, back = (
            [],
            [],
            [f"meta mark and {MARK:#x} == {MARK:#x} meta mark set meta mark xor {MARK:#x} masquerade"],
        )
        for selector, _, suffix in _FAMILIES.values():
            key = f"{selector} daddr . meta l4proto . th dport"
            own = f"meta nfproto {'ipv6' if suffix else 'ipv4'} fib daddr type local meta l4proto . th dport"
            loopback = f"{selector} daddr {_LOOPBACK[selector]}"
            services += [
                f"{key} vmap @addresses{suffix}",
                f"{loopback} meta l4proto . th dport vmap @loopback-ports{suffix}",
                f"{loopback} return",
                f"{own} vmap @node-ports{suffix}",
            ]
            refuse += [f"{key} @refused{suffix} reject", f"{own} @refused-ports{suffix} reject"]
            back.append(f"ct status dnat {selector} saddr . {selector} daddr @itself{suffix} masquerade")
        base = {f"nat-{hook}": Chain(("jump services",), _NAT.format(hook)) for hook in ("prerouting", "output")}
        base |= {
            f"filter-{hook}": Chain(("ct state new jump refuse",), _FILTER.format(hook))
            for hook in ("input", "forward", "output")
        }
        base["nat-postrouting"] = Chain(tuple(back), _SRCNAT.format("postrouting"))
        return self._chains | {"services": Chain(tuple(services)), "refuse": Chain(tuple(refuse))} | base


def _from_inside(port: ServicePort, verdict: str) -> Iterable[str]:
    """Answers to pods come by this machine in any case; its own address may be one that leads back to others."""
    if port.pods:
        yield f"{_FAMILIES[port.family][0]} saddr {{ {', '.join(port.pods)} }} {verdict}"
    yield f"fib saddr type local {_MARK_IT} {verdict}"


def _by_chance(family: str, backends: Sequence[Backend]) -> tuple[str, ...]:
    if len(backends) == 1:
        return (_to(family, backends[0]),)
    selector = _FAMILIES[family][0]
    places = ", ".join(f"{n} : {backend.ip} . {backend.port}" for n, backend in enumerate(backends))
    return (f"meta l4proto {{ tcp, udp }} dnat {selector} to numgen random mod {len(backends)} map {{ {places} }}",)


def _to(family: str, backend: Backend) -> str:
    host = f"[{backend.ip}]" if family == "IPv6" else backend.ip
    selector = _FAMILIES[family][0]
    return f"meta l4proto {{ tcp, udp }} dnat {selector} to {host}:{backend.port}"


def _name(kind: str, port: ServicePort, more: str = "") -> str:
    """Readable, and unambiguous by its hash."""
    whole = f"{port.namespace}/{port.service}/{port.port_name}/{port.protocol}/{port.family}"
    digest = hashlib.sha256(f"{whole}/{more}".encode()).hexdigest()[:10]
    readable = f"{port.namespace}/{port.service}/{port.port_name or port.port}/{port.protocol.lower()}"
    return f"{kind}-{digest}-{readable}"[:_LONGEST]
