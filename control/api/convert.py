"""One version of a kind into another: what is stored as autoscaling/v2 is answered as autoscaling/v1, and back.

Conversions lose nothing: what the other version has no field for goes into annotations, as Kubernetes does it, and
comes back from them. Custom kinds differ in apiVersion only.

Invariant: converting there and back gives the same object, for every valid object of the stored version.

Source: the API reference of Kubernetes; "HorizontalPodAutoscaler v1" for the names of its annotations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from control.api.copying import copied
from control.api.schema import Object

Convert = Callable[[Object], None]

_METRICS: Final = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT: Final = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS: Final = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR: Final = "autoscaling.alpha.kubernetes.io/behavior"
_EMPTY_MARK: Final = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match"
_SELECT_ALL: Final[Object] = {"matchExpressions": [{"key": _EMPTY_MARK, "operator": "DoesNotExist"}]}
_SELECT_NONE: Final[Object] = {"matchLabels": {_EMPTY_MARK: "match-none"}}

_EVENT_FIELDS: Final = (
    # core/v1, events.k8s.io/v1
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)


def convert(obj: Object, api_version: str) -> Object:
    """The object as that apiVersion of its kind has it: a new one, or the same where it is that one already."""
    source = obj["apiVersion"]
    if source == api_version:
        return obj
    found = copied(obj)
    step = _STEPS.get((source, api_version, obj["kind"]))
    if step is not None:
        step(found)
    found["apiVersion"] = api_version
    return found


def _cpu_target(metric: Object) -> int | None:
    """The percentage of a metric that version 1 can say itself."""
    resource = metric.get("resource") or {}
    target = resource.get("target") or {}
    plain = metric.get("type") == "Resource" and resource.get("name") == "cpu" and target.get("type") == "Utilization"
    return target.get("averageUtilization") if plain else None


def _autoscaler_to_v1(obj: Object) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    annotations = dict((obj["metadata"].get("annotations")) or {})
    metrics = spec.pop("metrics", None)
    cpu = next((index for index, m in enumerate(metrics or ()) if _cpu_target(m) is not None), None)
    if cpu is not None and metrics is not None:
        spec["targetCPUUtilizationPercentage"] = _cpu_target(metrics[cpu])
    if metrics is not None and (cpu != 0 or len(metrics) > 1):
        annotations[_METRICS] = json.dumps(metrics)
    _put(annotations, _BEHAVIOR, spec.pop("behavior", None))
    current = status.pop("currentMetrics", None)
    percent = next((p for m in current or () if (p := _current_cpu(m)) is not None), None)
    if percent is not None:
        status["currentCPUUtilizationPercentage"] = percent
    _put(annotations, _CURRENT, current)
    _put(annotations, _CONDITIONS, status.pop("conditions", None))
    _set_annotations(obj, annotations)


def _current_cpu(metric: Object) -> int | None:
    resource = metric.get("resource") or {}
    found: int | None = (resource.get("current") or {}).get("averageUtilization")
    return found if resource.get("name") == "cpu" else None


def _put(annotations: dict[str, str], key: str, value: object) -> None:
    if value is not None:
        annotations[key] = json.dumps(value)


def _set_annotations(obj: Object, annotations: dict[str, str]) -> None:
    if annotations:
        obj["metadata"]["annotations"] = annotations
    else:
        obj["metadata"].pop("annotations", None)


def _autoscaler_to_v2(obj: Object) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    annotations = dict((obj["metadata"].get("annotations")) or {})
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = _taken(annotations, _METRICS)
    if percent is not None:
        metrics = _with_cpu(metrics, percent)
    for field, value in (("metrics", metrics), ("behavior", _taken(annotations, _BEHAVIOR))):
        if value is not None:
            spec[field] = value
    status.pop("currentCPUUtilizationPercentage", None)
    for field, key in (("currentMetrics", _CURRENT), ("conditions", _CONDITIONS)):
        value = _taken(annotations, key)
        if value is not None and "status" in obj:
            status[field] = value
    _set_annotations(obj, annotations)


def _with_cpu(metrics: list[Object] | None, percent: int) -> list[Object]:
    """The metrics with that percentage of CPU: in its place if one was there, otherwise first."""
    target = {"type": "Utilization", "averageUtilization": percent}
    wanted = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    found = list(metrics or ())
    place = next((index for index, metric in enumerate(found) if _cpu_target(metric) is not None), None)
    if place is None:
        return [wanted, *found]
    found[place] = wanted
    return found


def _taken(annotations: dict[str, str], key: str) -> Any:
    """What an annotation kept; None: it is absent, or people wrote something else into it."""
    text = annotations.pop(key, None)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict if key == _BEHAVIOR else list) else None


def _budget_to_v1(obj: Object) -> None:
    """An empty selector means no pods in v1beta1, and all of them in v1."""
    _swap_selector(obj, becomes=_SELECT_NONE, was=_SELECT_ALL)


def _budget_to_beta(obj: Object) -> None:
    _swap_selector(obj, becomes=_SELECT_ALL, was=_SELECT_NONE)


def _swap_selector(obj: Object, becomes: Object, was: Object) -> None:
    """An empty selector becomes the one, and the other becomes empty."""
    selector = (obj.get("spec") or {}).get("selector")
    if selector == {}:
        obj["spec"]["selector"] = copied(becomes)
    elif selector == was:
        obj["spec"]["selector"] = {}


def _event_to_core(obj: Object) -> None:
    _rename(obj, [(new, old) for old, new in _EVENT_FIELDS])


def _event_to_new(obj: Object) -> None:
    _rename(obj, _EVENT_FIELDS)


def _rename(obj: Object, pairs: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> None:
    moved = {target: obj.pop(source) for source, target in pairs if source in obj}
    obj.update(moved)


_STEPS: Final[dict[tuple[str, str, str], Convert]] = {
    ("autoscaling/v2", "autoscaling/v1", "HorizontalPodAutoscaler"): _autoscaler_to_v1,
    ("autoscaling/v1", "autoscaling/v2", "HorizontalPodAutoscaler"): _autoscaler_to_v2,
    ("policy/v1beta1", "policy/v1", "PodDisruptionBudget"): _budget_to_v1,
    ("policy/v1", "policy/v1beta1", "PodDisruptionBudget"): _budget_to_beta,
    ("events.k8s.io/v1", "v1", "Event"): _event_to_core,
    ("v1", "events.k8s.io/v1", "Event"): _event_to_new,
}
"""By the two apiVersions and the kind; versions that are not here have the same fields."""
