"""The nftables table of a node's bridge: masquerade for what leaves the cluster's pods, host ports. Pure.

Invariants: pods see each other's own addresses, across nodes too; the machine's loopback addresses can be reached from
pods only where a Service or a host port leads there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network

from node_agent.network.ruleset import Chain, Lookup, Table
from node_agent.runtime.types import PortMapping

Network = IPv4Network | IPv6Network
PREFIX = "fluyt-pods"


def build(
    bridge: str,
    ranges: Sequence[Network],
    cluster: Iterable[str],
    host_ports: Mapping[str, tuple[tuple[str, ...], Sequence[PortMapping]]],
) -> Table:
    """cluster: ranges of all nodes' pods. host_ports: sandbox → (its addresses, its mappings)."""
    chains = {
        "postrouting": Chain(tuple(_masquerade(bridge, ranges, cluster)), "type nat hook postrouting priority 99;"),
        "host-ports": Chain(tuple(_host_ports(host_ports))),
        "prerouting": Chain(("fib daddr type local jump host-ports",), "type nat hook prerouting priority -101;"),
        "output": Chain(("fib daddr type local jump host-ports",), "type nat hook output priority -101;"),
        "input": Chain(
            (f'iifname "{bridge}" ip daddr 127.0.0.0/8 ct status and dnat != dnat drop',),
            "type filter hook input priority -1;",
        ),
    }
    return Table(f"inet {PREFIX}-{bridge}", _itself(host_ports), chains)


def _itself(sandboxes: Mapping[str, tuple[tuple[str, ...], Sequence[PortMapping]]]) -> dict[str, Lookup]:
    every = sorted(address for addresses, _ in sandboxes.values() for address in addresses)
    four = {f"{a} . {a}": "" for a in every if ":" not in a}
    six = {f"{a} . {a}": "" for a in every if ":" in a}
    return {
        "itself": Lookup("set", "type ipv4_addr . ipv4_addr;", four),
        "itself6": Lookup("set", "type ipv6_addr . ipv6_addr;", six),
    }


def _masquerade(bridge: str, ranges: Sequence[Network], cluster: Iterable[str]) -> Iterable[str]:
    every = {*cluster, *map(str, ranges)}
    for network in ranges:
        selector = "ip6" if network.version == 6 else "ip"
        inside = sorted(text for text in every if (":" in text) == (network.version == 6))
        cluster_wide = ", ".join(inside)
        yield f'{selector} saddr {network} oifname != "{bridge}" {selector} daddr != {{ {cluster_wide} }} masquerade'
        # What comes from the loopback address would be answered there.
        loopback = "::1" if network.version == 6 else "127.0.0.0/8"
        yield f'oifname "{bridge}" {selector} saddr {loopback} masquerade'
        # A pod that reaches itself by a host port or a Service.
        suffix = "6" if network.version == 6 else ""
        yield f"ct status dnat {selector} saddr . {selector} daddr @itself{suffix} masquerade"


def _host_ports(sandboxes: Mapping[str, tuple[tuple[str, ...], Sequence[PortMapping]]]) -> Iterable[str]:
    for _, (addresses, mappings) in sorted(sandboxes.items()):
        for address in addresses:
            selector = "ip6" if ":" in address else "ip"
            target = f"[{address}]" if ":" in address else address
            for mapping in mappings:
                on = mapping.host_ip
                if mapping.protocol not in ("TCP", "UDP") or (on and (":" in on) != (":" in address)):
                    continue
                where = f"{selector} daddr {on} " if on and on not in ("0.0.0.0", "::") else ""
                family = "ipv6" if ":" in address else "ipv4"
                protocol = mapping.protocol.lower()
                yield (
                    f"meta nfproto {family} {where}{protocol} dport {mapping.host_port} "
                    f"dnat {selector} to {target}:{mapping.container_port}"
                )
