"""Affinity and anti-affinity between pods: counted per topology domain (all nodes with the same value of a label).

Source: "Inter-pod affinity and anti-affinity" in Kubernetes' documentation. A pod that no term's selector finds may be
the first of its kind if it matches its own terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from control.scheduler.cluster import Cluster
from control.scheduler.domains import Domains
from control.scheduler.labels import At, Numbers, Rows
from control.scheduler.pod import Pod, Term


def looks_into(cluster: Cluster, term: Term, namespace: str) -> bool:
    """Whether a term is about pods of that namespace."""
    if namespace in term.namespaces:
        return True
    selector = term.namespace_selector
    return selector is not None and selector.matches(cluster.namespaces.get(namespace))


def finds(cluster: Cluster, term: Term, pod: Pod) -> bool:
    """Whether a term is about that pod."""
    return looks_into(cluster, term, pod.namespace) and term.selector.matches(pod.labels)


def _placed(cluster: Cluster, term: Term) -> Iterator[tuple[Pod, int]]:
    for namespace, pods in cluster.by_namespace.items():
        if looks_into(cluster, term, namespace):
            yield from pods.values()


def _found(cluster: Cluster, term: Term) -> Domains:
    """The pods that the term finds, by domain."""
    rows = [row for pod, row in _placed(cluster, term) if term.selector.matches(pod.labels)]
    return Domains(cluster, term.topology_key, rows)


class Neighbours:
    """Which pods a pod's required terms find, and which that are there have terms that find it."""

    def __init__(self, cluster: Cluster, pod: Pod) -> None:
        self._cluster = cluster
        self._pod = pod
        self._wanted = [(term, _found(cluster, term)) for term in pod.affinity]
        self._avoided = [(term, _found(cluster, term)) for term in pod.anti_affinity]
        self._repelling: dict[str, Domains] = {}
        for other, row in cluster.repelling.values():
            self._repel(other, row, 1)

    def _repel(self, other: Pod, row: int, number: int) -> None:
        for term in other.anti_affinity:
            if finds(self._cluster, term, self._pod):
                key = term.topology_key
                domains = self._repelling.get(key) or self._repelling.setdefault(key, Domains(self._cluster, key))
                domains.add(row, number)

    def moved(self, other: Pod, row: int, number: int) -> None:
        """Another pod came to a row (1) or left it (-1)."""
        for term, domains in (*self._wanted, *self._avoided):
            if finds(self._cluster, term, other):
                domains.add(row, number)
        self._repel(other, row, number)

    def wanted(self, at: At) -> Rows:
        """Rows that all required affinity terms allow."""
        nobody = not any(found.counts.any() for _, found in self._wanted)
        first = nobody and all(finds(self._cluster, term, self._pod) for term, _ in self._wanted)
        allowed = np.ones_like(self._cluster.there[at])
        for _, found in self._wanted:
            # For the first of its kind any node that has the labels will do.
            allowed &= found.labelled(at) if first else found.near(at)
        return allowed

    def avoided(self, at: At) -> Rows:
        """Rows that a required anti-affinity term of the pod forbids."""
        forbidden = np.zeros_like(self._cluster.there[at])
        for _, found in self._avoided:
            forbidden |= found.near(at)
        return forbidden

    def repelled(self, at: At) -> Rows:
        """Rows that pods which are there forbid by their own anti-affinity."""
        forbidden = np.zeros_like(self._cluster.there[at])
        for domains in self._repelling.values():
            forbidden |= domains.near(at)
        return forbidden


def preference_points(cluster: Cluster, pod: Pod) -> Numbers | None:
    """Points by row: the pod's own preferences, and those of the pods that are there; None without any."""
    points: dict[str, dict[int, int]] = {}
    for term in pod.preferences:
        for other, row in _placed(cluster, term):
            if term.selector.matches(other.labels):
                _give(cluster, points, term, row, term.weight)
    for other, row in cluster.preferring.values():
        for term in (*other.preferences, *other.affinity):
            if finds(cluster, term, pod):
                # A required term counts as one point of the other's wish to have company.
                _give(cluster, points, term, row, term.weight or 1)
    return _by_row(cluster, points) if points else None


def _give(cluster: Cluster, points: dict[str, dict[int, int]], term: Term, row: int, weight: int) -> None:
    domain = int(cluster.labels.column(term.topology_key)[row])
    if domain:
        of_key = points.setdefault(term.topology_key, {})
        of_key[domain] = of_key.get(domain, 0) + weight


def _by_row(cluster: Cluster, points: Mapping[str, Mapping[int, int]]) -> Numbers:
    total = np.zeros(cluster.capacity, np.int64)
    for key, of_key in points.items():
        table = np.zeros(cluster.labels.domains(key), np.int64)
        table[list(of_key)] = list(of_key.values())
        total += table[cluster.labels.column(key)]
    return total
