"""Which nodes can have a pod's volumes: a bound claim's volume must be reachable, a late one must find
one there that is free, or one must be made there.

Source: "Persistent Volumes: Node Affinity", "Storage Classes: Allowed Topologies", "Well-Known Labels: zones" of
Kubernetes' documentation; the words are kube-scheduler 1.32's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from control.api.schema import Object
from control.api.volume_binding import NO_PROVISIONER
from control.scheduler.cluster import Cluster
from control.scheduler.labels import At, Numbers, Rows, term_rows
from control.scheduler.pod import Pod
from control.scheduler.volumes import Awaited, Claim, Volume

NO_VOLUME: Final = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
ELSEWHERE: Final = "node(s) had volume node affinity conflict"
NONE_TO_BIND: Final = "node(s) didn't find available persistent volumes to bind"
OTHER_ZONE: Final = "node(s) had no available volume zone"
# Labels that say where a volume or a node is, and as which other one a node may have them: the older names still count.
PLACES: Final = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone": "",
    "topology.kubernetes.io/region": "",
}


def volume_failures(cluster: Cluster, pod: Pod, at: At) -> Iterator[tuple[str, Rows]]:
    """Reasons and the rows that fail for them; a row may fail for one of its bound claims and one of the others."""
    volumes = cluster.volumes
    refusal = volumes.refusal(pod)
    if refusal:
        yield refusal, np.ones_like(cluster.there[at])
        return
    claims = volumes.of(pod)
    yield from _bound_failures(cluster, [claim for claim in claims if claim.bound], at)
    late = [claim for claim in claims if not claim.bound]
    if late:
        yield NONE_TO_BIND, ~_possible(cluster, late, at)


def zone_failures(cluster: Cluster, pod: Pod, at: At) -> Iterator[tuple[str, Rows]]:
    """Rows that are in another zone or region than a volume of the pod's says of itself by its labels."""
    names = [claim.volume for claim in cluster.volumes.of(pod)]
    volumes = [cluster.volumes.volumes[name] for name in names if name in cluster.volumes.volumes]
    wanted = [(key, values) for volume in volumes for key, values in _places(volume)]
    if wanted:
        right = np.ones_like(cluster.there[at])
        for key, values in wanted:
            right &= _within(cluster, key, values, at)
        yield OTHER_ZONE, _placed(cluster, at) & ~right


def _places(volume: Volume) -> Iterator[tuple[str, list[str]]]:
    """Labels, and the values that will do; a label with an empty one among them says nothing."""
    for key in PLACES.keys() & volume.labels.keys():
        values = [value.strip() for value in volume.labels[key].split("__")]
        if all(values):
            yield key, values


def _within(cluster: Cluster, key: str, values: list[str], at: At) -> Rows:
    found = cluster.labels.has(key, values, at)
    if PLACES[key]:
        found |= cluster.labels.has(PLACES[key], values, at) & ~_labelled(cluster, key, at)
    return found


def _placed(cluster: Cluster, at: At) -> Rows:
    """Rows whose node says where it is. In a cluster of one zone no node need."""
    found = np.zeros_like(cluster.there[at])
    for key in PLACES:
        found |= _labelled(cluster, key, at)
    return found


def _labelled(cluster: Cluster, key: str, at: At) -> Rows:
    return cluster.labels.match(key, "Exists", (), at)


def awaited(cluster: Cluster, pod: Pod, node: str) -> tuple[Awaited, ...]:
    """What must happen to the pod's claims before it may be bound to that node, which has passed the filter."""
    late = [claim for claim in cluster.volumes.of(pod) if not claim.bound]
    row = cluster.rows[node]
    found = {claim.key: (volumes, got) for claim, volumes, got in _choices(cluster, late, slice(row, row + 1))}
    answer = []
    for claim in late:
        volumes, got = found.get(claim.key, ([], None))
        answer.append(Awaited(claim, volumes[int(got[0])] if got is not None and got[0] >= 0 else None))
    return tuple(answer)


def _bound_failures(cluster: Cluster, claims: list[Claim], at: At) -> Iterator[tuple[str, Rows]]:
    """Each row by the first of the claims that it cannot have."""
    left = np.ones_like(cluster.there[at])
    for claim in claims:
        volume = cluster.volumes.volumes.get(claim.volume)
        if volume is None:
            yield NO_VOLUME, left
            return
        reachable = _reachable(cluster, volume, at)
        yield ELSEWHERE, left & ~reachable
        left = left & reachable


def _possible(cluster: Cluster, late: list[Claim], at: At) -> Rows:
    """Rows where each late claim finds a volume, or one can be made."""
    possible = np.ones_like(cluster.there[at])
    for claim in late:
        node = cluster.volumes.node_for(claim)
        if node:
            possible &= np.equal(cluster.labels.numbers[at], cluster.rows.get(node, -1))
    for claim, volumes, got in _choices(cluster, late, at):
        own = cluster.volumes.has_its_own(claim, volumes)
        possible &= (got >= 0) if own else (got >= 0) | _makeable(cluster, claim, at)
    return possible


def _choices(cluster: Cluster, late: list[Claim], at: At) -> Iterator[tuple[Claim, list[Volume], Numbers]]:
    """For claims without a chosen node, the smallest first: the volumes that there are, and which of them (its number;
    -1 for none) the claim would get on which row. On one row, no volume goes to two claims.
    """
    taken: dict[str, Rows] = {}
    undecided = (claim for claim in late if not cluster.volumes.node_for(claim))
    for claim in sorted(undecided, key=lambda claim: claim.asked):
        volumes = cluster.volumes.fitting(claim)
        got = np.full_like(cluster.labels.numbers[at], -1)
        left = got.size
        for number, volume in enumerate(volumes):
            here = (got < 0) & _reachable(cluster, volume, at)
            before = taken.get(volume.name)
            if before is not None:
                here &= ~before
            got[here] = number
            taken[volume.name] = here if before is None else before | here
            left -= int(np.count_nonzero(here))
            if not left:
                break
        yield claim, volumes, got


def _reachable(cluster: Cluster, volume: Volume, at: At) -> Rows:
    if volume.terms is None:
        return np.ones_like(cluster.there[at])
    return _any_term(cluster, volume.terms, at)


def _makeable(cluster: Cluster, claim: Claim, at: At) -> Rows:
    """Rows where the claim's class has volumes made."""
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
