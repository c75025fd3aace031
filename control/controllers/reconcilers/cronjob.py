"""CronJob: a Job at each time its schedule names, by the clocks of its time zone.

Invariants: a scheduled time gives its Job a name, so no time is used twice, whoever leads; of several times that were
missed only the last is made up for; a schedule that cannot be read is an event, not a fault. Parts: cronjob_times.
Source: "CronJob" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from control.api.copying import copied
from control.api.cron import Schedule, parse_schedule
from control.api.schema import Object
from control.controllers.reconcilers.cronjob_times import due, is_zone, next_after
from control.controllers.reconcilers.job.pods import RESOURCE as JOBS
from control.controllers.reconcilers.job.reconciler import is_over
from control.controllers.values.actions import (
    NOTHING,
    Action,
    Create,
    Decision,
    Delete,
    Event,
    Key,
    Narration,
    Plan,
    Update,
    UpdateStatus,
)
from control.controllers.values.conditions import is_true
from control.controllers.values.objects import (
    annotations_of,
    cause,
    created_at,
    format_time,
    is_deleting,
    labels,
    name_of,
    namespace_of,
    object_reference,
    owner_reference,
    parse_time,
    same_status,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed

RESOURCE: Final = "cronjobs.batch"
SCHEDULED: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"
# What `kubectl create job --from` writes: the job belongs to us, but no time of the schedule stands for it.
BY_HAND: Final = "cronjob.kubernetes.io/instantiate"


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Start the job that is due, forget old ones, report, and look again at the next time."""
    owner = observed.get(RESOURCE, key.namespace, key.name)
    if owner is None:
        return NOTHING
    jobs = sorted(observed.controlled(JOBS, uid_of(owner)), key=lambda job: (_started(job), name_of(job)))
    plan = Plan()
    status = _status(plan, owner, jobs)
    plan.actions += _forget(owner, jobs)
    if not same_status(status, status_of(owner)):
        rule = f"status: {len(status['active'])} active"
        plan.actions.append(UpdateStatus(RESOURCE, with_status(owner, status), cause(RESOURCE, owner, rule)))
    if not is_deleting(owner) and not spec_of(owner).get("suspend"):
        _schedule(plan, owner, jobs, observed, status, now)
    return plan.decision()


# ---- what is due ----


def _schedule(
    plan: Plan, owner: Object, jobs: Sequence[Object], observed: Observed, status: dict[str, Any], now: datetime
) -> None:
    schedule = _parsed(plan, owner)
    if schedule is None:
        return
    zone = str(spec_of(owner).get("timeZone") or "")
    deadline = spec_of(owner).get("startingDeadlineSeconds")
    since = parse_time(status_of(owner).get("lastScheduleTime")) or created_at(owner)
    moment, missed = due(schedule, zone, since, now, deadline)
    following = next_after(schedule, zone, since, now)
    plan.look_again(None if following is None else max((following - now).total_seconds(), 0.0) + 0.1)
    if missed:
        text = (
            f"too many missed start times: {missed}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        )
        plan.events.append(Event(owner, "TooManyMissedTimes", text, "Warning"))
    if moment is None or status_of(owner).get("lastScheduleTime") == format_time(moment):
        return
    if _is_made(owner, moment, jobs, observed):
        plan.actions.append(_turn_taken(owner, moment, status))
        return
    if deadline is not None and (now - moment).total_seconds() > float(deadline):
        text = f"Missed scheduled time to start a job: {format_time(moment)}"
        plan.events.append(Event(owner, "MissSchedule", text, "Warning"))
        return
    _start(plan, owner, [job for job in jobs if not is_over(job) and not _by_hand(job)], moment, zone, status)


def _parsed(plan: Plan, owner: Object) -> Schedule | None:
    text, zone = str(spec_of(owner).get("schedule") or ""), spec_of(owner).get("timeZone")
    if zone and not is_zone(zone):
        words = f'invalid timeZone: "{zone}" : unknown time zone {zone}'
        plan.events.append(Event(owner, "UnknownTimeZone", words, "Warning"))
        return None
    try:
        return parse_schedule(text)
    except ValueError as problem:
        words = f'unparseable schedule: "{text}" : {problem}'
        plan.events.append(Event(owner, "UnparseableSchedule", words, "Warning"))
        return None


def _is_made(owner: Object, moment: datetime, jobs: Sequence[Object], observed: Observed) -> bool:
    """Whether that time's job is there, which the status does not say yet."""
    name = job_name(owner, moment)
    return any(name_of(job) == name for job in jobs) or observed.get(JOBS, namespace_of(owner), name) is not None


def job_name(owner: Object, moment: datetime) -> str:
    """The name of the job of a scheduled time: the minutes since 1970 tell them apart."""
    return f"{name_of(owner)}-{int(moment.timestamp()) // 60}"


def _start(
    plan: Plan, owner: Object, active: Sequence[Object], moment: datetime, zone: str, status: dict[str, Any]
) -> None:
    policy = spec_of(owner).get("concurrencyPolicy") or "Allow"
    if active and policy == "Forbid":
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        plan.events.append(Event(owner, "JobAlreadyActive", text))
        return
    if policy == "Replace":
        plan.actions += [_delete(owner, job, "concurrency policy Replace") for job in active]
    told = Narration(owner, "SuccessfulCreate", "Created job {name}", "FailedCreate", "Error creating job: {error}")
    because = cause(RESOURCE, owner, f"scheduled for {format_time(moment)}")
    plan.actions.append(Create(JOBS, _job(owner, moment, zone), because, told))
    plan.actions.append(_turn_taken(owner, moment, status))


def _turn_taken(owner: Object, moment: datetime, status: dict[str, Any]) -> Update:
    """Note that a time's job was made. An update like any other: a job that was refused must still have its turn."""
    noted = with_status(owner, {**status, "lastScheduleTime": format_time(moment)})
    return Update(RESOURCE, noted, cause(RESOURCE, owner, f"started: {format_time(moment)}"), subresource="status")


def _job(owner: Object, moment: datetime, zone: str) -> Object:
    template = spec_of(owner).get("jobTemplate") or {}
    given = {"metadata": template.get("metadata") or {}}
    stamp = moment.isoformat() if zone else format_time(moment)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(owner, moment),
            "namespace": namespace_of(owner),
            "labels": dict(labels(given)),
            "annotations": {**annotations_of(given), SCHEDULED: stamp},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": copied(template.get("spec") or {}),
    }


