"""Which sandbox has which address of the node's range: decided from values.

Invariants: an address has one sandbox at most; a sandbox keeps its addresses until it gives them back; what was given
back longest ago is given out first, so that an address's late packets do not reach its next pod. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
_MOST_FREED: Final = 4096


class NoAddress(Exception):
    """The range is used up; the text says which."""


@dataclass(frozen=True, slots=True)
class Leases:
    """held: sandbox id → its addresses. freed: addresses given back, oldest first."""

    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    freed: tuple[str, ...] = ()


def gateway(network: Network) -> str:
    """The bridge's own address: the first of the range."""
    return str(network[1])


def lease(leases: Leases, sandbox: str, ranges: Sequence[Network]) -> Leases:
    """One address of each range for the sandbox. Raises NoAddress."""
    if sandbox in leases.held:
        return leases
    taken = {address for addresses in leases.held.values() for address in addresses}
    given = tuple(_free(network, taken, leases.freed) for network in ranges)
    freed = tuple(address for address in leases.freed if address not in given)
    return Leases({**leases.held, sandbox: given}, freed)


def release(leases: Leases, sandbox: str) -> Leases:
    """Without the sandbox."""
    given = leases.held.get(sandbox, ())
    held = {other: addresses for other, addresses in leases.held.items() if other != sandbox}
    return Leases(held, (*(a for a in leases.freed if a not in given), *given)[-_MOST_FREED:])


def _free(network: Network, taken: set[str], freed: Sequence[str]) -> str:
    """Never used ones first, then the one given back longest ago."""
    used = taken.union(freed)
    last = network.num_addresses - (2 if network.version == 4 else 1)
    # Among the first len(used) + 1 candidates one is free; so this ends soon in an IPv6 range, too.
    for number in range(2, min(last, len(used) + 3) + 1):
        candidate = str(network[number])
        if candidate not in used:
            return candidate
    for candidate in freed:
        if candidate not in taken and ip_address(candidate) in network:
            return candidate
    raise NoAddress(f"no address of {network} is free: {len(taken)} pods have theirs")


def parse_ranges(texts: Sequence[str]) -> list[Network]:
    """Raises ValueError."""
    return [ip_network(text) for text in texts]
