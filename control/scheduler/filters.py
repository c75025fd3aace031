"""Which nodes can take a pod, and why the others cannot: the filters of Kubernetes' default profile, in its order.

Each filter answers, for all rows that it is asked about at once, with pairs (reason, those of them that fail for it); a
node that fails one filter is not asked by the next, as in Kubernetes, so the counts in the explanation are the ones its
users know. Source: "Scheduler Configuration", scheduling plugins, of Kubernetes' documentation; the words are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from control.scheduler.labels import At, Rows
from control.scheduler.node_rules import KEEPS_AWAY, affine, first_untolerated
from control.scheduler.question import Question
from control.scheduler.volume_rows import volume_failures, zone_failures

Failures = Iterator[tuple[str, Rows]]
Filter = Callable[[Question, At], Failures]

VOLUME_BINDING: Final = "VolumeBinding"
VOLUME_RESTRICTIONS: Final = "VolumeRestrictions"
VOLUME_ZONE: Final = "VolumeZone"
# Whose verdict depends on claims, volumes and classes.
OF_VOLUMES: Final = frozenset({VOLUME_BINDING, VOLUME_RESTRICTIONS, VOLUME_ZONE})
TAKEN: Final = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
UNSCHEDULABLE_TAINT: Final = "node.kubernetes.io/unschedulable"


def unschedulable(question: Question, at: At) -> Failures:
    closed = question.cluster.unschedulable[at]
    if closed.any() and not question.pod.tolerates(UNSCHEDULABLE_TAINT, "", "NoSchedule"):
        yield "node(s) were unschedulable", closed


def node_name(question: Question, at: At) -> Failures:
    cluster, pod = question.cluster, question.pod
    if pod.node:
        others = cluster.labels.numbers[at] != cluster.rows.get(pod.node, -1)
        yield "node(s) didn't match the requested node name", others


def taints(question: Question, at: At) -> Failures:
    for found, number in question.cluster.taints.known.items():
        taint = first_untolerated(question.pod, found, KEEPS_AWAY)
        if taint is not None:
            text = f"{taint.key}: {taint.value}"
            yield f"node(s) had untolerated taint {{{text}}}", question.cluster.taints.numbers[at] == number


def node_affinity(question: Question, at: At) -> Failures:
    pod = question.pod
    if pod.node_selector or pod.required_nodes is not None:
        yield "node(s) didn't match Pod's node affinity/selector", ~affine(question.cluster, pod, at)


def ports(question: Question, at: At) -> Failures:
    cluster = question.cluster
    taken = [
        row
        for port in question.pod.ports
        for row, addresses in cluster.ports.get((port.protocol, port.number), {}).items()
        if not port.address or "" in addresses or port.address in addresses
    ]
    if taken:
        rows = np.zeros(cluster.capacity, np.bool_)
        rows[taken] = True
        yield "node(s) didn't have free ports for the requested pod ports", rows[at]


def resources(question: Question, at: At) -> Failures:
    cluster = question.cluster
    free = cluster.allocatable[at] - cluster.used[at]
    for resource, amount in question.pod.requests.items():
        if amount:
            column = cluster.columns.get(resource)
            # No node has ever offered what has no column.
            lacking = np.ones(len(free), np.bool_) if column is None else free[:, column] < amount
            yield "Too many pods" if resource == "pods" else f"Insufficient {resource}", lacking


def volume_restrictions(question: Question, at: At) -> Failures:
    """What one pod alone may use (ReadWriteOncePod) is taken on every node, wherever in the cluster that pod is."""
    cluster, pod = question.cluster, question.pod
    if pod.claims and any(claim.alone and claim.key in cluster.claimants for claim in cluster.volumes.of(pod)):
        yield TAKEN, np.ones_like(cluster.there[at])


def volumes(question: Question, at: At) -> Failures:
    if question.pod.claims:
        yield from volume_failures(question.cluster, question.pod, at)


def volume_zones(question: Question, at: At) -> Failures:
    if question.pod.claims:
        yield from zone_failures(question.cluster, question.pod, at)


def spread(question: Question, at: At) -> Failures:
    if any(constraint.hard for constraint in question.pod.spread):
        yield from _once(question.skews.failures(at))


def neighbours(question: Question, at: At) -> Failures:
    yield from _once(_neighbour_rules(question, at))


def _neighbour_rules(question: Question, at: At) -> Failures:
    pod = question.pod
    if pod.affinity:
        yield "node(s) didn't match pod affinity rules", ~question.neighbours.wanted(at)
    if pod.anti_affinity:
        yield "node(s) didn't match pod anti-affinity rules", question.neighbours.avoided(at)
    if question.cluster.repelling:
        yield "node(s) didn't satisfy existing pods anti-affinity rules", question.neighbours.repelled(at)


def _once(failures: Failures) -> Failures:
    """Each node by the first rule that it breaks; one that breaks several is still one node."""
    told: Rows | None = None
    for reason, failing in failures:
        fresh = failing if told is None else failing & ~told
        told = failing if told is None else failing | told
        yield reason, fresh


FILTERS: Final[dict[str, Filter]] = {
    "NodeUnschedulable": unschedulable,
    "NodeName": node_name,
    "TaintToleration": taints,
    "NodeAffinity": node_affinity,
    "NodePorts": ports,
    "NodeResourcesFit": resources,
    VOLUME_RESTRICTIONS: volume_restrictions,
    VOLUME_BINDING: volumes,
    VOLUME_ZONE: volume_zones,
    "PodTopologySpread": spread,
    "InterPodAffinity": neighbours,
}
# A node that fails one of these takes the pod no sooner when others leave it.
NOT_HELPED_BY_PREEMPTION: Final = frozenset(
    {"NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", VOLUME_BINDING, VOLUME_ZONE}
)
