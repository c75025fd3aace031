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
from control.scheduler.cycle import Diagnosis, Reserved, feasible, held_against, relies_on_others
from control.scheduler.explain import no_preemption
from control.scheduler.pod import Pod
from control.scheduler.question import Question

# Nodes that are tried: a tenth of the cluster, but at least a hundred, as kube-scheduler does.
_PART: Final = 10
_LEAST: Final = 100
# The condition of a pod that must leave, and its reason.
DISRUPTION_TARGET: Final = "DisruptionTarget"
BY_PREEMPTION: Final = "PreemptionByScheduler"


@dataclass(frozen=True, slots=True)
class Plan:
    """Who must leave `node`; why nobody can, if node is "". stands: what the pod was promised before is true still."""

    node: str
    victims: tuple[Pod, ...] = ()
    refusal: str = ""
    stands: bool = False


# Ends with the plan; whoever drives it may do something else after each step.
Search = Generator[None, None, Plan]


class Budgets:
    """PodDisruptionBudgets, and how many more pods each lets go. As for kube-scheduler, one whose selector is empty
    guards nobody here, nor does any guard a pod without labels; for evictions that is otherwise.
    """

    def __init__(self, budgets: Sequence[Object]) -> None:
        every = [
            (
                meta.namespace(budget),
                label_selector_of((budget.get("spec") or {}).get("selector")),
                (budget.get("status") or {}).get("disruptionsAllowed") or 0,
                frozenset((budget.get("status") or {}).get("disruptedPods") or ()),
            )
            for budget in budgets
        ]
        self._budgets = [budget for budget in every if not budget[1].everything]

    def broken_by(self, pods: Sequence[Pod]) -> list[bool]:
        """For each pod in this order, whether its leaving, after those before it, breaks a budget."""
        left = [allowed for _, _, allowed, _ in self._budgets]
        broken = []
        for pod in pods:
            over = False
            for number, (namespace, selector, _, gone) in enumerate(self._budgets if pod.labels else ()):
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
        with _holding(question, row, held_against(cluster, pod, reserved())) as held:
            victims = _victims(question, row, lower, budgets, held) if lower else None
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


# Pods in places that are kept for them: on which row.
_Held = list[tuple[Pod, int]]


@contextmanager
def _holding(question: Question, row: int, held: Iterable[Reserved]) -> Iterator[_Held]:
    """These pods have their places for the length of the block. What lies on other rows is left out where it says
    nothing about this one.
    """
    rows, pod = question.cluster.rows, question.pod
    far = bool(pod.claims or pod.spread or pod.affinity or pod.anti_affinity)
    places = [(other, rows[node]) for other, node in held]
    places = [(other, at) for other, at in places if at == row or far or other.anti_affinity]
    for other, at in places:
        question.add(other, at)
    try:
        yield places
    finally:
        for other, at in places:
            question.remove(other, at)


def _victims(question: Question, row: int, lower: list[Pod], budgets: Budgets, held: _Held) -> list[Pod] | None:
    """The fewest important pods whose leaving makes room on that row; None: it would not help."""
    lower.sort(key=_importance)
    away = {other.uid: other for other in lower}
    for other in lower:
        question.remove(other, row)
    try:
        if not _fits(question, row, held):
            return None
        broken = dict(zip(away, budgets.broken_by(lower), strict=True))
        victims = []
        for other in sorted(lower, key=lambda p: (not broken[p.uid], _importance(p))):
            question.add(other, row)
            if _fits(question, row, held):
                del away[other.uid]
            else:
                question.remove(other, row)
                victims.append(other)
        return victims
    finally:
        for other in away.values():
            question.add(other, row)


def _fits(question: Question, row: int, held: _Held) -> bool:
    """With those that keep a place; and without them, for a pod that may not rely on somebody who is not there yet."""
    if not _passes(question, row):
        return False
    if not held or not relies_on_others(question.pod):
        return True
    for other, at in held:
        question.remove(other, at)
    try:
        return _passes(question, row)
    finally:
        for other, at in held:
            question.add(other, at)


def _passes(question: Question, row: int) -> bool:
    return bool(feasible(question, slice(row, row + 1))[0][0])


def leaves_by_preemption(pod: Pod) -> bool:
    """Whether it is on its way out because a scheduler told it to go, for whomever."""
    condition = meta.condition(pod.object, DISRUPTION_TARGET) or {}
    told = condition.get("status") == "True" and condition.get("reason") == BY_PREEMPTION
    return told and meta.is_deleting(pod.object)


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
