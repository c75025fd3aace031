"""Node IPAM: each node gets a range of pod addresses of its own out of the cluster's range.

Invariants: ranges never overlap; a node keeps its range for life (it cannot be changed). There is one key for the whole
cluster, so that two nodes are never given ranges from the same view. Source: kube-controller-manager's node-ipam
controller, flags --cluster-cidr and --node-cidr-mask-size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from control.api.schema import Object
from control.controllers.values.actions import Decision, Event, Key, Patch, Plan
from control.controllers.values.objects import cause, created_at, is_deleting, name_of, spec_of, uid_of
from control.controllers.values.observed import Observed

RESOURCE: Final = "nodes"
KEY: Final = Key("", "nodes")
Network = IPv4Network | IPv6Network


def reconciler(cluster: Sequence[Network], mask_sizes: Sequence[int]) -> Callable[[Key, Observed, datetime], Decision]:
    """cluster: one range, or one of each family; mask_sizes: the prefix length of a node's range in each."""

    def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
        nodes = sorted(observed.all(RESOURCE), key=lambda node: (created_at(node), name_of(node)))
        free = [_free(network, size, nodes) for network, size in zip(cluster, mask_sizes, strict=True)]
        plan = Plan()
        for node in nodes:
            if not _ranges(node) and not is_deleting(node):
                _give(plan, node, [next(ranges, None) for ranges in free])
        return plan.decision()

    return reconcile


def _ranges(node: Object) -> list[str]:
    spec = spec_of(node)
    return spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])


def _free(network: Network, size: int, nodes: Iterable[Object]) -> Iterator[Network]:
    """The node ranges of the cluster's range that no node has, lowest first."""
    taken = [found for node in nodes for text in _ranges(node) if (found := _parsed(text)) is not None]
    used = {str(found) for found in taken if found.prefixlen == size}
    odd = [found for found in taken if found.prefixlen != size and found.version == network.version]
    for candidate in network.subnets(new_prefix=size):
        if str(candidate) not in used and not any(_overlap(candidate, other) for other in odd):
            yield candidate


def _parsed(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _overlap(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    if isinstance(one, IPv6Network) and isinstance(other, IPv6Network):
        return one.overlaps(other)
    return False


def _give(plan: Plan, node: Object, ranges: Sequence[Network | None]) -> None:
    given = [str(found) for found in ranges if found is not None]
    if len(given) < len(ranges):
        text = f"Node {name_of(node)} status is now: CIDRNotAvailable"
        plan.events.append(Event(node, "CIDRNotAvailable", text, "Warning"))
        return
    patch = {"metadata": {"uid": uid_of(node)}, "spec": {"podCIDR": given[0], "podCIDRs": given}}
    plan.actions.append(Patch(RESOURCE, "", name_of(node), patch, cause(RESOURCE, node, f"pod addresses: {given[0]}")))


def wake(_resource: str, old: Object | None, new: Object | None, _observed: Observed) -> Iterable[Key]:
    """When a node comes without a range, or goes and leaves one."""
    return [KEY] if new is None or not _ranges(new) else []
