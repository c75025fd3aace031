"""Disruption: how many pods of a budget may be missing now; the eviction API reads it from the budget's status.

Invariants: when it cannot be known how many pods there should be, none may be disrupted; a pod without a controller is
not among those expected, though it counts when it is healthy, and an event says so; a pod that an eviction was allowed
for counts as gone until it is, or for two minutes. Source: "Specifying a Disruption Budget".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.controllers.values.actions import NOTHING, Decision, Event, Key, UpdateStatus
from control.controllers.values.amounts import resolve
from control.controllers.values.conditions import set_condition
from control.controllers.values.controller import states
from control.controllers.values.objects import (
    cause,
    controller_of,
    generation_of,
    is_deleting,
    key_of,
    labels,
    name_of,
    namespace_of,
    owners,
    parse_time,
    same_status,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed
from control.controllers.values.pods import is_finished, is_ready

RESOURCE: Final = "poddisruptionbudgets.policy"
_UNMANAGED: Final = (
    "Some of the selected pods have no controller and are not among those expected; "
    "a budget with a number in .spec.minAvailable counts them"
)
# Seconds after which an allowed eviction that did not come is forgotten.
_FORGET: Final = 120.0


class Unknown(Exception):
    """It cannot be known how many pods there should be; the message says why."""


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Count the budget's pods and say how many may be disrupted."""
    budget = observed.get(RESOURCE, key.namespace, key.name)
    if budget is None:
        return NOTHING
    selector = label_selector_of(spec_of(budget).get("selector"))
    pods = [pod for pod in observed.pods(key.namespace, selector) if not is_finished(pod)]
    events = [] if pods else [Event(budget, "NoPods", "No matching pods found")]
    if _counts_controllers(budget) and any(controller_of(pod) is None for pod in pods):
        events.append(Event(budget, "UnmanagedPods", _UNMANAGED, "Warning"))
    try:
        expected, desired = _wanted(budget, pods, observed)
    except (Unknown, ValueError) as problem:
        text = f"Failed to calculate the number of expected pods: {problem}"
        events.append(Event(budget, "CalculateExpectedPodCountFailed", text, "Warning"))
        status = _failed(budget, str(problem), now)
        return Decision(_write(budget, status, "its pods cannot be counted"), events)
    disrupted, again = _disrupted(budget, pods, now)
    status = _counted(budget, pods, expected, desired, disrupted, now)
    changed = same_status(status, status_of(budget))
    rule = f"{status['currentHealthy']} of {expected} healthy, {desired} needed"
    return Decision(_write(budget, status, rule), () if changed else events, requeue_after=again)


def _write(budget: Object, status: dict[str, Any], rule: str) -> list[UpdateStatus]:
    if same_status(status, status_of(budget)):
        return []
    return [UpdateStatus(RESOURCE, with_status(budget, status), cause(RESOURCE, budget, rule))]


def _counts_controllers(budget: Object) -> bool:
    """Whether what is wanted depends on how many pods the pods' controllers should have."""
    spec = spec_of(budget)
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def _wanted(budget: Object, pods: Sequence[Object], observed: Observed) -> tuple[int, int]:
    """How many pods are expected, and how many of them must be healthy."""
    spec = spec_of(budget)
    at_least, at_most_missing = spec.get("minAvailable"), spec.get("maxUnavailable")
    if at_most_missing is not None:
        expected = _expected(pods, observed)
        return expected, max(0, expected - resolve(at_most_missing, expected, up=True))
    if isinstance(at_least, str):
        expected = _expected(pods, observed)
        return expected, resolve(at_least, expected, up=True)
    return len(pods), int(at_least or 0)


def _expected(pods: Sequence[Object], observed: Observed) -> int:
    """The replicas of all controllers of the pods; those without one are passed over."""
    scales: dict[str, int] = {}
    for pod in pods:
        owner = controller_of(pod)
        if owner is None:
            continue
        if owner["uid"] not in scales:
            uid, scale = _scale(owner, namespace_of(pod), observed)
            scales[uid] = scales[owner["uid"]] = scale
    distinct = {uid: scale for uid, scale in scales.items() if not _is_member(uid, observed)}
    return sum(distinct.values())


