"""Which addresses Services and pods of a cluster get, where several clusters share a machine. Pure.

A cluster gets its ranges when it is founded and keeps them. Source: --service-cluster-ip-range of kube-apiserver,
--cluster-cidr of kube-controller-manager.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
# The first ones are Kubernetes' defaults; the others come to the second cluster of a machine, and those after it.
SERVICES: Final = ("10.96.0.0/12", *(f"10.{second}.0.0/16" for second in range(112, 128)))
PODS: Final = ("10.244.0.0/16", *(f"10.{second}.0.0/16" for second in range(224, 244)))
_LEAST_ADDRESSES: Final = 16


def service_range(text: str) -> Network:
    """Raises ValueError: none, or too small for the API server's and the names' own addresses."""
    network = ip_network(text)
    if network.num_addresses <= _LEAST_ADDRESSES:
        raise ValueError(f"{network} has too few addresses; take a /24, say")
    return network


def overlapping(text: str, others: Iterable[str]) -> str:
    """The first of the others that shares addresses with this one; "" when none does."""
    own = ip_network(text)
    for other in others:
        # Networks of different versions cannot be compared.
        if own.version == ip_network(other).version and own.overlaps(ip_network(other)):
            return other
    return ""


def choose(candidates: Sequence[str], clusters: Iterable[str], routes: Iterable[str]) -> str:
    """The first that no other cluster has and the machine has no way to; at worst one that no cluster has.

    "": all are other clusters'. A route that is wider than the candidate is no reason against it: whoever has
    10.0.0.0/8 in the office has no other.
    """
    theirs = list(clusters)
    free = [each for each in candidates if not overlapping(each, theirs)]
    known = [route for route in routes if ip_network(route).prefixlen >= 12]
    return next((each for each in free if not overlapping(each, known)), free[0] if free else "")


def parse_routes(table: str) -> list[str]:
    """Destinations of /proc/net/route, but the default route. Addresses there are in the machine's byte order."""
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and words[7] != "00000000":
            address, mask = (bytes.fromhex(words[n])[::-1] for n in (1, 7))
            prefix = sum(byte.bit_count() for byte in mask)
            found.append(f"{'.'.join(map(str, address))}/{prefix}")
    return found
