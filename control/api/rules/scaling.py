"""Rules for what counts: autoscalers, disruption budgets, quotas, limits, Scale.

Source: HorizontalPodAutoscalerSpec, PodDisruptionBudgetSpec, ResourceQuotaSpec and LimitRangeSpec in Kubernetes' API
reference.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from control.api.fielderrors import duplicate, forbidden, invalid, not_supported, required
from control.api.quantity import ZERO, Quantity
from control.api.rules.checks import Causes, amounts, at_least, count_or_percent, fields_unchanged, qualified
from control.api.rules.containers import check_amount
from control.api.schema import Object

_METRICS: Final = {
    "Resource": "resource", "Pods": "pods", "Object": "object", "External": "external",
    "ContainerResource": "containerResource",
}  # fmt: skip
_TARGETS: Final = {"Utilization": "averageUtilization", "AverageValue": "averageValue", "Value": "value"}
_MAX_WINDOW: Final = 3600
_MAX_PERIOD: Final = 1800


def check_autoscaler(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    low, high = spec.get("minReplicas"), spec.get("maxReplicas")
    yield from at_least(spec, "spec", 1, "minReplicas", "maxReplicas")
    if low is not None and high is not None and high < low:
        yield invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
    yield from at_least(spec, "spec", 1, "targetCPUUtilizationPercentage")
    for index, metric in enumerate(spec.get("metrics", ())):
        yield from _metric(metric, f"spec.metrics[{index}]")
    for field, rules in spec.get("behavior", {}).items():
        yield from _scaling_rules(rules, f"spec.behavior.{field}")


def _metric(metric: Object, at: str) -> Causes:
    kind = metric.get("type")
    if kind not in _METRICS:
        if kind:
            yield not_supported(f"{at}.type", kind, _METRICS)
        return
    field = _METRICS[kind]
    if field not in metric:
        yield required(f"{at}.{field}", f"must populate information for the given metric source: {kind}")
    for other in _METRICS.values():
        if other != field and other in metric:
            yield forbidden(f"{at}.{other}", f"must populate the given metric source only: {kind}")
    if field in metric:
        yield from _target(metric[field].get("target", {}), f"{at}.{field}.target")


def _target(target: Object, at: str) -> Causes:
    kind = target.get("type")
    if not kind:
        return
    if kind not in _TARGETS:
        yield not_supported(f"{at}.type", kind, _TARGETS)
    elif _TARGETS[kind] not in target:
        yield required(f"{at}.{_TARGETS[kind]}", f"must be set for a target of type {kind}")
    yield from at_least(target, at, 1, "averageUtilization")
    for field in ("value", "averageValue"):
        if field in target and Quantity.parse(target[field]) <= ZERO:
            yield invalid(f"{at}.{field}", target[field], "must be positive")


def _scaling_rules(rules: Object, at: str) -> Causes:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and not 0 <= window <= _MAX_WINDOW:
        words = f"must be greater than or equal to zero and less than or equal to {_MAX_WINDOW}"
        yield invalid(f"{at}.stabilizationWindowSeconds", window, words)
    choices = ("Max", "Min", "Disabled")
    if rules.get("selectPolicy", "Max") not in choices:
        yield not_supported(f"{at}.selectPolicy", rules["selectPolicy"], choices)
    if not rules.get("policies"):
        yield required(f"{at}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies", ())):
        place = f"{at}.policies[{index}]"
        if policy.get("type") not in ("Pods", "Percent"):
            yield not_supported(f"{place}.type", policy.get("type", ""), ("Pods", "Percent"))
        yield from at_least(policy, place, 1, "value", "periodSeconds")
        if policy.get("periodSeconds", 0) > _MAX_PERIOD:
            yield invalid(
                f"{place}.periodSeconds", policy["periodSeconds"], f"must be less than or equal to {_MAX_PERIOD}"
            )


def check_budget(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    if "minAvailable" in spec and "maxUnavailable" in spec:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for field in ("minAvailable", "maxUnavailable"):
        yield from count_or_percent(spec.get(field), f"spec.{field}", most=100)


def check_quota(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    yield from amounts(spec.get("hard"), "spec.hard")
    for name in spec.get("hard", {}):
        yield from qualified(name.replace("/", "-", max(0, name.count("/") - 1)), f"spec.hard[{name}]")
    scopes = spec.get("scopes", ())
    for one, other in (("Terminating", "NotTerminating"), ("BestEffort", "NotBestEffort")):
        if one in scopes and other in scopes:
            yield invalid("spec.scopes", scopes, "conflicting scopes")


def check_quota_update(new: Object, old: Object) -> Causes:
    yield from fields_unchanged(new.get("spec", {}), old.get("spec", {}), "spec", "scopes", "scopeSelector")


def check_limit_range(obj: Object) -> Causes:
    seen: set[str] = set()
    for index, item in enumerate(obj.get("spec", {}).get("limits", ())):
        at, kind = f"spec.limits[{index}]", item.get("type", "")
        if kind and kind in seen:
            yield duplicate(f"{at}.type", kind)
        seen.add(kind)
        if kind == "Pod":
            for field in ("default", "defaultRequest"):
                if field in item:
                    yield forbidden(f"{at}.{field}", "may not be specified when `type` is 'Pod'")
        if kind == "PersistentVolumeClaim" and not item.get("min") and not item.get("max"):
            yield required(
                f"{at}.limits", "either minimum or maximum storage value is required, but neither was provided"
            )
        yield from _limits(item, at)


def _limits(item: Object, at: str) -> Causes:
    order = ("min", "defaultRequest", "default", "max")
    for name in sorted({name for field in order for name in item.get(field, {})}):
        given = [(field, item[field][name]) for field in order if name in item.get(field, {})]
        for (field, low), (bigger, high) in pairwise(given):
            if Quantity.parse(low) > Quantity.parse(high):
                words = f"{field} value {low} is greater than {bigger} value {high}"
                yield invalid(f"{at}.{field}[{name}]", low, words)
        for field, value in given:
            yield from check_amount(value, f"{at}.{field}[{name}]")


def check_scale(obj: Object) -> Causes:
    yield from at_least(obj.get("spec", {}), "spec", 0, "replicas")
