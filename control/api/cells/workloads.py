"""Columns of what makes and scales pods: Deployments and their like, Jobs, CronJobs, autoscalers, budgets."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from control.api.cells.words import NONE, UNKNOWN, UNSET, age, dig, human_duration, label_text, selector_text, since
from control.api.meta import controller_of, is_true, parse_time
from control.api.schema import Object

_JOB_STATES: Final = (
    ("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended"), ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)  # fmt: skip


def _template(obj: Object) -> Object:
    """The pod template of anything that has one."""
    spec = obj.get("spec") or {}
    job = dig(spec, "jobTemplate", "spec")
    return (job or spec).get("template") or obj.get("template") or {}


def _container_names(obj: Object, now: datetime) -> str:
    return ",".join(container.get("name", "") for container in dig(_template(obj), "spec", "containers") or ())


def _container_images(obj: Object, now: datetime) -> str:
    return ",".join(container.get("image", "") for container in dig(_template(obj), "spec", "containers") or ())


def _template_labels(obj: Object, now: datetime) -> str:
    return label_text(dig(_template(obj), "metadata", "labels"))


def _selector(obj: Object, now: datetime) -> str:
    """Services and ReplicationControllers have a plain map, all others a label selector."""
    selector = dig(obj, "spec", "selector")
    if obj.get("kind") in ("Service", "ReplicationController"):
        return label_text(selector)
    return selector_text(selector) if selector else NONE


def _replicas_ready(obj: Object, now: datetime) -> str:
    wanted = dig(obj, "spec", "replicas")
    return f"{dig(obj, 'status', 'readyReplicas') or 0}/{0 if wanted is None else wanted}"


def _node_selector(obj: Object, now: datetime) -> str:
    return label_text(dig(_template(obj), "spec", "nodeSelector"))


def _controller(obj: Object, now: datetime) -> str:
    owner = controller_of(obj)
    if owner is None:
        return NONE
    group = owner.get("apiVersion", "").rpartition("/")[0]
    kind = owner.get("kind", "").lower()
    return f"{kind}.{group}/{owner.get('name', '')}" if group else f"{kind}/{owner.get('name', '')}"


def _job_status(job: Object, now: datetime) -> str:
    for condition, word in _JOB_STATES[:2]:
        if is_true(job, condition):
            return word
    if dig(job, "metadata", "deletionTimestamp"):
        return "Terminating"
    return next((word for condition, word in _JOB_STATES[2:] if is_true(job, condition)), "Running")


def _job_completions(job: Object, now: datetime) -> str:
    done, wanted = dig(job, "status", "succeeded") or 0, dig(job, "spec", "completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallel = dig(job, "spec", "parallelism") or 0
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _job_duration(job: Object, now: datetime) -> str:
    start = dig(job, "status", "startTime")
    if not start:
        return ""
    end = dig(job, "status", "completionTime") or next(
        (c.get("lastTransitionTime") for c in dig(job, "status", "conditions") or () if _is_failure(c)), None
    )
    return human_duration(((parse_time(end) if end else now) - parse_time(start)).total_seconds())


def _is_failure(condition: Object) -> bool:
    return bool(condition.get("type") == "Failed" and condition.get("status") == "True")


def _time_zone(obj: Object, now: datetime) -> str:
    return dig(obj, "spec", "timeZone") or NONE


def _suspended(obj: Object, now: datetime) -> str:
    suspended = dig(obj, "spec", "suspend")
    return UNSET if suspended is None else str(bool(suspended))


def _active_count(obj: Object, now: datetime) -> int:
    return len(dig(obj, "status", "active") or ())


def _last_schedule(obj: Object, now: datetime) -> str:
    last = dig(obj, "status", "lastScheduleTime")
    return since(last, now) if last else NONE


def _budget(field: str) -> Any:
    def cell(obj: Object, now: datetime) -> str:
        value = dig(obj, "spec", field)
        return "N/A" if value is None else str(value)

    return cell


def _hpa_reference(obj: Object, now: datetime) -> str:
    target = dig(obj, "spec", "scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _hpa_minimum(obj: Object, now: datetime) -> str:
    minimum = dig(obj, "spec", "minReplicas")
    return UNSET if minimum is None else str(minimum)


def _hpa_targets(obj: Object, now: datetime) -> str:
    if obj.get("apiVersion") == "autoscaling/v1":
        return _v1_target(obj)
    metrics = dig(obj, "spec", "metrics") or ()
    if not metrics:
        return NONE
    current = dig(obj, "status", "currentMetrics") or ()
    texts = [_metric(spec, current[index] if index < len(current) else {}) for index, spec in enumerate(metrics)]
    more = f" + {len(texts) - 2} more..." if len(texts) > 2 else ""
    return ", ".join(texts[:2]) + more


def _v1_target(obj: Object) -> str:
    wanted = dig(obj, "spec", "targetCPUUtilizationPercentage")
    if wanted is None:
        return NONE
    current = dig(obj, "status", "currentCPUUtilizationPercentage")
    return f"cpu: {UNKNOWN if current is None else f'{current}%'}/{wanted}%"


def _metric(spec: Object, status: Object) -> str:
    source = spec.get("type", "")
    field = source[:1].lower() + source[1:]
    wanted, current = spec.get(field) or {}, dig(status, field, "current") or {}
    target = wanted.get("target") or {}
    name = f"{wanted['name']}: " if source in ("Resource", "ContainerResource") and wanted.get("name") else ""
    if target.get("averageUtilization") is not None:
        have = current.get("averageUtilization")
        return f"{name}{UNKNOWN if have is None else f'{have}%'}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        suffix = " (avg)" if source in ("External", "Object") else ""
        return f"{name}{current.get('averageValue') or UNKNOWN}/{target['averageValue']}{suffix}"
    return f"{name}{current.get('value') or UNKNOWN}/{target.get('value') or UNKNOWN}"


CELLS: Final = {
    "age": age,
    "container_names": _container_names,
    "container_images": _container_images,
    "template_labels": _template_labels,
    "selector": _selector,
    "replicas_ready": _replicas_ready,
    "node_selector": _node_selector,
    "controller": _controller,
    "job_status": _job_status,
    "job_completions": _job_completions,
    "job_duration": _job_duration,
    "time_zone": _time_zone,
    "suspended": _suspended,
    "active_count": _active_count,
    "last_schedule": _last_schedule,
    "budget_minimum": _budget("minAvailable"),
    "budget_maximum": _budget("maxUnavailable"),
    "hpa_reference": _hpa_reference,
    "hpa_minimum": _hpa_minimum,
    "hpa_targets": _hpa_targets,
}
