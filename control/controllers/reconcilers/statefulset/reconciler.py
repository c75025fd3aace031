"""StatefulSet: pods with numbers, made in order, replaced in the opposite order, one at a time, each with its storage.

Invariants: there is never more than one pod of a number, so nothing is made in the place of a pod that is still ending;
with OrderedReady a number is made only when all below it are ready, and taken away only when all are. Parts: pods (what
a pod looks like), claims (its storage, and what becomes of it). Source: "StatefulSets".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.controllers.reconcilers.statefulset.claims import RESOURCE, owned_as_wanted
from control.controllers.reconcilers.statefulset.pods import identity, make, ordinal
from control.controllers.values.actions import NOTHING, Action, Decision, Delete, Key, Narration, Plan, UpdateStatus
from control.controllers.values.objects import (
    cause,
    generation_of,
    is_deleting,
    labels,
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
from control.controllers.values.revisions import HASH, History, hash_of, history, truncate
from control.controllers.values.revisions import RESOURCE as REVISIONS


@dataclass(frozen=True, slots=True)
class Members:
    """The set's pods by number: those it should have, and those too many, highest first."""

    wanted: range
    present: dict[int, Object]
    condemned: tuple[Object, ...]

    @property
    def kept(self) -> list[Object]:
        return [self.present[number] for number in self.wanted if number in self.present]


@dataclass(frozen=True, slots=True)
class Revisions:
    """current: what pods below the partition have; update: what the others get."""

    current: Object
    update: Object


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """The next step towards the pods the set should have, and its status."""
    owner = observed.get(RESOURCE, key.namespace, key.name)
    if owner is None:
        return NOTHING
    selector = label_selector_of(spec_of(owner).get("selector"))
    claimed = claim(observed, RESOURCE, owner, "pods", selector, prefix=f"{key.name}-")
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
    members = _members(owner, claimed.owned)
    revisions = Revisions(_current(owner, past, past.newest), past.newest)
    plan.actions += owned_as_wanted(owner, observed, members.kept, members.condemned)
    step = _step(owner, observed, members, revisions, now)
    plan.actions += step.actions
    plan.events += step.events
    plan.actions += _report(owner, members, revisions, now)
    plan.actions += truncate(RESOURCE, owner, past.known, _used(members, revisions))
    plan.look_again(soonest_available(members.kept, _min_ready(owner), now))
    return plan.decision()


def _members(owner: Object, pods: Sequence[Object]) -> Members:
    start = int((spec_of(owner).get("ordinals") or {}).get("start") or 0)
    replicas = spec_of(owner).get("replicas")
    wanted = range(start, start + (1 if replicas is None else int(replicas)))
    numbered = {number: pod for pod in pods if (number := ordinal(owner, pod)) is not None}
    surplus = tuple(numbered[number] for number in sorted(numbered, reverse=True) if number not in wanted)
    return Members(wanted, {n: pod for n, pod in numbered.items() if n in wanted}, surplus)


def _current(owner: Object, past: History, newest: Object) -> Object:
    named = status_of(owner).get("currentRevision")
    return next((revision for revision in past.known if name_of(revision) == named), newest)


def _used(members: Members, revisions: Revisions) -> set[str]:
    pods = [*members.present.values(), *members.condemned]
    return {name_of(revisions.current), name_of(revisions.update), *(labels(pod).get(HASH, "") for pod in pods)}


def _min_ready(owner: Object) -> int:
    return int(spec_of(owner).get("minReadySeconds") or 0)


def _ordered(owner: Object) -> bool:
    return spec_of(owner).get("podManagementPolicy") != "Parallel"


def _healthy(owner: Object, pod: Object, now: datetime) -> bool:
    return phase(pod) == "Running" and not is_deleting(pod) and is_available(pod, _min_ready(owner), now)


# ---- the next step ----


def _step(owner: Object, observed: Observed, members: Members, revisions: Revisions, now: datetime) -> Plan:
    step = Plan()
    for number in members.wanted:
        pod = members.present.get(number)
        settled = _settle(owner, observed, number, pod, revisions)
        step.actions += settled.actions
        step.events += settled.events
        if _ordered(owner) and (pod is None or is_finished(pod) or not _healthy(owner, pod, now)):
            return step
    step.actions += _take_away(owner, members, now)
    if not (members.condemned and _ordered(owner)):
        step.actions += _roll(owner, members, revisions, now)
    return step


