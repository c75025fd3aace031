"""TTL after finished: a Job that has ended is deleted ttlSecondsAfterFinished later, with its pods.

Invariant: before deleting, the server is asked for the job as it is now: its time to live may have been raised.
Source: "Automatic Cleanup for Finished Jobs" in Kubernetes' documentation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from control.api.schema import Object
from control.controllers.values.actions import NOTHING, Decision, Delete, Key, Read
from control.controllers.values.objects import cause, is_deleting, parse_time, spec_of, status_of, uid_of
from control.controllers.values.observed import Observed

RESOURCE: Final = "jobs.batch"


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Delete the job when its time is over, or look again then."""
    job = observed.get(RESOURCE, key.namespace, key.name)
    left = _left(job, now) if job is not None else None
    if job is None or left is None:
        return NOTHING
    if left > 0:
        return Decision(requeue_after=left)
    question = Read(RESOURCE, key.namespace, key.name)
    answer = observed.answers.get(question)
    if answer is None:
        return Decision(reads=[question])
    if answer.object is None or uid_of(answer.object) != uid_of(job):
        return NOTHING
    left = _left(answer.object, now)
    if left is None or left > 0:
        return Decision(requeue_after=left)
    rule = f"ttlSecondsAfterFinished: {spec_of(answer.object)['ttlSecondsAfterFinished']} s after its end"
    because = cause(RESOURCE, answer.object, rule)
    return Decision([Delete(RESOURCE, key.namespace, key.name, uid_of(job), because, propagation="Foreground")])


def _left(job: Object, now: datetime) -> float | None:
    """Seconds it still has; None when it does not end that way."""
    ttl, end = spec_of(job).get("ttlSecondsAfterFinished"), finished_at(job)
    if ttl is None or end is None or is_deleting(job):
        return None
    return float(ttl) - (now - end).total_seconds()


def finished_at(job: Object) -> datetime | None:
    """When a job ended: its Complete or Failed condition became true."""
    for condition in status_of(job).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return parse_time(condition.get("lastTransitionTime"))
    return None
