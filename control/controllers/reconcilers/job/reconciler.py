"""Job: pods until enough of them ended well, or too many badly.

Invariants: every pod is counted once (tally.py); a job that is over never starts a pod again; Complete and Failed come
only when no pod of it is left running. Parts: the files beside this one. Source: "Jobs".
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.api.selectors import label_selector_of, selector_of_labels
from control.controllers.reconcilers.job.backoff import waits
from control.controllers.reconcilers.job.pods import JOB_NAME, RESOURCE, give_up, manage, take_away, untrack
from control.controllers.reconcilers.job.policy import succeeded_early
from control.controllers.reconcilers.job.tally import (
    FINALIZER,
    Tally,
    completions,
    is_indexed,
    per_index_limit,
    tally,
)
from control.controllers.values.actions import NOTHING, Action, Decision, Event, Key, Patch, Plan, UpdateStatus
from control.controllers.values.conditions import find, is_true, set_condition
from control.controllers.values.objects import (
    cause,
    controller_of,
    finalizers,
    format_time,
    is_deleting,
    parse_time,
    same_status,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed
from control.controllers.values.ownership import claim
from control.controllers.values.pods import is_finished

_OURS: Final = "kubernetes.io/job-controller"
Target = tuple[str, str, str]
_FAILURE, _SUCCESS = "FailureTarget", "SuccessCriteriaMet"


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Count what ended, decide whether the job is over, start or end pods, report."""
    job = observed.get(RESOURCE, key.namespace, key.name)
    if job is not None and (spec_of(job).get("managedBy") or _OURS) != _OURS:
        return NOTHING
    freed = _free_strangers(key, job, observed)
    if job is None:
        return Decision(freed)
    selector = label_selector_of(spec_of(job).get("selector"))
    claimed = claim(observed, RESOURCE, job, "pods", selector)
    if claimed.reads:
        return Decision(reads=claimed.reads)
    pods = list(claimed.owned)
    if is_deleting(job):
        return Decision([*freed, *(_free(pod) for pod in pods if _may_go(pod))])
    plan = Plan([*freed, *claimed.actions])
    if is_over(job):
        plan.actions += [_free(pod) for pod in pods if _may_go(pod)]
        return plan.decision()
    _advance(plan, job, pods, now)
    return plan.decision()


def is_over(job: Object) -> bool:
    conditions = status_of(job).get("conditions")
    return is_true(conditions, "Complete") or is_true(conditions, "Failed")


def _advance(plan: Plan, job: Object, pods: list[Object], now: datetime) -> None:
    decided = _decided(job)
    found = tally(job, pods, ending=decided is not None)
    target = decided or _verdict(found, now)
    suspended = bool(spec_of(job).get("suspend")) and target is None
    todo: list[Action] = []
    if target is not None:
        # What still runs when a job failed, failed with it; a success leaves nothing to count.
        end = take_away if target[0] == _SUCCESS else give_up
        todo += end(job, found.active, f"the job is over: {target[1]}")
    elif suspended:
        todo += take_away(job, found.active, "the job is suspended")
    else:
        waiting = waits(found, now)
        todo += manage(found, waiting)
        plan.look_again(waiting.soonest)
        plan.look_again(_until_deadline(job, now))
    status = _status(plan, found, target, now, suspended=suspended)
    if not same_status(status, status_of(job)):
        rule = f"status: {status['active']} active, {found.done} completed, {found.failures} failed"
        plan.actions.append(UpdateStatus(RESOURCE, with_status(job, status), cause(RESOURCE, job, rule)))
    plan.actions += [_free(pod) for pod in found.noted]
    plan.actions += todo


# ---- is it over? ----


def _decided(job: Object) -> Target | None:
    """What was decided in an earlier pass."""
    for kind in (_FAILURE, _SUCCESS):
        held = find(status_of(job).get("conditions"), kind)
        if held is not None and held.get("status") == "True":
            return kind, held.get("reason", ""), held.get("message", "")
    return None


def _verdict(found: Tally, now: datetime) -> Target | None:
    """Whether it failed or succeeded: the condition's type, reason and message."""
    return _failed(found, now) or _succeeded(found)


def _failed(found: Tally, now: datetime) -> Target | None:
    job = found.job
    fatal = next((verdict for verdict in found.verdicts if verdict.action == "FailJob"), None)
    if fatal is not None:
        return _FAILURE, "PodFailurePolicy", fatal.message
    if _exhausted(found):
        return _FAILURE, "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    left = _until_deadline(job, now)
    if left is not None and left <= 0:
        return _FAILURE, "DeadlineExceeded", "Job was active longer than specified deadline"
    most = spec_of(job).get("maxFailedIndexes")
    if most is not None and len(found.failed_indexes) > int(most):
        text = "Job has exceeded the specified maximal number of failed indexes"
        return _FAILURE, "MaxFailedIndexesExceeded", text
    total = completions(job)
    if found.failed_indexes and total is not None and len(found.completed) + len(found.failed_indexes) >= total:
        return _FAILURE, "FailedIndexes", "Job has failed indexes"
    return None