def _settle(owner: Object, observed: Observed, number: int, pod: Object | None, revisions: Revisions) -> Decision:
    """Make the pod of a number, take one away that ended, or repair what identifies it."""
    if pod is None:
        return make(owner, observed, number, _revision_for(owner, number, revisions))
    if is_deleting(pod):
        return NOTHING
    if is_finished(pod):
        return Decision([_delete(owner, pod, f"its pod ended as {phase(pod)}: made again")])
    return Decision(identity(owner, observed, number, pod))


def _revision_for(owner: Object, number: int, revisions: Revisions) -> Object:
    start = int((spec_of(owner).get("ordinals") or {}).get("start") or 0)
    strategy = spec_of(owner).get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return revisions.update
    rolling = strategy.get("rollingUpdate")
    below = int(status_of(owner).get("currentReplicas") or 0) if rolling is None else int(rolling.get("partition") or 0)
    return revisions.current if number < start + below else revisions.update


def _take_away(owner: Object, members: Members, now: datetime) -> list[Action]:
    """Delete pods that are too many: in order, the highest, when all others are well or it is the one that is not."""
    actions: list[Action] = []
    everyone = [*members.kept, *reversed(members.condemned)]
    sick = next((pod for pod in everyone if not _healthy(owner, pod, now)), None)
    for pod in members.condemned:
        if is_deleting(pod):
            if _ordered(owner):
                return []
            continue
        if _ordered(owner) and sick is not None and not is_ready(pod) and pod is not sick:
            return []
        actions.append(_delete(owner, pod, "scale down: the highest number goes first"))
        if _ordered(owner):
            return actions
    return actions


def _roll(owner: Object, members: Members, revisions: Revisions, now: datetime) -> list[Action]:
    """Replace the highest pod that is not of the update revision, once all above it are well."""
    strategy = spec_of(owner).get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    start = members.wanted.start + int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    for number in reversed(members.wanted):
        if number < start:
            return []
        pod = members.present.get(number)
        if pod is None:
            return []
        if labels(pod).get(HASH) != hash_of(revisions.update) and not is_deleting(pod):
            return [_delete(owner, pod, f"rolling update to {name_of(revisions.update)}")]
        if not _healthy(owner, pod, now):
            return []
    return []


def _delete(owner: Object, pod: Object, rule: str) -> Delete:
    text = f"Pod {name_of(pod)} in StatefulSet {name_of(owner)}"
    told = Narration(
        owner, "SuccessfulDelete", f"delete {text} successful", "FailedDelete", f"delete {text} failed error: {{error}}"
    )
    because = cause(RESOURCE, owner, rule)
    return Delete("pods", namespace_of(pod), name_of(pod), uid_of(pod), because, tell=told)


# ---- status ----


def _report(owner: Object, members: Members, revisions: Revisions, now: datetime) -> list[Action]:
    status = _status(owner, members, revisions, now)
    if same_status(status, status_of(owner)):
        return []
    rule = f"status: {status['readyReplicas']} of {len(members.wanted)} ready"
    return [UpdateStatus(RESOURCE, with_status(owner, status), cause(RESOURCE, owner, rule))]


def _status(owner: Object, members: Members, revisions: Revisions, now: datetime) -> dict[str, Any]:
    pods = [*members.present.values(), *members.condemned]
    # A pod of both revisions at once counts as current and as updated.
    of = [labels(pod).get(HASH) for pod in pods if not is_deleting(pod)]
    status: dict[str, Any] = {
        "observedGeneration": generation_of(owner),
        "replicas": len(pods),
        "readyReplicas": sum(is_ready(pod) and phase(pod) == "Running" for pod in pods),
        "availableReplicas": sum(_healthy(owner, pod, now) for pod in pods),
        "currentReplicas": of.count(hash_of(revisions.current)),
        "updatedReplicas": of.count(hash_of(revisions.update)),
        "currentRevision": name_of(revisions.current),
        "updateRevision": name_of(revisions.update),
    }
    if status_of(owner).get("collisionCount"):
        status["collisionCount"] = status_of(owner)["collisionCount"]
    if _is_rolled_out(owner, members, status):
        status["currentReplicas"], status["currentRevision"] = status["updatedReplicas"], status["updateRevision"]
    return status


def _is_rolled_out(owner: Object, members: Members, status: dict[str, Any]) -> bool:
    if (spec_of(owner).get("updateStrategy") or {}).get("type") == "OnDelete" or members.condemned:
        return False
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return all(status[name] == len(members.wanted) for name in counts)
