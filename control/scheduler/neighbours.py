"""Affinity and anti-affinity between pods: counted per topology domain (all nodes with the same value of a label).

Source: "Inter-pod affinity and anti-affinity" in Kubernetes' documentation. A pod that no term's selector finds may be
the first of its kind if it matches its own terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from control.scheduler.cluster import Cluster
from control.scheduler.labels import Numbers, Rows
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


def found_rows(cluster: Cluster, term: Term) -> Rows:
    """Rows in whose domain a pod is that the term finds."""
    column = cluster.labels.column(term.topology_key)
    here = [row for pod, row in _placed(cluster, term) if term.selector.matches(pod.labels)]
    domains = column[here]
    return np.isin(column, domains[domains != 0])


def affinity_rows(cluster: Cluster, pod: Pod) -> Rows:
    """Rows that all required affinity terms allow."""
    allowed = np.ones(cluster.capacity, np.bool_)
    nobody = True
    for term in pod.affinity:
        found = found_rows(cluster, term)
        nobody = nobody and not found.any()
        allowed &= found
    if nobody and all(finds(cluster, term, pod) for term in pod.affinity):
        # The first of its kind: any node that has the labels will do.
        allowed = np.ones(cluster.capacity, np.bool_)
        for term in pod.affinity:
            allowed &= cluster.labels.column(term.topology_key) != 0
    return allowed


def anti_affinity_rows(cluster: Cluster, pod: Pod) -> Rows:
    """Rows that a required anti-affinity term of the pod forbids."""
    forbidden = np.zeros(cluster.capacity, np.bool_)
    for term in pod.anti_affinity:
        forbidden |= found_rows(cluster, term)
    return forbidden


def repelled_rows(cluster: Cluster, pod: Pod) -> Rows:
    """Rows that pods which are there forbid by their own anti-affinity."""
    taken: dict[str, set[int]] = {}
    for other, row in cluster.repelling.values():
        for term in other.anti_affinity:
            domain = int(cluster.labels.column(term.topology_key)[row])
            if domain and finds(cluster, term, pod):
                taken.setdefault(term.topology_key, set()).add(domain)
    forbidden = np.zeros(cluster.capacity, np.bool_)
    for key, domains in taken.items():
        forbidden |= np.isin(cluster.labels.column(key), list(domains))
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