def _exhausted(found: Tally) -> bool:
    """Whether pods failed, or containers were restarted in place, more often than backoffLimit allows."""
    limit = spec_of(found.job).get("backoffLimit")
    allowed = (2**31 - 1 if per_index_limit(found.job) is not None else 6) if limit is None else int(limit)
    if found.failures > allowed:
        return True
    if ((spec_of(found.job).get("template") or {}).get("spec") or {}).get("restartPolicy") != "OnFailure":
        return False
    count = sum(map(_restarts, (*found.active, *found.terminating)))
    return count > 0 if allowed == 0 else count >= allowed


def _restarts(pod: Object) -> int:
    """How often its containers were restarted, all of them together."""
    status = status_of(pod)
    containers = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return sum(int(container.get("restartCount") or 0) for container in containers)


def _succeeded(found: Tally) -> Target | None:
    job = found.job
    early = succeeded_early(job, found.completed) if is_indexed(job) else ""
    if early:
        return _SUCCESS, "SuccessPolicy", early
    total = completions(job)
    if total is None:
        over = found.done > 0 and not found.active
    else:
        over = found.done >= total
    return (_SUCCESS, "CompletionsReached", "Reached expected number of succeeded pods") if over else None


def _until_deadline(job: Object, now: datetime) -> float | None:
    seconds, start = spec_of(job).get("activeDeadlineSeconds"), parse_time(status_of(job).get("startTime"))
    if seconds is None or start is None or spec_of(job).get("suspend"):
        return None
    return float(seconds) - (now - start).total_seconds()


# ---- status ----


def _status(plan: Plan, found: Tally, target: Target | None, now: datetime, *, suspended: bool) -> dict[str, Any]:
    before = status_of(found.job)
    status = {**before, **found.counts()}
    conditions = before.get("conditions") or []
    if target is not None:
        kind, reason, message = target
        conditions = set_condition(conditions, kind, "True", now, reason=reason, message=message)
        if not found.active and not found.terminating and not any(found.uncounted.values()):
            conditions = _close(plan, found, conditions, target, status, now)
    elif suspended:
        conditions = _suspend(plan, found.job, conditions, status, now)
    else:
        conditions = _resume(plan, found.job, conditions, status, now)
    return {**status, "conditions": conditions}


def _close(
    plan: Plan, found: Tally, conditions: list[dict[str, Any]], target: Target, status: dict[str, Any], now: datetime
) -> list[dict[str, Any]]:
    """No pod is left: say how it ended."""
    kind, reason, message = target
    if kind == _SUCCESS:
        status["completionTime"] = format_time(now)
        plan.events.append(Event(found.job, "Completed", "Job completed"))
        return set_condition(conditions, "Complete", "True", now, reason=reason, message=message)
    plan.events.append(Event(found.job, reason, message, "Warning"))
    return set_condition(conditions, "Failed", "True", now, reason=reason, message=message)


def _suspend(
    plan: Plan, job: Object, conditions: list[dict[str, Any]], status: dict[str, Any], now: datetime
) -> list[dict[str, Any]]:
    if is_true(conditions, "Suspended"):
        return conditions
    status.pop("startTime", None)
    plan.events.append(Event(job, "Suspended", "Job suspended"))
    return set_condition(conditions, "Suspended", "True", now, reason="JobSuspended", message="Job suspended")


def _resume(
    plan: Plan, job: Object, conditions: list[dict[str, Any]], status: dict[str, Any], now: datetime
) -> list[dict[str, Any]]:
    status.setdefault("startTime", format_time(now))
    if not is_true(conditions, "Suspended"):
        return conditions
    status["startTime"] = format_time(now)
    plan.events.append(Event(job, "Resumed", "Job resumed"))
    return set_condition(conditions, "Suspended", "False", now, reason="JobResumed", message="Job resumed")


# ---- finalizers ----


def _free(pod: Object) -> Patch:
    return untrack(pod, "has noted how it ended")


def _may_go(pod: Object) -> bool:
    """Of a job that is over or going: whether its pod need not be kept for counting."""
    return FINALIZER in finalizers(pod) and (is_finished(pod) or is_deleting(pod))


def _free_strangers(key: Key, job: Object | None, observed: Observed) -> list[Action]:
    """Pods of a job of that name that is gone: nobody will count them."""
    pods = observed.pods(key.namespace, selector_of_labels({JOB_NAME: key.name}))
    uid = uid_of(job) if job is not None else ""
    return [
        _free(pod)
        for pod in pods
        if FINALIZER in finalizers(pod) and (owner := controller_of(pod)) is not None and owner["uid"] != uid
    ]
