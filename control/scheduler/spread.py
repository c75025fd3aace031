"""Topology spread: how unevenly a pod's like may lie over zones, hosts or any other label.

Skew of a domain: its matching pods, with the new one, minus the fewest in any domain that counts. Hard constraints
forbid a greater skew than maxSkew; soft ones, and the spreading that pods of one owner get unasked, give points.
Source: "Pod Topology Spread Constraints" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from control.scheduler.cluster import Cluster
from control.scheduler.labels import At, Numbers, Rows
from control.scheduler.node_rules import affine, tolerable
from control.scheduler.pod import Pod, Spread
from control.scheduler.sorts import Sort, finder
from control.scheduler.tally import ByRow, Tally, together

SKEWED: Final = "node(s) didn't match pod topology spread constraints"
UNLABELLED: Final = f"{SKEWED} (missing required label)"

NONE: Final[Tally[Sort]] = Tally()


class Skews:
    """A pod's hard constraints, each with the pods it counts by domain."""

    def __init__(self, cluster: Cluster, pod: Pod) -> None:
        hard = [constraint for constraint in pod.spread if constraint.hard]
        self._hard = [_Skew(cluster, pod, hard, constraint) for constraint in hard]

    def moved(self, other: Pod, row: int, number: int) -> None:
        """Another pod came to a row (1) or left it (-1)."""
        for skew in self._hard:
            skew.moved(other, row, number)

    def failures(self, at: At) -> Iterator[tuple[str, Rows]]:
        """Reasons and rows that fail a hard constraint."""
        for skew in self._hard:
            unlabelled = skew.column[at] == 0
            yield UNLABELLED, unlabelled
            yield SKEWED, skew.exceeded(at) & ~unlabelled


class _Skew:
    """One hard constraint. Rows count, with their domains and pods, that have all labels and fit the policies."""

    def __init__(self, cluster: Cluster, pod: Pod, hard: Sequence[Spread], constraint: Spread) -> None:
        self.column = cluster.labels.column(constraint.topology_key)
        self._pod = pod
        self._constraint = constraint
        self._counted = _counted(cluster, pod, hard, constraint)
        self._counts = matching(cluster, pod, constraint, self._counted)
        self._domains = np.unique(self.column[self._counted])

    def moved(self, other: Pod, row: int, number: int) -> None:
        if self._counted[row] and _is_like(other, self._pod, self._constraint):
            self._counts[self.column[row]] += number

    def exceeded(self, at: At) -> Rows:
        """Rows where the skew would be too great."""
        enough = len(self._domains) >= max(self._constraint.min_domains, 1)
        fewest = int(self._counts[self._domains].min()) if enough else 0
        own = int(self._constraint.selector.matches(self._pod.labels))
        return self._counts[self.column[at]] + own - fewest > self._constraint.max_skew


def _counted(cluster: Cluster, pod: Pod, hard: Sequence[Spread], constraint: Spread) -> Rows:
    rows = cluster.there.copy()
    for each in hard:
        rows &= cluster.labels.column(each.topology_key) != 0
    if constraint.honor_affinity:
        rows &= affine(cluster, pod)
    if constraint.honor_taints:
        rows &= tolerable(cluster, pod)
    return rows


def matching(cluster: Cluster, pod: Pod, constraint: Spread, counted: Rows) -> Numbers:
    """Pods by domain number that the constraint's selector finds in the pod's namespace, but those that leave."""
    column = cluster.labels.column(constraint.topology_key)
    found = finder(constraint.selector)
    sorts = cluster.sorts.get(pod.namespace, NONE).items()
    rows, numbers = together(by_row for sort, by_row in sorts if found(sort) and not sort.leaving)
    numbers *= counted[rows]
    domains = cluster.labels.domains(constraint.topology_key)
    return np.bincount(column[rows], numbers, domains).astype(np.int64)


def _is_like(other: Pod, pod: Pod, constraint: Spread) -> bool:
    return other.namespace == pod.namespace and not other.sort.leaving and constraint.selector.matches(other.labels)


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


def _siblings(cluster: Cluster, by_row: ByRow) -> NDArray[np.float64]:
    near = np.zeros(cluster.capacity, np.float64)
    rows = np.fromiter(by_row.keys(), np.int64, len(by_row))
    counts = np.fromiter(by_row.values(), np.float64, len(by_row))
    near[rows] = counts
    column = cluster.labels.column(ZONE)
    zones = np.bincount(column[rows], weights=counts, minlength=cluster.labels.domains(ZONE))
    zones[0] = 0
    return near + zones[column]
