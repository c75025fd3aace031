"""Which nodes can take a pod, and why the others cannot: the filters of Kubernetes' default profile, in its order.

Each filter answers, for all nodes at once, with pairs (reason, rows that fail for it); a node that fails one filter is
not asked by the next, as in Kubernetes, so the counts in the explanation are the ones its users know.
Source: "Scheduler Configuration", scheduling plugins, of Kubernetes' documentation; the words are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from control.scheduler.cluster import Cluster, Taint
from control.scheduler.labels import Rows, term_rows
from control.scheduler.neighbours import affinity_rows, anti_affinity_rows, repelled_rows
from control.scheduler.pod import Pod
from control.scheduler.spread import spread_failures

Failures = Iterator[tuple[str, Rows]]
Filter = Callable[[Cluster, Pod], Failures]

UNSCHEDULABLE_TAINT: Final = "node.kubernetes.io/unschedulable"
KEEPS_AWAY: Final = ("NoSchedule", "NoExecute")


def unschedulable(cluster: Cluster, pod: Pod) -> Failures:
    if cluster.unschedulable.any() and not pod.tolerates(UNSCHEDULABLE_TAINT, "", "NoSchedule"):
        yield "node(s) were unschedulable", cluster.unschedulable


def node_name(cluster: Cluster, pod: Pod) -> Failures:
    if pod.node:
        others = np.ones(cluster.capacity, np.bool_)
        if pod.node in cluster.rows:
            others[cluster.rows[pod.node]] = False
        yield "node(s) didn't match the requested node name", others


def taints(cluster: Cluster, pod: Pod) -> Failures:
    for number, found in enumerate(cluster.taint_sets):
        taint = first_untolerated(pod, found, KEEPS_AWAY)
        if taint is not None:
            text = f"{taint.key}: {taint.value}"
            yield f"node(s) had untolerated taint {{{text}}}", cluster.taint_set == number


def first_untolerated(pod: Pod, found: tuple[Taint, ...], effects: tuple[str, ...]) -> Taint | None:
    """The first taint with one of these effects that the pod does not tolerate."""
    for taint in found:
        if taint.effect in effects and not pod.tolerates(*taint):
            return taint
    return None


def node_affinity(cluster: Cluster, pod: Pod) -> Failures:
    if pod.node_selector or pod.required_nodes is not None:
        yield "node(s) didn't match Pod's node affinity/selector", ~affine(cluster, pod)


def affine(cluster: Cluster, pod: Pod) -> Rows:
    """Rows that nodeSelector and required node affinity allow."""
    allowed = cluster.labels.match_all(pod.node_selector)
    if pod.required_nodes is not None:
        any_term = np.zeros(cluster.capacity, np.bool_)
        for term in pod.required_nodes:
            any_term |= term_rows(cluster.labels, cluster.rows, term, cluster.capacity)
        allowed &= any_term
    return allowed


def tolerable(cluster: Cluster, pod: Pod) -> Rows:
    """Rows without a taint that keeps the pod away."""
    bad = [n for n, found in enumerate(cluster.taint_sets) if first_untolerated(pod, found, KEEPS_AWAY)]
    return ~np.isin(cluster.taint_set, bad)


def ports(cluster: Cluster, pod: Pod) -> Failures:
    taken = [
        row
        for port in pod.ports
        for row, addresses in cluster.ports.get((port.protocol, port.number), {}).items()
        if not port.address or "" in addresses or port.address in addresses
    ]
    if taken:
        rows = np.zeros(cluster.capacity, np.bool_)
        rows[taken] = True
        yield "node(s) didn't have free ports for the requested pod ports", rows


def resources(cluster: Cluster, pod: Pod) -> Failures:
    wanted = cluster.wanted(pod.requests)
    free = cluster.allocatable - cluster.used
    for resource, amount in pod.requests.items():
        if amount:
            column = cluster.columns[resource]
            lacking = free[:, column] < wanted[column]
            yield "Too many pods" if resource == "pods" else f"Insufficient {resource}", lacking


def spread(cluster: Cluster, pod: Pod) -> Failures:
    hard = [constraint for constraint in pod.spread if constraint.hard]
    if hard:
        yield from spread_failures(cluster, pod, hard, lambda: affine(cluster, pod), lambda: tolerable(cluster, pod))


def neighbours(cluster: Cluster, pod: Pod) -> Failures:
    if pod.affinity:
        yield "node(s) didn't match pod affinity rules", ~affinity_rows(cluster, pod)
    if pod.anti_affinity:
        yield "node(s) didn't match pod anti-affinity rules", anti_affinity_rows(cluster, pod)
    if cluster.repelling:
        yield "node(s) didn't satisfy existing pods anti-affinity rules", repelled_rows(cluster, pod)


FILTERS: Final[dict[str, Filter]] = {
    "NodeUnschedulable": unschedulable,
    "NodeName": node_name,
    "TaintToleration": taints,
    "NodeAffinity": node_affinity,
    "NodePorts": ports,
    "NodeResourcesFit": resources,
    "PodTopologySpread": spread,
    "InterPodAffinity": neighbours,
}
# A node that fails one of these takes the pod no sooner when others leave it.
NOT_HELPED_BY_PREEMPTION: Final = frozenset({"NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity"})
