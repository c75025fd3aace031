"""From pods' figures to a number of replicas, as HorizontalPodAutoscalers count.

Pods that tell nothing are counted so that they never cause a change: as using what they asked for when fewer replicas
would do, as using nothing when more would be needed; so are pods that are only starting. Amounts are in thousandths.
Source: "Horizontal Pod Autoscaling: Algorithm details" in Kubernetes' documentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from control.api.quantity import Quantity
from control.api.schema import Object
from control.controllers.values.objects import is_deleting, name_of, parse_time, spec_of, status_of
from control.controllers.values.pods import condition, phase

# Seconds: how long after its start a pod's CPU says nothing of its load, and how long it may take to be ready first.
CPU_INITIALIZATION: Final = 300.0
READINESS_DELAY: Final = 30.0


# Figures came, but none of a pod that counts.
UNMATCHED: Final = "did not receive metrics for targeted pods (pods might be unready)"


class NoMetric(Exception):
    """A metric cannot be computed. reason: for the condition; the message says why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Usage:
    """What one pod uses of one resource, in thousandths; when that was measured, and over how many seconds."""

    milli: int
    at: datetime | None
    window: float = 30.0


def usages(items: Iterable[Object], resource: str, container: str = "") -> dict[str, Usage]:
    """Pod → usage, of the items of a PodMetricsList; a pod of which a container tells nothing is left out."""
    found: dict[str, Usage] = {}
    for item in items:
        containers = [c for c in item.get("containers") or () if container in ("", c.get("name"))]
        amounts = [amount for c in containers if (amount := (c.get("usage") or {}).get(resource)) is not None]
        if amounts and len(amounts) == len(containers):
            total = sum(Quantity.parse(amount).milli() for amount in amounts)
            found[name_of(item)] = Usage(total, parse_time(item.get("timestamp")), _seconds(item.get("window")))
    return found


def _seconds(text: object) -> float:
    """A window as "30s" or "1m0s"; 30 when it is something else."""
    whole, minutes = str(text or ""), 0.0
    if "m" in whole and not whole.endswith("ms"):
        head, _, whole = whole.partition("m")
        minutes = float(head) if head.isdigit() else 0.0
    number = whole.removesuffix("s").replace(".", "", 1)
    return minutes * 60 + float(whole.removesuffix("s")) if number.isdigit() else minutes * 60 or 30.0


@dataclass(frozen=True, slots=True)
class Group:
    """Pods by what their figures are worth. counted: pod → thousandths used."""

    counted: dict[str, int]
    starting: tuple[str, ...]
    silent: tuple[str, ...]


def group(pods: Iterable[Object], figures: Mapping[str, Usage], resource: str, now: datetime) -> Group:
    """Put each pod where it belongs; pods that ended or are ending do not count at all."""
    counted: dict[str, int] = {}
    starting, silent = [], []
    for pod in pods:
        if is_deleting(pod) or phase(pod) in ("Failed", "Succeeded"):
            continue
        figure = figures.get(name_of(pod))
        if phase(pod) == "Pending" or (figure is not None and resource == "cpu" and _is_starting(pod, figure, now)):
            starting.append(name_of(pod))
        elif figure is None:
            silent.append(name_of(pod))
        else:
            counted[name_of(pod)] = figure.milli
    return Group(counted, tuple(starting), tuple(silent))


def _is_starting(pod: Object, figure: Usage, now: datetime) -> bool:
    """Its CPU may still be that of its start."""
    ready, start = condition(pod, "Ready"), parse_time(status_of(pod).get("startTime"))
    turned = parse_time(ready.get("lastTransitionTime")) if ready else None
    if ready is None or start is None or turned is None:
        return True
    unready = ready.get("status") != "True"
    if (now - start).total_seconds() < CPU_INITIALIZATION:
        early = figure.at is not None and (figure.at - turned).total_seconds() < figure.window
        return unready or early
    return unready and (turned - start).total_seconds() < READINESS_DELAY


def requests(pods: Iterable[Object], resource: str, container: str) -> dict[str, int]:
    """Pod → what its containers (or that one) request, in thousandths. NoMetric: one requests nothing."""
    found: dict[str, int] = {}
    for pod in pods:
        sidecars = [c for c in spec_of(pod).get("initContainers") or () if c.get("restartPolicy") == "Always"]
        total = 0
        for entry in [*(spec_of(pod).get("containers") or ()), *sidecars]:
            if container not in ("", entry.get("name")):
                continue
            asked = ((entry.get("resources") or {}).get("requests") or {}).get(resource)
            if asked is None:
                where = f"container {entry.get('name')} of Pod {name_of(pod)}"
                raise NoMetric("FailedGetResourceMetric", f"missing request for {resource} in {where}")
            total += Quantity.parse(asked).milli()
        found[name_of(pod)] = total
    return found


def by_utilization(
    found: Group, asked: Mapping[str, int], target: int, current: int, tolerance: tuple[float, float]
) -> tuple[int, int, int]:
    """Replicas, utilisation in percent of the requests, average in thousandths. target: percent."""
    total = sum(asked.get(name, 0) for name in found.counted)
    if not total:
        raise NoMetric("FailedGetResourceMetric", UNMATCHED)
    used = sum(found.counted.values())
    ratio = (used * 100 // total) / target

    def fallback(name: str) -> int:
        return asked.get(name, 0) * max(100, target) // 100

    def rated(values: Mapping[str, int]) -> float:
        base = sum(asked.get(name, 0) for name in values)
        return (sum(values.values()) * 100 // base) / target if base else ratio

    replicas = _replicas(found, ratio, current, tolerance, fallback, rated)
    return replicas, used * 100 // total, used // len(found.counted)


def by_value(found: Group, target: int, current: int, tolerance: tuple[float, float]) -> tuple[int, int]:
    """Replicas and average in thousandths. target: thousandths a pod."""
    if not found.counted:
        raise NoMetric("FailedGetResourceMetric", UNMATCHED)

    def rated(values: Mapping[str, int]) -> float:
        return sum(values.values()) / len(values) / target

    replicas = _replicas(found, rated(found.counted), current, tolerance, lambda _: target, rated)
    return replicas, sum(found.counted.values()) // len(found.counted)


def _replicas(
    found: Group, ratio: float, current: int, tolerance: tuple[float, float], fallback: Any, rated: Any
) -> int:
    starting = found.starting if ratio > 1 else ()
    if not starting and not found.silent:
        return current if _tolerable(ratio, tolerance) else math.ceil(round(ratio * len(found.counted), 6))
    values = dict(found.counted)
    if ratio < 1:
        values.update({name: fallback(name) for name in found.silent})
    elif ratio > 1:
        values.update(dict.fromkeys(found.silent, 0))
    values.update(dict.fromkeys(starting, 0))
    again = rated(values)
    if _tolerable(again, tolerance) or (ratio < 1 < again) or (again < 1 < ratio):
        return current
    replicas = math.ceil(round(again * len(values), 6))
    wrong_way = (again < 1 and replicas > current) or (again > 1 and replicas < current)
    return current if wrong_way else replicas


def _tolerable(ratio: float, tolerance: tuple[float, float]) -> bool:
    """tolerance: below and above 1."""
    down, up = tolerance
    return 1 - down <= ratio <= 1 + up


def selected(pods: Sequence[Object], names: Iterable[str]) -> list[Object]:
    wanted = set(names)
    return [pod for pod in pods if name_of(pod) in wanted]