# ---- what was ----


def _status(plan: Plan, owner: Object, jobs: Sequence[Object]) -> dict[str, Any]:
    """Active jobs, and the last success; tells of jobs that ended since it last said they were active."""
    before = status_of(owner)
    going = [job for job in jobs if not is_over(job) and not is_deleting(job)]
    status = {**before, "active": [object_reference(job) for job in going if not _by_hand(job)]}
    for job in filter(_by_hand, going):
        text = f"Saw a job that the controller did not create or forgot: {name_of(job)}"
        plan.events.append(Event(owner, "UnexpectedJob", text, "Warning"))
    was_active = {reference.get("uid") for reference in before.get("active") or ()}
    for job in jobs:
        if uid_of(job) in was_active and is_over(job):
            kind = "Complete" if _succeeded(job) else "Failed"
            text = f"Saw completed job: {name_of(job)}, condition: {kind}"
            plan.events.append(Event(owner, "SawCompletedJob", text))
    missing = was_active - {uid_of(job) for job in jobs}
    for reference in before.get("active") or ():
        if reference.get("uid") in missing:
            text = f"Active job went missing: {reference.get('name')}"
            plan.events.append(Event(owner, "MissingJob", text))
    ends = [str(status_of(job).get("completionTime")) for job in jobs if _succeeded(job)]
    last = max([*(end for end in ends if end != "None"), before.get("lastSuccessfulTime") or ""])
    return {**status, "lastSuccessfulTime": last} if last else status


def _by_hand(job: Object) -> bool:
    return BY_HAND in annotations_of(job)


def _succeeded(job: Object) -> bool:
    return is_true(status_of(job).get("conditions"), "Complete")


def _started(job: Object) -> datetime:
    return parse_time(status_of(job).get("startTime")) or created_at(job)


def _forget(owner: Object, jobs: Sequence[Object]) -> list[Action]:
    """Delete the oldest jobs beyond what the history limits keep."""
    over = [job for job in jobs if is_over(job) and not is_deleting(job)]
    actions: list[Action] = []
    for field, default, found in (
        ("successfulJobsHistoryLimit", 3, [job for job in over if _succeeded(job)]),
        ("failedJobsHistoryLimit", 1, [job for job in over if not _succeeded(job)]),
    ):
        limit = spec_of(owner).get(field)
        keep = default if limit is None else int(limit)
        actions += [_delete(owner, job, f"{field}: {keep}") for job in found[: max(len(found) - keep, 0)]]
    return actions


def _delete(owner: Object, job: Object, rule: str) -> Delete:
    told = Narration(owner, "SuccessfulDelete", "Deleted job {name}", "FailedDelete", "Deleted job: {error}")
    because = cause(RESOURCE, owner, rule)
    return Delete(JOBS, namespace_of(job), name_of(job), uid_of(job), because, propagation="Background", tell=told)
