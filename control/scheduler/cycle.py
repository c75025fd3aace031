"""One decision: the best node for a pod, or the reasons why there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from control.scheduler.cluster import Cluster
from control.scheduler.filters import FILTERS, NOT_HELPED_BY_PREEMPTION, VOLUME_BINDING
from control.scheduler.labels import ALL, At, Rows
from control.scheduler.pod import Pod
from control.scheduler.question import Question
from control.scheduler.scores import SCORES
from control.scheduler.volume_rows import awaited
from control.scheduler.volumes import Awaited

# A pod that made others leave a node (its name), and gets their place.
Reserved = tuple[Pod, str]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why no node can take a pod: how many nodes for which reason, and whom preemption might help.

    plugins: filters that failed somewhere; what they depend on may make the pod schedulable.
    refusal: what keeps the pod from every node alike, before any was asked; "" if nothing does.
    """

    nodes: int
    reasons: dict[str, int]
    plugins: frozenset[str]
    hopeless: Rows
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """node: its name; "" with a diagnosis. feasible: how many nodes could have taken the pod.

    awaited: claims that must be bound before the pod may be, on that node.
    """

    node: str
    feasible: int = 0
    diagnosis: Diagnosis | None = None
    awaited: tuple[Awaited, ...] = ()


def feasible(
    question: Question, at: At = ALL, among: Rows | None = None
) -> tuple[Rows, dict[str, int], frozenset[str], Rows]:
    """Of these rows: which pass every filter; how many fail for which reason; which filters failed; whom no preemption
    helps. among: those of them that are asked about, if not all.
    """
    left = question.cluster.there[at].copy() if among is None else among.copy()
    reasons: dict[str, int] = {}
    plugins: set[str] = set()
    hopeless = np.zeros_like(left)
    for plugin, check in FILTERS.items():
        failing = np.zeros_like(left)
        for reason, rows in check(question, at):
            failed = rows & left
            count = int(np.count_nonzero(failed))
            if count:
                reasons[reason] = reasons.get(reason, 0) + count
                failing |= failed
        if failing.any():
            plugins.add(plugin)
            left &= ~failing
            if plugin in NOT_HELPED_BY_PREEMPTION:
                hopeless |= failing
            if not left.any():
                break
    return left, reasons, frozenset(plugins), hopeless


def decide(cluster: Cluster, pod: Pod, turn: int = 0, reserved: Iterable[Reserved] = ()) -> Decision:
    """Choose a node.

    turn: any number, which breaks ties between equally good nodes. reserved: those of at least this pod's priority keep
    their place.
    """
    refusal = cluster.volumes.refusal(pod) if pod.claims else ""
    if refusal:
        everywhere = cluster.there.copy()
        return Decision("", diagnosis=Diagnosis(cluster.size, {}, frozenset({VOLUME_BINDING}), everywhere, refusal))
    held = held_against(cluster, pod, reserved)
    rows, reasons, plugins, hopeless = _feasible_among(cluster, pod, held)
    if held and relies_on_others(pod) and rows.any():
        rows, more, failed, closed = feasible(Question(cluster, pod), among=rows)
        reasons = {reason: reasons.get(reason, 0) + more.get(reason, 0) for reason in (*reasons, *more)}
        plugins, hopeless = plugins | failed, hopeless | closed
    if not rows.any():
        return Decision("", diagnosis=Diagnosis(cluster.size, reasons, plugins, hopeless))
    best = _best(cluster, pod, rows, turn)
    return replace(best, awaited=awaited(cluster, pod, best.node)) if pod.claims else best


def _feasible_among(
    cluster: Cluster, pod: Pod, held: list[Reserved]
) -> tuple[Rows, dict[str, int], frozenset[str], Rows]:
    """As if those were in their places already."""
    try:
        for other, node in held:
            cluster.add_pod(other, node)
        return feasible(Question(cluster, pod))
    finally:
        for other, _ in held:
            cluster.remove_pod(other.uid)


def relies_on_others(pod: Pod) -> bool:
    """Whether a place may do only because others are there: those must be, and not be expected only."""
    return bool(pod.affinity) or any(constraint.hard for constraint in pod.spread)


def held_against(cluster: Cluster, pod: Pod, reserved: Iterable[Reserved]) -> list[Reserved]:
    """The reservations that a pod must respect. Those that have got their place by now count there already; a node
    that is no more has none.
    """
    return [
        (other, node)
        for other, node in reserved
        if other.priority >= pod.priority
        and other.uid != pod.uid
        and other.uid not in cluster.placed
        and node in cluster.rows
    ]


def _best(cluster: Cluster, pod: Pod, rows: Rows, turn: int) -> Decision:
    candidates = np.flatnonzero(rows)
    if pod.nominated in cluster.rows and rows[cluster.rows[pod.nominated]]:
        return Decision(pod.nominated, len(candidates))
    if len(candidates) == 1:
        return Decision(cluster.nodes[int(candidates[0])].name, 1)
    total = np.zeros(cluster.capacity, np.float64)
    for score, weight in SCORES.values():
        points = score(cluster, pod, rows)
        if points is not None:
            total += weight * points
    among = total[candidates]
    best = candidates[among >= among.max() - 1e-9]
    return Decision(cluster.nodes[int(best[turn % len(best)])].name, len(candidates))
