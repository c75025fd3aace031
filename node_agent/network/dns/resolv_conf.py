"""The machine's resolv.conf, read. Pure. Source: resolv.conf(5)."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

from node_agent.runtime.types import Dns


def parse(text: str) -> Dns:
    """Servers, searches and options; the last `search` line counts, lines that are neither are left out."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        match words:
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *names]:
                searches = tuple(name for name in names if name != ".")
            case ["options", *more]:
                options += more
    return Dns(tuple(dict.fromkeys(servers)), searches, tuple(dict.fromkeys(options)))


def upstreams(dns: Dns, own: Collection[str]) -> tuple[str, ...]:
    """The servers that can be asked: addresses, without our own, which would ask themselves for ever."""
    return tuple(server for server in dns.servers if server not in own and _is_address(server))


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
