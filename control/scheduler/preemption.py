"""Making room: which pods of lower priority would have to leave which node so that a pod fits there.

On every node where leaving could help, all pods of lower priority are thought away; if the pod fits then, as many of
them as possible are let back, those whose disruption budget would be broken first, then by priority. Of all nodes that
are left, the one where least is lost is taken. With thousands of nodes that takes long, so it is a search in steps.
Source: "Pod Priority and Preemption" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from control.api import meta
from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.scheduler.cluster import Cluster
from control.scheduler.cycle import Diagnosis, Reserved, feasible, held_against
from control.scheduler.explain import no_preemption
from control.scheduler.pod import Pod
from control.scheduler.question import Question

# Nodes that are tried: a tenth of the cluster, but at least a hundred, as kube-scheduler does.
_PART: Final = 10
_LEAST: Final = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """Who must leave `node`; why nobody can, if node is ""."""

    node: str
    victims: tuple[Pod, ...] = ()
    refusal: str = ""


# Ends with the plan; whoever drives it may do something else after each step.
Search = Generator[None, None, Plan]


class Budgets:
    """PodDisruptionBudgets, and how many more pods each lets go."""

    def __init__(self, budgets: Sequence[Object]) -> None:
        self._budgets = [
            (
                meta.namespace(budget),
                label_selector_of((budget.get("spec") or {}).get("selector")),
                (budget.get("status") or {}).get("disruptionsAllowed") or 0,
                frozenset((budget.get("status") or {}).get("disruptedPods") or ()),
            )
            for budget in budgets
        ]

    def broken_by(self, pods: Sequence[Pod]) -> list[bool]:
        """For each pod in this order, whether its leaving, after those before it, breaks a budget."""
        left = [allowed for _, _, allowed, _ in self._budgets]
        broken = []
        for pod in pods:
            over = False
            for number, (namespace, selector, _, gone) in enumerate(self._budgets):
                if pod.namespace == namespace and selector.matches(pod.labels) and pod.name not in gone:
                    left[number] -= 1
                    over = over or left[number] < 0
            broken.append(over)
        return broken


def search(
    cluster: Cluster,
    pod: Pod,
    diagnosis: Diagnosis,
    budgets: Budgets,
    turn: int = 0,
    reserved: Callable[[], Iterable[Reserved]] = tuple,
) -> Search:
    """The node where least is lost, found a node a step: the cluster is as it was after each of them, and may change
    in between. turn: any number; where the search begins. reserved: gives the reservations of the moment; places of
    pods that are at least as important are no more to be had by making others leave than by finding them free.
    """
    candidates = np.flatnonzero(cluster.there & ~diagnosis.hopeless)
    hopeless = int(np.count_nonzero(cluster.there & diagnosis.hopeless))
    left = max(_LEAST, cluster.size // _PART)
    found: list[tuple[tuple[float, ...], str, tuple[Pod, ...]]] = []
    question, version = Question(cluster, pod), cluster.version
    for row in np.roll(candidates, -(turn % max(len(candidates), 1))).tolist():
        if version != cluster.version:
            question = Question(cluster, pod)
        lower = [p for p in cluster.pods.get(row, {}).values() if p.priority < pod.priority]
        with _holding(question, row, held_against(cluster, pod, reserved())):
            victims = _victims(question, row, lower, budgets) if lower else None
        if victims is not None:
            found.append((_loss(victims, budgets), cluster.nodes[row].name, tuple(victims)))
        left -= bool(lower)
        if not left:
            break
        version = cluster.version
        yield
    if not found:
        return Plan("", refusal=no_preemption(cluster.size, hopeless, cluster.size - hopeless))
    _, node, leaving = min(found)
    return Plan(node, leaving)


@contextmanager
def _holding(question: Question, row: int, held: Iterable[Reserved]) -> Iterator[None]:
    """These pods have their places for the length of the block. What lies on other rows is left out where it says
    nothing about this one.
    """
    rows, pod = question.cluster.rows, question.pod
    far = bool(pod.spread or pod.affinity or pod.anti_affinity)
    placed = [(other, rows[node]) for other, node in held if node in rows]
    placed = [(other, at) for other, at in placed if at == row or far or other.anti_affinity]
    for other, at in placed:
        question.add(other, at)
    try:
        yield
    finally:
        for other, at in placed:
            question.remove(other, at)


def _victims(question: Question, row: int, lower: list[Pod], budgets: Budgets) -> list[Pod] | None:
    """The fewest important pods whose leaving makes room on that row; None: it would not help."""
    lower.sort(key=_importance)
    away = {other.uid: other for other in lower}
    for other in lower:
        question.remove(other, row)
    try:
        if not _fits(question, row):
            return None
        broken = dict(zip(away, budgets.broken_by(lower), strict=True))
        victims = []
        for other in sorted(lower, key=lambda p: (not broken[p.uid], _importance(p))):
            question.add(other, row)
            if _fits(question, row):
                del away[other.uid]
            else:
                question.remove(other, row)
                victims.append(other)
        return victims
    finally:
        for other in away.values():
            question.add(other, row)


def _fits(question: Question, row: int) -> bool:
    return bool(feasible(question, slice(row, row + 1))[0][0])


def _importance(pod: Pod) -> tuple[int, str]:
    """The most important first: by priority, then who has been there longest."""
    status: Mapping[str, str] = pod.object.get("status") or {}
    return (-pod.priority, status.get("startTime") or "~")


def _loss(victims: Sequence[Pod], budgets: Budgets) -> tuple[float, ...]:
    """Smaller is better: budgets broken, the greatest priority, their sum, their number, how long the first has run."""
    by_importance = sorted(victims, key=_importance)
    started = by_importance[0].object.get("status", {}).get("startTime") if victims else None
    digits = "".join(c for c in started or "" if c.isdigit())
    return (
        sum(budgets.broken_by(by_importance)),
        max((p.priority for p in victims), default=0),
        sum(p.priority + 2**31 for p in victims),
        len(victims),
        -float(digits or 0),
    )
