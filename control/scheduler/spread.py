"""Topology spread: how unevenly a pod's like may lie over zones, hosts or any other label.

Skew of a domain: its matching pods, with the new one, minus the fewest in any domain that counts. Hard constraints
forbid a greater skew than maxSkew; soft ones, and the spreading that pods of one owner get unasked, give points.
Source: "Pod Topology Spread Constraints" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from control.scheduler.cluster import Cluster
from control.scheduler.labels import Numbers, Rows
from control.scheduler.pod import Pod, Spread

SKEWED: Final = "node(s) didn't match pod topology spread constraints"
UNLABELLED: Final = f"{SKEWED} (missing required label)"


def spread_failures(
    cluster: Cluster,
    pod: Pod,
    constraints: Sequence[Spread],
    affine: Callable[[], Rows],
    tolerable: Callable[[], Rows],
) -> Iterator[tuple[str, Rows]]:
    """Reasons and rows that fail a hard constraint. affine, tolerable: the rows that these policies count."""
    for constraint in constraints:
        column = cluster.labels.column(constraint.topology_key)
        yield UNLABELLED, column == 0
        counted = _counted(cluster, constraints, constraint, affine, tolerable)
        counts = matching(cluster, pod, constraint, counted)
        domains = np.unique(column[counted])
        fewest = int(counts[domains].min()) if len(domains) >= constraint.min_domains and len(domains) else 0
        own = int(constraint.selector.matches(pod.labels))
        yield SKEWED, (counts[column] + own - fewest > constraint.max_skew) & (column != 0)


def _counted(
    cluster: Cluster,
    constraints: Sequence[Spread],
    constraint: Spread,
    affine: Callable[[], Rows],
    tolerable: Callable[[], Rows],
) -> Rows:
    """Rows whose domains and pods count: they have all the labels, and fit the policies."""
    rows = cluster.there.copy()
    for each in constraints:
        rows &= cluster.labels.column(each.topology_key) != 0
    if constraint.honor_affinity:
        rows &= affine()
    if constraint.honor_taints:
        rows &= tolerable()
    return rows


def matching(cluster: Cluster, pod: Pod, constraint: Spread, counted: Rows) -> Numbers:
    """Pods by domain number that the constraint's selector finds in the pod's namespace, but those that leave."""
    column = cluster.labels.column(constraint.topology_key)
    rows = [
        row
        for other, row in cluster.by_namespace.get(pod.namespace, {}).values()
        if counted[row]
        and constraint.selector.matches(other.labels)
        and "deletionTimestamp" not in other.object["metadata"]
    ]
    return np.bincount(column[rows], minlength=cluster.labels.domains(constraint.topology_key))


def crowding(cluster: Cluster, pod: Pod, rows: Rows) -> NDArray[np.float64] | None:
    """For scores, by row: how many of its like are near, over the soft constraints; None where nothing is asked for.

    Pods with an owner and no constraints of their own spread over hosts and zones unasked.
    """
    soft = [constraint for constraint in pod.spread if not constraint.hard]
    if not pod.spread and pod.owner in cluster.by_owner:
        return _siblings(cluster, cluster.by_owner[pod.owner])
    if not soft:
        return None
    total = np.zeros(cluster.capacity, np.float64)
    for constraint in soft:
        counts = matching(cluster, pod, constraint, cluster.there)
        column = cluster.labels.column(constraint.topology_key)
        # Few domains weigh more, or hosts would drown zones.
        weight = np.log(len(np.unique(column[rows])) + 2)
        total += np.where(column != 0, counts[column] * weight + constraint.max_skew - 1, counts.max(initial=0) + 1)
    return total


ZONE: Final = "topology.kubernetes.io/zone"


def _siblings(cluster: Cluster, by_row: dict[int, int]) -> NDArray[np.float64]:
    near = np.zeros(cluster.capacity, np.float64)
    rows = np.fromiter(by_row.keys(), np.int64, len(by_row))
    counts = np.fromiter(by_row.values(), np.float64, len(by_row))
    near[rows] = counts
    column = cluster.labels.column(ZONE)
    zones = np.bincount(column[rows], weights=counts, minlength=cluster.labels.domains(ZONE))
    zones[0] = 0
    return near + zones[column]
