"""What the node's network was told to be, from flags. Pure values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

PROXY_MODES: Final = ("auto", "nftables", "userspace", "none")
POD_NETWORKS: Final = ("host", "loopback", "bridge", "runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """proxy_mode: of PROXY_MODES. bridge: whether pods get addresses of the node's range on a bridge of ours.

    serve_dns: whether this node answers the cluster's names. resolv_conf: the machine's file, "" for none.
    """

    proxy_mode: str = "auto"
    bridge: bool = False
    serve_dns: bool = True
    resolv_conf: str = "/etc/resolv.conf"


def cluster_id(authority: bytes, servers: tuple[str, ...]) -> str:
    """Eight hexadecimal digits that tell a cluster from others on the same machine."""
    known = authority or "\n".join(sorted(servers)).encode()
    return hashlib.sha256(known).hexdigest()[:8]


def dns_address(cluster: str, node: str) -> str:
    """Where a node on the machine's own network answers names: an address of the loopback interface, its own.

    Within 127.0.0.0/16, which pods' loopback addresses leave alone. Two agents of a machine meet with a probability of
    1 in 64,000, and the second one then goes without.
    """
    digest = hashlib.sha256(f"{cluster}/{node}".encode()).digest()
    return f"127.0.{2 + digest[0] % 253}.{1 + digest[1] % 254}"


def short(prefix: str, name: str) -> str:
    """An interface's name: at most 15 characters, the whole name where it fits."""
    whole = prefix + name
    if len(whole) <= 15 and name.replace("-", "").replace(".", "").isalnum():
        return whole
    return prefix + hashlib.sha256(name.encode()).hexdigest()[: 15 - len(prefix)]


def bridge_name(root: str, node: str) -> str:
    """Of the pods of the node whose agent has that folder: "fl3c9a-n1"."""
    return short(f"fl{hashlib.sha256(root.encode()).hexdigest()[:4]}-", node)