def _is_member(uid: str, observed: Observed) -> bool:
    """A ReplicaSet of a deployment: the deployment counts in its place."""
    rs = observed.with_uid("replicasets.apps", uid)
    owner = controller_of(rs) if rs is not None else None
    return owner is not None and observed.with_uid("deployments.apps", owner["uid"]) is not None


def _scale(owner: dict[str, Any], namespace: str, observed: Observed) -> tuple[str, int]:
    """The uid and the replicas of a pod's controller, or of the deployment above it."""
    found = _find(owner, namespace, observed)
    above = controller_of(found) if owner.get("kind") == "ReplicaSet" else None
    if above is not None and above.get("kind") == "Deployment":
        deployment = observed.with_uid("deployments.apps", above["uid"])
        found = deployment if deployment is not None else found
    replicas = spec_of(found).get("replicas")
    if not isinstance(replicas, int):
        raise Unknown(f"{owner.get('kind')} does not implement the scale subresource")
    return uid_of(found), replicas


def _find(owner: dict[str, Any], namespace: str, observed: Observed) -> Object:
    kind = observed.kinds.get((owner.get("apiVersion", ""), owner.get("kind", "")))
    if kind is None or kind.resource not in observed.stores:
        raise Unknown(f"the kind {owner.get('kind')} of {owner.get('apiVersion')} is not known")
    found = observed.get(kind.resource, namespace if kind.namespaced else "", owner["name"])
    if found is None or uid_of(found) != owner["uid"]:
        raise Unknown(f"the controller {owner.get('kind')} {owner['name']} is gone")
    return found


def _disrupted(budget: Object, pods: Sequence[Object], now: datetime) -> tuple[dict[str, str], float | None]:
    """Pods whose eviction was allowed and which are still there; seconds until the next is forgotten."""
    there = {name_of(pod) for pod in pods if not is_deleting(pod)}
    kept, waits = {}, []
    for name, since in (status_of(budget).get("disruptedPods") or {}).items():
        moment = parse_time(since) or now
        left = _FORGET - (now - moment).total_seconds()
        if name in there and left > 0:
            kept[name] = since
            waits.append(left)
    return kept, min(waits, default=None)


def _counted(
    budget: Object, pods: Sequence[Object], expected: int, desired: int, disrupted: dict[str, str], now: datetime
) -> dict[str, Any]:
    healthy = sum(1 for pod in pods if is_ready(pod) and not is_deleting(pod) and name_of(pod) not in disrupted)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    status, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    before = status_of(budget).get("conditions") or []
    made: dict[str, Any] = {
        "observedGeneration": generation_of(budget),
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "conditions": set_condition(
            before, "DisruptionAllowed", status, now, reason=reason, observedGeneration=generation_of(budget)
        ),
    }
    return {**made, "disruptedPods": disrupted} if disrupted else made


def _failed(budget: Object, why: str, now: datetime) -> dict[str, Any]:
    """Nothing may be disrupted, and it says why."""
    before = status_of(budget)
    conditions = set_condition(
        before.get("conditions") or [],
        "DisruptionAllowed",
        "False",
        now,
        reason="SyncFailed",
        message=why,
        observedGeneration=generation_of(budget),
    )
    return {
        **before,
        "observedGeneration": generation_of(budget),
        "disruptionsAllowed": 0,
        "conditions": conditions,
    }


def wake_pods(_resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterator[Key]:
    """The budgets that select the pod, before or after the change."""
    for pod in states(old, new):
        for budget in observed.may_select(RESOURCE, pod):
            if label_selector_of(spec_of(budget).get("selector")).matches(labels(pod)):
                yield key_of(budget)


def wake_controllers(resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterator[Key]:
    """The budgets of the pods' controllers' namespace, when replicas change."""
    if old is not None and new is not None and spec_of(old).get("replicas") == spec_of(new).get("replicas"):
        return
    obj = new if new is not None else old
    if obj is not None and (resource != "replicasets.apps" or not owners(obj)):
        for budget in observed.in_namespace(RESOURCE, namespace_of(obj)):
            yield key_of(budget)
