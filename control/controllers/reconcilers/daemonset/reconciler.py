"""DaemonSet: one pod on every node that its template may run on, also on nodes that join.

Invariants: never two pods of one revision on a node for longer than it takes to see them; during an update no more
nodes lack an available pod than maxUnavailable, and no more have two than maxSurge. Parts: daemonset_pods (which nodes,
what the pod looks like), daemonset_update. Source: "DaemonSet" in Kubernetes' documentation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.controllers.reconcilers.daemonset.pods import RESOURCE, Coverage, Place, daemon_pod, min_ready
from control.controllers.reconcilers.daemonset.update import Change, roll
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
    UpdateStatus,
)
from control.controllers.values.objects import (
    cause,
    created_at,
    generation_of,
    is_deleting,
    name_of,
    namespace_of,
    same_status,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed
from control.controllers.values.ownership import claim
from control.controllers.values.pods import is_available, is_finished, is_ready, phase, soonest_available
from control.controllers.values.revisions import RESOURCE as REVISIONS
from control.controllers.values.revisions import hash_of, history, truncate

# Seconds a failed pod is left before it is made again, so that a node which refuses it is not asked all the time.
PATIENCE = 10.0


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Create and delete pods until every eligible node has one of the present template, and report."""
    owner = observed.get(RESOURCE, key.namespace, key.name)
    if owner is None:
        return NOTHING
    selector = label_selector_of(spec_of(owner).get("selector"))
    if selector.everything:
        text = "This daemon set is selecting all pods. A non-empty selector is required."
        return Decision(events=(Event(owner, "SelectingAll", text, "Warning"),))
    claimed = claim(observed, RESOURCE, owner, "pods", selector)
    recorded = claim(observed, RESOURCE, owner, REVISIONS, selector, prefix=f"{key.name}-")
    if claimed.reads or recorded.reads:
        return Decision(reads=(*claimed.reads, *recorded.reads))
    plan = Plan([*claimed.actions, *recorded.actions])
    if is_deleting(owner):
        return plan.decision()
    past = history(observed, RESOURCE, owner, recorded.owned)
    plan.actions += past.actions
    if past.newest is None:
        return plan.decision()
    coverage = Coverage.of(owner, claimed.owned, observed, hash_of(past.newest), now)
    _cover(plan, coverage)
    if not any(isinstance(action, Create | Delete) for action in plan.actions):
        _do(plan, coverage, roll(coverage))
        used = {name_of(past.newest), *coverage.hashes}
        plan.actions += truncate(RESOURCE, owner, past.known, used)
    plan.actions += _report(coverage)
    pods = [pod for place in coverage.places for pod in place.pods]
    plan.look_again(soonest_available(pods, min_ready(owner), now))
    return plan.decision()


def _cover(plan: Plan, coverage: Coverage) -> None:
    """A pod for every eligible node without one; no pods where none should run; none that ended; none twice."""
    for place in coverage.places:
        living = _replace_ended(plan, coverage, place)
        if place.eligible and not place.pods:
            plan.actions.append(_create(coverage, place, "has none"))
        elif not place.stays:
            for pod in living:
                plan.actions.append(_delete(coverage, pod, f"node {place.name} must not run it"))
        else:
            for pod in _doubles(coverage, living):
                plan.actions.append(_delete(coverage, pod, f"node {place.name} has another"))


def _replace_ended(plan: Plan, coverage: Coverage, place: Place) -> list[Object]:
    """Take away pods that ended, after a while; those that live."""
    for pod in place.pods:
        if not is_finished(pod) or is_deleting(pod):
            continue
        age = (coverage.now - created_at(pod)).total_seconds()
        if age < PATIENCE:
            plan.look_again(PATIENCE - age)
            continue
        word = "failed" if phase(pod) == "Failed" else "succeeded"
        text = f"Found {word} daemon pod {namespace_of(pod)}/{name_of(pod)} on node {place.name}, will try to "
        text += "kill it" if word == "failed" else "delete it"
        kind = "FailedDaemonPod" if word == "failed" else "SucceededDaemonPod"
        plan.events.append(Event(coverage.owner, kind, text, "Warning" if word == "failed" else "Normal"))
        plan.actions.append(_delete(coverage, pod, f"it {word}"))
    return [pod for pod in place.pods if not is_finished(pod) and not is_deleting(pod)]


def _doubles(coverage: Coverage, living: list[Object]) -> list[Object]:
    """All but the oldest of each revision; with surge, an old and a new one may be together."""
    seen: set[bool] = set()
    doubles = []
    for pod in sorted(living, key=lambda pod: (not is_ready(pod), created_at(pod), name_of(pod))):
        of = coverage.is_new(pod) if coverage.surge else True
        if of in seen:
            doubles.append(pod)
        seen.add(of)
    return doubles


def _do(plan: Plan, coverage: Coverage, changes: list[Change]) -> None:
    for change in changes:
        if change.pod is None:
            plan.actions.append(_create(coverage, change.place, change.rule))
        else:
            plan.actions.append(_delete(coverage, change.pod, change.rule))


def _create(coverage: Coverage, place: Place, rule: str) -> Create:
    told = Narration(
        coverage.owner, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}"
    )
    because = cause(RESOURCE, coverage.owner, f"node {place.name}: {rule}")
    return Create("pods", daemon_pod(coverage.owner, place.name, coverage.revision), because, told)


def _delete(coverage: Coverage, pod: Object, rule: str) -> Delete:
    told = Narration(
        coverage.owner, "SuccessfulDelete", "Deleted pod: {name}", "FailedDelete", "Error deleting: {error}"
    )
    because = cause(RESOURCE, coverage.owner, rule)
    return Delete("pods", namespace_of(pod), name_of(pod), uid_of(pod), because, tell=told)


def _report(coverage: Coverage) -> list[Action]:
    owner, status = coverage.owner, _status(coverage)
    if same_status(status, status_of(owner)):
        return []
    rule = f"status: {status['numberReady']} of {status['desiredNumberScheduled']} nodes ready"
    return [UpdateStatus(RESOURCE, with_status(owner, status), cause(RESOURCE, owner, rule))]


def _status(coverage: Coverage) -> dict[str, Any]:
    owner, wait = coverage.owner, min_ready(coverage.owner)
    covered = [place for place in coverage.places if place.eligible and place.scheduled]
    desired = sum(place.eligible for place in coverage.places)
    available = sum(any(is_available(pod, wait, coverage.now) for pod in place.scheduled) for place in covered)
    status = {
        "observedGeneration": generation_of(owner),
        "desiredNumberScheduled": desired,
        "currentNumberScheduled": len(covered),
        "numberMisscheduled": sum(bool(place.scheduled) and not place.eligible for place in coverage.places),
        "numberReady": sum(any(map(is_ready, place.scheduled)) for place in covered),
        "numberAvailable": available,
        "numberUnavailable": desired - available,
        "updatedNumberScheduled": sum(any(map(coverage.is_new, place.scheduled)) for place in covered),
    }
    collisions = status_of(owner).get("collisionCount")
    return {**status, "collisionCount": collisions} if collisions else status
