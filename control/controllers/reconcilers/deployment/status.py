"""What a deployment says of itself: counts, Available, Progressing (with its deadline) and ReplicaFailure.

Invariant: the deadline runs from the last progress: a pod more that is updated, ready or available, or an old pod less.
Source: "Deployment status" in Kubernetes' documentation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from control.api.schema import Object
from control.controllers.reconcilers.deployment.sets import RESOURCE, REVISION_HISTORY, Rollout
from control.controllers.values.actions import Plan, UpdateStatus
from control.controllers.values.conditions import Condition, find, set_condition, without_condition
from control.controllers.values.objects import (
    annotations_of,
    cause,
    format_time,
    generation_of,
    name_of,
    parse_time,
    same_status,
    spec_of,
    status_of,
    with_status,
)

_COMPLETE, _TIMED_OUT, _PAUSED = "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"


def report(plan: Plan, rollout: Rollout, failure: str, now: datetime) -> None:
    """Write the status if it changed, and look again when the deadline is over."""
    if any(isinstance(action, UpdateStatus) for action in plan.actions):
        return
    before = status_of(rollout.deployment)
    status = counts(rollout)
    status["conditions"] = _conditions(rollout, before, status, failure, now)
    if not same_status(status, before):
        updated, available = status["updatedReplicas"], status["availableReplicas"]
        rule = f"status: {updated} of {rollout.replicas} updated, {available} available"
        because = cause(RESOURCE, rollout.deployment, rule)
        plan.actions.append(UpdateStatus(RESOURCE, with_status(rollout.deployment, status), because))
    plan.look_again(_until_deadline(rollout, status["conditions"], now))


def counts(rollout: Rollout) -> dict[str, Any]:
    """The numbers of the status, from the statuses of the sets."""
    states = [status_of(rs) for rs in rollout.sets]
    total, available = (sum(int(s.get(name) or 0) for s in states) for name in ("replicas", "availableReplicas"))
    new = status_of(rollout.new) if rollout.new is not None else {}
    # What the sets should have, surge included.
    wanted = sum(int(spec_of(rs).get("replicas") or 0) for rs in rollout.sets)
    status = {
        "observedGeneration": generation_of(rollout.deployment),
        "replicas": total,
        "updatedReplicas": int(new.get("replicas") or 0),
        "readyReplicas": sum(int(s.get("readyReplicas") or 0) for s in states),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available),
    }
    collisions = status_of(rollout.deployment).get("collisionCount")
    return {**status, "collisionCount": collisions} if collisions else status


def _conditions(
    rollout: Rollout, before: dict[str, Any], status: dict[str, Any], failure: str, now: datetime
) -> list[Condition]:
    conditions = _available(rollout, before.get("conditions") or [], status, now)
    conditions = _failing(rollout, conditions)
    if _deadline(rollout) is None:
        return without_condition(conditions, "Progressing")
    told = _progress(rollout, before, status, failure, now)
    if told is None:
        return conditions
    value, reason, message = told
    old = find(conditions, "Progressing")
    if old is not None and (old.get("status"), old.get("reason")) == (value, reason) and reason != "ReplicaSetUpdated":
        return conditions
    stamp = format_time(now)
    return set_condition(conditions, "Progressing", value, now, reason=reason, message=message, lastUpdateTime=stamp)


def _available(rollout: Rollout, conditions: list[Condition], status: dict[str, Any], now: datetime) -> list[Condition]:
    enough = status["availableReplicas"] >= rollout.replicas - rollout.unavailable
    if enough:
        value, reason, message = "True", "MinimumReplicasAvailable", "Deployment has minimum availability."
    else:
        value, reason = "False", "MinimumReplicasUnavailable"
        message = "Deployment does not have minimum availability."
    old = find(conditions, "Available")
    if old is not None and (old.get("status"), old.get("reason")) == (value, reason):
        return conditions
    stamp = format_time(now)
    return set_condition(conditions, "Available", value, now, reason=reason, message=message, lastUpdateTime=stamp)


def _failing(rollout: Rollout, conditions: list[Condition]) -> list[Condition]:
    """ReplicaFailure as the new set has it, or an old one."""
    order = [rollout.new, *rollout.old] if rollout.new is not None else rollout.old
    failing = [found for rs in order if (found := find(status_of(rs).get("conditions"), "ReplicaFailure"))]
    others = without_condition(conditions, "ReplicaFailure")
    if not failing:
        return others
    updated = failing[0].get("lastTransitionTime")
    return [*others, {**failing[0], **({"lastUpdateTime": updated} if updated else {})}]


def _progress(
    rollout: Rollout, before: dict[str, Any], status: dict[str, Any], failure: str, now: datetime
) -> tuple[str, str, str] | None:
    """Status, reason and message of Progressing; None: as it was."""
    old = find(before.get("conditions"), "Progressing") or {}
    if rollout.paused:
        return None if old.get("reason") == _TIMED_OUT else ("Unknown", _PAUSED, "Deployment is paused")
    if old.get("reason") == _PAUSED:
        return "Unknown", "DeploymentResumed", "Deployment is resumed"
    if rollout.new is None:
        return ("False", "ReplicaSetCreateError", f"Failed to create new replica set: {failure}") if failure else None
    name = f'ReplicaSet "{name_of(rollout.new)}"'
    if _is_complete(rollout, status):
        return "True", _COMPLETE, f"{name} has successfully progressed."
    if old.get("reason") == _COMPLETE and status["replicas"] == status["updatedReplicas"] and name in _message(old):
        return None
    if f'"{name_of(rollout.new)}"' not in _message(old):
        return _begun(rollout.new)
    if _moved(before, status):
        return "True", "ReplicaSetUpdated", f"{name} is progressing."
    if _is_overdue(rollout, old, now):
        return "False", _TIMED_OUT, f"{name} has timed out progressing."
    return None


def _message(condition: Condition) -> str:
    return str(condition.get("message", ""))


def _begun(new: Object) -> tuple[str, str, str]:
    if REVISION_HISTORY in annotations_of(new):
        return "True", "FoundNewReplicaSet", f'Found new replica set "{name_of(new)}"'
    return "True", "NewReplicaSetCreated", f'Created new replica set "{name_of(new)}"'


def _is_complete(rollout: Rollout, status: dict[str, Any]) -> bool:
    return all(status[name] == rollout.replicas for name in ("updatedReplicas", "replicas", "availableReplicas"))


def _moved(before: dict[str, Any], status: dict[str, Any]) -> bool:
    more = any(
        status[name] > int(before.get(name) or 0) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    old_now = status["replicas"] - status["updatedReplicas"]
    old_then = int(before.get("replicas") or 0) - int(before.get("updatedReplicas") or 0)
    return more or old_now < old_then


def _deadline(rollout: Rollout) -> int | None:
    """Seconds; None: no deadline (the largest 32-bit number means that, too)."""
    seconds = spec_of(rollout.deployment).get("progressDeadlineSeconds")
    return None if seconds in (None, 2**31 - 1) else int(seconds)


def _is_overdue(rollout: Rollout, progressing: Condition, now: datetime) -> bool:
    left = _left(rollout, progressing, now)
    return progressing.get("reason") == _TIMED_OUT or (left is not None and left <= 0)


def _left(rollout: Rollout, progressing: Condition, now: datetime) -> float | None:
    since, deadline = parse_time(progressing.get("lastUpdateTime")), _deadline(rollout)
    if since is None or deadline is None:
        return None
    return deadline - (now - since).total_seconds()


def _until_deadline(rollout: Rollout, conditions: list[Condition], now: datetime) -> float | None:
    progressing = find(conditions, "Progressing")
    if progressing is None or rollout.paused or progressing.get("reason") in (_COMPLETE, _TIMED_OUT):
        return None
    left = _left(rollout, progressing, now)
    return None if left is None else max(left, 0.0) + 1.0
