"""Counting a job's pods, each of them once, whatever fails in between.

A pod that ended is first noted in the status (uncountedTerminatedPods, or its index as completed), then loses its
finalizer, and only when it has lost it is counted for good and taken out of the note. So a pod can neither be deleted
before it was noted, nor be counted twice. Source: "Jobs: Job tracking with finalizers", JobStatus in the API reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from control.api.schema import Object
from control.controllers.reconcilers.job.indexes import index_of, parse, text_of
from control.controllers.reconcilers.job.policy import Verdict, judge
from control.controllers.values.objects import (
    annotations_of,
    created_at,
    finalizers,
    is_deleting,
    spec_of,
    status_of,
    uid_of,
)
from control.controllers.values.pods import is_active, is_finished, is_ready, phase

FINALIZER: Final = "batch.kubernetes.io/job-tracking"
FAILURES: Final = "batch.kubernetes.io/job-index-failure-count"
IGNORED: Final = "batch.kubernetes.io/job-index-ignored-failure-count"
# Pods noted in one pass.
_BATCH: Final = 500


def completions(job: Object) -> int | None:
    value = spec_of(job).get("completions")
    return None if value is None else int(value)


def is_indexed(job: Object) -> bool:
    return spec_of(job).get("completionMode") == "Indexed"


def per_index_limit(job: Object) -> int | None:
    value = spec_of(job).get("backoffLimitPerIndex")
    return None if value is None else int(value)


def replaces_only_failed(job: Object) -> bool:
    """Whether a pod that is still ending keeps its place."""
    policy = spec_of(job).get("podReplacementPolicy")
    return policy == "Failed" or (policy is None and bool(spec_of(job).get("podFailurePolicy")))


@dataclass(slots=True)
class Tally:
    """active, terminating: pods; noted: those whose finalizer may go now that the status says how they ended.

    succeeded, failed: what status will say; pending_failures: ended badly, in no number yet. verdicts: of new failures.
    """

    job: Object
    active: list[Object]
    terminating: list[Object]
    succeeded: int
    failed: int
    completed: set[int]
    failed_indexes: set[int]
    uncounted: dict[str, list[str]]
    noted: list[Object] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    ended_badly: list[Object] = field(default_factory=list)
    ended_well: list[Object] = field(default_factory=list)
    pending_failures: int = 0

    @property
    def ready(self) -> int:
        return sum(map(is_ready, self.active))

    @property
    def done(self) -> int:
        """How many completions there are, also those not yet counted for good."""
        if is_indexed(self.job):
            return len(self.completed)
        return self.succeeded + len(self.uncounted["succeeded"])

    @property
    def failures(self) -> int:
        """How many pods failed, also those not yet counted for good."""
        return self.failed + len(self.uncounted["failed"]) + self.pending_failures

    def counts(self) -> dict[str, Any]:
        """The status fields that count."""
        found: dict[str, Any] = {
            "active": len(self.active),
            "ready": self.ready,
            "terminating": len(self.terminating),
            "succeeded": len(self.completed) if is_indexed(self.job) else self.succeeded,
            "failed": self.failed,
            "uncountedTerminatedPods": {kind: uids for kind, uids in self.uncounted.items() if uids},
        }
        if is_indexed(self.job):
            found["completedIndexes"] = text_of(self.completed)
        if per_index_limit(self.job) is not None:
            found["failedIndexes"] = text_of(self.failed_indexes)
        return found


def tally(job: Object, pods: Sequence[Object], *, ending: bool) -> Tally:
    """Count. ending: the job is over, so nothing is kept back any more."""
    status, total = status_of(job), completions(job) or 0
    uncounted = status.get("uncountedTerminatedPods") or {}
    found = Tally(
        job,
        active=[pod for pod in pods if is_active(pod)],
        terminating=[pod for pod in pods if is_deleting(pod) and not is_finished(pod)],
        succeeded=int(status.get("succeeded") or 0),
        failed=int(status.get("failed") or 0),
        completed=parse(status.get("completedIndexes") or "", total),
        failed_indexes=parse(status.get("failedIndexes") or "", total),
        uncounted={kind: list(uncounted.get(kind) or ()) for kind in ("succeeded", "failed")},
    )
    _settle(found, pods)
    for pod in sorted(pods, key=created_at):
        _look_at(found, pod)
    _keep_back(found, pods, ending=ending)
    return found


def _settle(found: Tally, pods: Iterable[Object]) -> None:
    """Count for good what was noted and has lost its finalizer; what has not will lose it."""
    tracked = {uid_of(pod): pod for pod in pods if FINALIZER in finalizers(pod)}
    for kind, uids in found.uncounted.items():
        still = [uid for uid in uids if uid in tracked]
        found.noted += [tracked[uid] for uid in still]
        gone = len(uids) - len(still)
        found.uncounted[kind] = still
        if kind == "succeeded":
            found.succeeded += gone
        else:
            found.failed += gone


def _look_at(found: Tally, pod: Object) -> None:
    if is_deleting(pod) and FINALIZER not in finalizers(pod):
        # Taken away by the controller, or counted before: it says nothing new, and is nothing to wait for.
        return
    ended_well = phase(pod) == "Succeeded"
    if not ended_well and not _ended_badly(found.job, pod):
        return
    (found.ended_well if ended_well else found.ended_badly).append(pod)
    noted = {uid for uids in found.uncounted.values() for uid in uids}
    if FINALIZER not in finalizers(pod) or uid_of(pod) in noted or len(noted) >= _BATCH:
        return
    if ended_well:
        _note_success(found, pod)
    else:
        _note_failure(found, pod)


def _ended_badly(job: Object, pod: Object) -> bool:
    if phase(pod) == "Failed":
        return True
    return is_deleting(pod) and not is_finished(pod) and not replaces_only_failed(job)


def _note_success(found: Tally, pod: Object) -> None:
    if is_indexed(found.job):
        index = index_of(pod)
        if index is not None and index < (completions(found.job) or 0):
            found.completed.add(index)
    else:
        found.uncounted["succeeded"].append(uid_of(pod))
    found.noted.append(pod)


def _note_failure(found: Tally, pod: Object) -> None:
    verdict = judge(found.job, pod) if phase(pod) == "Failed" else Verdict()
    found.verdicts.append(verdict)
    index, limit = index_of(pod), per_index_limit(found.job)
    if limit is not None and index is not None:
        over = failures_of(found.job, pod)[0] > limit
        if (over or verdict.action == "FailIndex") and index not in found.completed:
            found.failed_indexes.add(index)
    if verdict.action != "Ignore":
        found.uncounted["failed"].append(uid_of(pod))
    found.noted.append(pod)


def failures_of(job: Object, pod: Object) -> tuple[int, int]:
    """With a limit for each index: how often the index failed, this failed pod included: as it counts, and ignored."""
    ignored = judge(job, pod).action == "Ignore"
    return _number(pod, FAILURES) + (not ignored), _number(pod, IGNORED) + ignored


def _number(pod: Object, annotation: str) -> int:
    text = annotations_of(pod).get(annotation, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def last_failures(found: Tally) -> dict[int, Object]:
    """Index → its last pod that failed."""
    oldest_first = sorted(found.ended_badly, key=created_at)
    return {index: pod for pod in oldest_first if (index := index_of(pod)) is not None}


def _keep_back(found: Tally, pods: Sequence[Object], *, ending: bool) -> None:
    """The last failed pod of an index carries how often it failed: it stays until a new pod has taken that over."""
    if ending or per_index_limit(found.job) is None:
        return
    replaced = {index_of(pod) for pod in found.active}
    for index, pod in last_failures(found).items():
        if index in replaced or index in found.failed_indexes or index in found.completed or pod not in found.noted:
            continue
        found.noted.remove(pod)
        if uid_of(pod) in found.uncounted["failed"]:
            found.uncounted["failed"].remove(uid_of(pod))
            found.pending_failures += 1
