"""Which nodes can have a pod's volumes: a bound claim's volume must be reachable, a late one's must be possible there.

Source: "Persistent Volumes: Node Affinity", "Storage Classes: Allowed Topologies" of Kubernetes' documentation; the
words are kube-scheduler 1.32's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from control.api.schema import Object
from control.scheduler.cluster import Cluster
from control.scheduler.labels import At, Rows, term_rows
from control.scheduler.pod import Pod
from control.scheduler.volumes import NO_PROVISIONER, Claim

NO_VOLUME: Final = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
ELSEWHERE: Final = "node(s) had volume node affinity conflict"
NONE_TO_BIND: Final = "node(s) didn't find available persistent volumes to bind"


def volume_failures(cluster: Cluster, pod: Pod, at: At) -> Iterator[tuple[str, Rows]]:
    """Reasons and the rows that fail for them; a row may fail for one of its bound claims and one of the others."""
    volumes = cluster.volumes
    refusal = volumes.refusal(pod)
    if refusal:
        yield refusal, np.ones_like(cluster.there[at])
        return
    claims = volumes.of(pod)
    yield from _bound_failures(cluster, [claim for claim in claims if claim.bound], at)
    impossible = np.zeros_like(cluster.there[at])
    for claim in claims:
        if not claim.bound:
            impossible |= ~_possible(cluster, claim, at)
    yield NONE_TO_BIND, impossible


def _bound_failures(cluster: Cluster, claims: list[Claim], at: At) -> Iterator[tuple[str, Rows]]:
    """Each row by the first of the claims that it cannot have."""
    left = np.ones_like(cluster.there[at])
    for claim in claims:
        volume = cluster.volumes.volumes.get(claim.volume)
        if volume is None:
            yield NO_VOLUME, left
            return
        if volume.terms is not None:
            matching = _any_term(cluster, volume.terms, at)
            yield ELSEWHERE, left & ~matching
            left = left & matching


def _possible(cluster: Cluster, claim: Claim, at: At) -> Rows:
    """Rows where a volume for a late claim can be made."""
    if claim.selected:
        return np.equal(cluster.labels.numbers[at], cluster.rows.get(claim.selected, -1))
    found = cluster.volumes.classes[claim.storage_class]
    if found.provisioner == NO_PROVISIONER:
        return np.zeros_like(cluster.there[at])
    if not found.topologies:
        return np.ones_like(cluster.there[at])
    return _any_term(cluster, [_as_term(topology) for topology in found.topologies], at)


def _as_term(topology: Object) -> Object:
    entries = topology.get("matchLabelExpressions") or ()
    return {"matchExpressions": [{"operator": "In", **entry} for entry in entries]}


def _any_term(cluster: Cluster, terms: list[Object], at: At) -> Rows:
    found = np.zeros_like(cluster.there[at])
    for term in terms:
        found |= term_rows(cluster.labels, cluster.rows, term, at)
    return found
