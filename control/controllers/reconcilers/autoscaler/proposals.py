"""What each metric of an autoscaler asks for: its kind, its target and the figures, made into a number of replicas.

Invariant: a metric that cannot be computed is a NoMetric with the reason for the condition; the others still count.
Source: MetricSpec and MetricStatus in Kubernetes' API reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from control.api.quantity import Quantity
from control.api.schema import Object
from control.controllers.reconcilers.autoscaler.metrics import (
    Group,
    NoMetric,
    by_utilization,
    by_value,
    group,
    requests,
    selected,
    usages,
)
from control.controllers.values.actions import Answer

_NO_RESOURCE, _NO_TYPE = "FailedGetResourceMetric", "InvalidMetricSourceType"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one metric asks for. current: the entry of status.currentMetrics; name: what it is, in words."""

    replicas: int
    name: str
    current: Object


@dataclass(frozen=True, slots=True)
class Situation:
    """The target's pods, what the metrics API said of them, how many replicas there are, what counts as no change."""

    pods: Sequence[Object]
    answer: Answer
    replicas: int
    tolerance: tuple[float, float]
    now: datetime


def propose(situation: Situation, spec: dict[str, Any]) -> tuple[list[Proposal], NoMetric | None]:
    """What each metric of the spec asks for, and the first problem."""
    found: list[Proposal] = []
    problem: NoMetric | None = None
    for metric in spec.get("metrics") or ():
        try:
            found.append(_propose(situation, metric))
        except NoMetric as unknown:
            problem = problem or unknown
    return found, problem


def _propose(situation: Situation, metric: dict[str, Any]) -> Proposal:
    kind = metric.get("type", "")
    source = metric.get("resource" if kind == "Resource" else "containerResource")
    if kind not in ("Resource", "ContainerResource") or source is None:
        text = f"unable to get metric of type {kind}: no metrics returned from custom or external metrics API"
        raise NoMetric(f"FailedGet{kind}Metric", text)
    target = source.get("target") or {}
    by_utilization = target.get("averageUtilization") is not None
    if not by_utilization and target.get("averageValue") is None:
        raise NoMetric(_NO_TYPE, f"{source['name']}: neither averageUtilization nor averageValue is set")
    try:
        figures = usages(_items(situation.answer, source["name"]), source["name"], source.get("container", ""))
        grouped = group(situation.pods, figures, source["name"], situation.now)
        return (_by_utilization if by_utilization else _by_value)(situation, kind, source, grouped)
    except NoMetric as problem:
        what = "utilization" if by_utilization else "usage"
        raise NoMetric(problem.reason, f"failed to get {source['name']} {what}: {problem}") from None


def _items(answer: Answer, resource: str) -> Sequence[Object]:
    items: Sequence[Object] = (answer.object or {}).get("items") or ()
    if not items:
        why = answer.message or "no metrics returned from resource metrics API"
        raise NoMetric(_NO_RESOURCE, f"unable to get metrics for resource {resource}: {why}")
    return items


def _by_utilization(situation: Situation, kind: str, source: dict[str, Any], grouped: Group) -> Proposal:
    members = selected(situation.pods, [*grouped.counted, *grouped.starting, *grouped.silent])
    asked = requests(members, source["name"], source.get("container", ""))
    percent = int(source["target"]["averageUtilization"])
    replicas, used, average = by_utilization(grouped, asked, percent, situation.replicas, situation.tolerance)
    shown = {"averageUtilization": used, "averageValue": str(Quantity.of_millis(average))}
    return Proposal(
        replicas, f"{_words(kind, source)} utilization (percentage of request)", _shown(kind, source, shown)
    )


def _by_value(situation: Situation, kind: str, source: dict[str, Any], grouped: Group) -> Proposal:
    wanted = Quantity.parse(source["target"]["averageValue"]).milli()
    replicas, average = by_value(grouped, wanted, situation.replicas, situation.tolerance)
    shown = {"averageValue": str(Quantity.of_millis(average))}
    return Proposal(replicas, _words(kind, source), _shown(kind, source, shown))


def _words(kind: str, source: dict[str, Any]) -> str:
    return f"{source['name']} container resource" if kind == "ContainerResource" else f"{source['name']} resource"


def _shown(kind: str, source: dict[str, Any], current: Object) -> Object:
    part = {field: source[field] for field in ("name", "container") if source.get(field)}
    return {"type": kind, "resource" if kind == "Resource" else "containerResource": {**part, "current": current}}
