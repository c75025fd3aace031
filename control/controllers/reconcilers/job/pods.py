"""The pods of a job: how many more or fewer, for which indexes, and what they look like.

Invariants: never more active pods than parallelism; an index has at most one active pod, and none once it completed or
failed; what the controller itself takes away of a job that goes on is no failure. Source: "Jobs: Parallel execution,
Completion mode" in Kubernetes' documentation; for what is no failure, deleteJobPods of its job controller.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from control.api.schema import Object
from control.controllers.reconcilers.job.backoff import Waits
from control.controllers.reconcilers.job.indexes import INDEX, index_of
from control.controllers.reconcilers.job.tally import (
    FAILURES,
    FINALIZER,
    IGNORED,
    Tally,
    completions,
    failures_of,
    is_indexed,
    per_index_limit,
    replaces_only_failed,
)
from control.controllers.values.actions import Action, Create, Delete, Narration, Patch
from control.controllers.values.objects import (
    annotations_of,
    cause,
    controller_of,
    created_at,
    finalizers,
    labels,
    name_of,
    namespace_of,
    spec_of,
    uid_of,
)
from control.controllers.values.pods import is_ready, phase
from control.controllers.values.templates import pod_from, prefix_of

RESOURCE: Final = "jobs.batch"
JOB_NAME: Final = "batch.kubernetes.io/job-name"
CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
_BURST: Final = 500
_ENV: Final = "JOB_COMPLETION_INDEX"


def parallelism(job: Object) -> int:
    value = spec_of(job).get("parallelism")
    return 1 if value is None else int(value)


def wanted_active(found: Tally) -> int:
    """How many pods should be at work now."""
    total, most = completions(found.job), parallelism(found.job)
    if total is None:
        # A work queue: once one pod has ended well, the others finish and none is added.
        return min(len(found.active), most) if found.done else most
    return max(0, min(total - found.done - len(found.failed_indexes), most))


def manage(found: Tally, waits: Waits) -> list[Action]:
    """Create or delete pods. An index that waits after a failure keeps its place: no other one takes it."""
    surplus = _surplus(found)
    if surplus:
        return take_away(found.job, surplus, "more pods than parallelism")
    occupied = len(found.active) + (len(found.terminating) if replaces_only_failed(found.job) else 0)
    missing = wanted_active(found) - occupied
    if missing <= 0 or waits.job > 0:
        return []
    if not is_indexed(found.job):
        return [_create(found, None) for _ in range(min(missing, _BURST))]
    free = _free(found, min(missing, _BURST))
    return [_create(found, index) for index in free if index not in waits.indexes]


def _surplus(found: Tally) -> list[Object]:
    """Second pods of an index, pods of indexes that are over, then the youngest beyond what is wanted."""
    keep, drop = [], []
    seen: set[int | None] = set()
    over = found.completed | found.failed_indexes
    for pod in sorted(found.active, key=_worth):
        index = index_of(pod)
        if is_indexed(found.job) and (index is None or index in seen or index in over or not _exists(found, index)):
            drop.append(pod)
            continue
        seen.add(index)
        keep.append(pod)
    return drop + keep[wanted_active(found) :]


def _exists(found: Tally, index: int) -> bool:
    return index < (completions(found.job) or 0)


def _worth(pod: Object) -> tuple[Any, ...]:
    """Those that have come furthest first."""
    return phase(pod) != "Running", not is_ready(pod), created_at(pod), name_of(pod)


def _free(found: Tally, count: int) -> list[int]:
    """The lowest indexes that are neither over nor at work."""
    taken = found.completed | found.failed_indexes
    holders = [*found.active, *(found.terminating if replaces_only_failed(found.job) else [])]
    taken |= {index for pod in holders if (index := index_of(pod)) is not None}
    free: list[int] = []
    for index in range(completions(found.job) or 0):
        if len(free) == count:
            break
        if index not in taken:
            free.append(index)
    return free


def _create(found: Tally, index: int | None) -> Create:
    job = found.job
    told = Narration(job, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}")
    rule = f"{len(found.active)} active, {found.done} completed: create " + (
        "a pod" if index is None else f"index {index}"
    )
    return Create("pods", _pod(found, index), cause(RESOURCE, job, rule), told)


def _pod(found: Tally, index: int | None) -> Object:
    job = found.job
    pod = pod_from(spec_of(job).get("template") or {}, job)
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["labels"] = {**labels(pod), JOB_NAME: name_of(job), CONTROLLER_UID: uid_of(job)}
    metadata["finalizers"] = [FINALIZER]
    if index is None:
        return pod
    metadata["generateName"] = prefix_of(f"{name_of(job)}-{index}")
    metadata["labels"][INDEX] = str(index)
    metadata["annotations"] = {**annotations_of(pod), INDEX: str(index), **_failures(found, index)}
    spec.setdefault("hostname", f"{name_of(job)}-{index}"[:63].rstrip("-"))
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        if not any(entry.get("name") == _ENV for entry in container.get("env") or ()):
            container["env"] = [*(container.get("env") or ()), {"name": _ENV, "valueFrom": source}]
    return pod


def _failures(found: Tally, index: int) -> dict[str, str]:
    """How often the index failed before, passed on from pod to pod."""
    if per_index_limit(found.job) is None:
        return {}
    of = [failures_of(found.job, pod) for pod in found.ended_badly if index_of(pod) == index]
    counted, ignored = max(of, key=sum, default=(0, 0))
    return {FAILURES: str(counted), **({IGNORED: str(ignored)} if ignored else {})}


def take_away(job: Object, pods: Iterable[Object], rule: str) -> list[Action]:
    """Delete pods that are not to count as failures: without the finalizer nobody counts them.

    One after the other, so that a refusal leaves at most one pod at work without the finalizer. The patch holds the
    revision that was looked at: a pod that ended meanwhile keeps its finalizer, and is counted.
    """
    actions: list[Action] = []
    for pod in pods:
        if FINALIZER in finalizers(pod):
            actions.append(untrack(pod, "does not count the pods it takes away"))
        actions.append(_delete(job, pod, rule))
    return actions


def give_up(job: Object, pods: Iterable[Object], rule: str) -> list[Action]:
    """Delete pods of a job that failed: they keep the finalizer until they are counted as failures."""
    return [_delete(job, pod, rule) for pod in pods]


def untrack(pod: Object, rule: str) -> Patch:
    """Take the finalizer off a pod that need not be kept for counting."""
    kept = [name for name in finalizers(pod) if name != FINALIZER]
    guard = {"uid": uid_of(pod), "resourceVersion": pod["metadata"]["resourceVersion"]}
    owner = controller_of(pod) or {}
    because = cause("pods", pod, f"job {owner.get('name', '')} {rule}")
    patch = {"metadata": {**guard, "finalizers": kept}}
    return Patch("pods", namespace_of(pod), name_of(pod), patch, because)


def _delete(job: Object, pod: Object, rule: str) -> Delete:
    told = Narration(job, "SuccessfulDelete", "Deleted pod: {name}", "FailedDelete", "Error deleting: {error}")
    because = cause(RESOURCE, job, rule)
    return Delete("pods", namespace_of(pod), name_of(pod), uid_of(pod), because, tell=told)
