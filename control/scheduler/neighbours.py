"""Affinity and anti-affinity between pods: counted per topology domain (all nodes with the same value of a label).

Source: "Inter-pod affinity and anti-affinity" in Kubernetes' documentation. Company in a required sense are only pods
that all terms find, and these count for each of them; a pod that has none in the whole cluster may be the first of its
kind if it matches its own terms. Anti-affinity counts term by term.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from control.scheduler.cluster import Cluster
from control.scheduler.domains import Domains
from control.scheduler.labels import At, Numbers, Rows
from control.scheduler.pod import Pod, Term
from control.scheduler.sorts import finder
from control.scheduler.tally import ByRow


def looks_into(cluster: Cluster, term: Term, namespace: str) -> bool:
    """Whether a term is about pods of that namespace."""
    if namespace in term.namespaces:
        return True
    selector = term.namespace_selector
    return selector is not None and selector.matches(cluster.namespaces.get(namespace))


def finds(cluster: Cluster, term: Term, pod: Pod) -> bool:
    """Whether a term is about that pod."""
    return looks_into(cluster, term, pod.namespace) and term.selector.matches(pod.labels)


def _found(cluster: Cluster, *terms: Term) -> list[ByRow]:
    """The pods that all these terms find, by row."""
    found = [finder(term.selector) for term in terms]
    tallies = (
        tally
        for namespace, tally in cluster.sorts.items()
        if all(looks_into(cluster, term, namespace) for term in terms)
    )
    return [by_row for tally in tallies for sort, by_row in tally.items() if all(finds(sort) for finds in found)]


class Neighbours:
    """Which pods a pod's required terms find, and which that are there have terms that find it."""

    def __init__(self, cluster: Cluster, pod: Pod) -> None:
        self._cluster = cluster
        self._pod = pod
        company = _found(cluster, *pod.affinity) if pod.affinity else []
        self._wanted = [Domains(cluster, key, company) for key in {term.topology_key for term in pod.affinity}]
        self._avoided = [
            (term, Domains(cluster, term.topology_key, _found(cluster, term))) for term in pod.anti_affinity
        ]
        self._repelling: dict[str, Domains] = {}
        for terms, by_row in cluster.repelling.items():
            for domains in self._repelled_by(terms):
                domains.add_all([by_row])

    def _repelled_by(self, terms: Iterable[Term]) -> Iterator[Domains]:
        """What each of another pod's terms that is about ours counts in."""
        for term in terms:
            if finds(self._cluster, term, self._pod):
                key = term.topology_key
                yield self._repelling.get(key) or self._repelling.setdefault(key, Domains(self._cluster, key))

    def moved(self, other: Pod, row: int, number: int) -> None:
        """Another pod came to a row (1) or left it (-1)."""
        if self._wanted and self._all_find(other):
            for domains in self._wanted:
                domains.add(row, number)
        for term, domains in self._avoided:
            if finds(self._cluster, term, other):
                domains.add(row, number)
        for domains in self._repelled_by(other.anti_affinity):
            domains.add(row, number)

    def _all_find(self, other: Pod) -> bool:
        return all(finds(self._cluster, term, other) for term in self._pod.affinity)

    def wanted(self, at: At) -> Rows:
        """Rows that all required affinity terms allow."""
        first = not any(found.counts.any() for found in self._wanted) and self._all_find(self._pod)
        allowed = np.ones_like(self._cluster.there[at])
        for found in self._wanted:
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
    points: dict[str, Numbers] = {}
    for term in pod.preferences:
        _give(points, term, Domains(cluster, term.topology_key, _found(cluster, term)))
    for terms, by_row in cluster.preferring.items():
        for term in terms:
            if finds(cluster, term, pod):
                _give(points, term, Domains(cluster, term.topology_key, [by_row]))
    if not points:
        return None
    total = np.zeros(cluster.capacity, np.int64)
    for key, by_domain in points.items():
        total += by_domain[cluster.labels.column(key)]
    return total


def _give(points: dict[str, Numbers], term: Term, found: Domains) -> None:
    """Points for every domain where something was found: a required term is one point of a wish for company."""
    if found.counts.any():
        given = found.counts * (term.weight or 1)
        points[term.topology_key] = points.get(term.topology_key, 0) + given
