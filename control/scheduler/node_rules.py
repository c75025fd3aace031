"""What a pod asks of the node itself, whoever else is there: labels, names, taints."""

from __future__ import annotations

from typing import Final

import numpy as np

from control.scheduler.cluster import Cluster, Taint
from control.scheduler.labels import ALL, At, Rows, term_rows
from control.scheduler.pod import Pod

KEEPS_AWAY: Final = ("NoSchedule", "NoExecute")


def affine(cluster: Cluster, pod: Pod, at: At = ALL) -> Rows:
    """Rows that nodeSelector and required node affinity allow."""
    allowed = cluster.labels.match_all(pod.node_selector, at)
    if pod.required_nodes is not None:
        any_term = np.zeros_like(allowed)
        for term in pod.required_nodes:
            any_term |= term_rows(cluster.labels, cluster.rows, term, at)
        allowed &= any_term
    return allowed


def tolerable(cluster: Cluster, pod: Pod) -> Rows:
    """Rows without a taint that keeps the pod away."""
    bad = [n for found, n in cluster.taints.known.items() if first_untolerated(pod, found, KEEPS_AWAY)]
    return ~np.isin(cluster.taints.numbers, bad)


def first_untolerated(pod: Pod, found: tuple[Taint, ...], effects: tuple[str, ...]) -> Taint | None:
    """The first taint with one of these effects that the pod does not tolerate."""
    for taint in found:
        if taint.effect in effects and not pod.tolerates(*taint):
            return taint
    return None
