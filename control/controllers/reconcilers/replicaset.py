"""ReplicaSet: as many pods of one template as asked for, no more and no less.

Invariants: a pod belongs to at most one set; pods that another owns are never touched; while the set is being deleted
nothing is created or deleted (the garbage collector does that). Source: "ReplicaSet" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.controllers.values.actions import (
    NOTHING,
    Action,
    Create,
    Decision,
    Delete,
    Key,
    Narration,
    Plan,
    UpdateStatus,
)
from control.controllers.values.conditions import set_condition, without_condition
from control.controllers.values.objects import (
    cause,
    controller_of,
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
from control.controllers.values.pods import is_active, is_available, is_ready, soonest_available, victims
from control.controllers.values.templates import pod_from

RESOURCE: Final = "replicasets.apps"
# So many creates or deletes in one pass at most; the rest follow in the next.
BURST: Final = 500


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Create or delete pods until as many are active as spec.replicas says, and report."""
    rs = observed.get(RESOURCE, key.namespace, key.name)
    if rs is None:
        return NOTHING
    selector = label_selector_of(spec_of(rs).get("selector"))
    claimed = claim(observed, RESOURCE, rs, "pods", selector)
    if claimed.reads:
        return Decision(reads=claimed.reads)
    pods = [pod for pod in claimed.owned if is_active(pod)]
    plan = Plan(list(claimed.actions))
    if not is_deleting(rs):
        plan.actions += _manage(observed, rs, pods, now)
    plan.actions += _report(observed, rs, pods, now)
    plan.look_again(soonest_available(pods, _min_ready(rs), now))
    return plan.decision()


def wanted(rs: Object) -> int:
    """spec.replicas; 1 when nothing is said."""
    replicas = spec_of(rs).get("replicas")
    return 1 if replicas is None else int(replicas)


def _min_ready(rs: Object) -> int:
    return int(spec_of(rs).get("minReadySeconds") or 0)


def _manage(observed: Observed, rs: Object, pods: Sequence[Object], now: datetime) -> list[Action]:
    missing = wanted(rs) - len(pods)
    if missing > 0:
        return _create(rs, len(pods), min(missing, BURST))
    return _delete(observed, rs, pods, min(-missing, BURST), now)


def _create(rs: Object, have: int, count: int) -> list[Action]:
    because = cause(RESOURCE, rs, f"scale up: {have} of {wanted(rs)} replicas, create {count}")
    told = Narration(rs, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}")
    template = spec_of(rs).get("template") or {}
    return [Create("pods", pod_from(template, rs), because, told) for _ in range(count)]


def _delete(observed: Observed, rs: Object, pods: Sequence[Object], count: int, now: datetime) -> list[Action]:
    if count <= 0:
        return []
    because = cause(RESOURCE, rs, f"scale down: {len(pods)} of {wanted(rs)} replicas, delete {count}")
    told = Narration(rs, "SuccessfulDelete", "Deleted pod: {name}", "FailedDelete", "Error deleting: {error}")
    return [
        Delete("pods", namespace_of(pod), name_of(pod), uid_of(pod), because, tell=told)
        for pod in victims(pods, count, _beside(observed, rs, pods), now)
    ]


def _beside(observed: Observed, rs: Object, pods: Sequence[Object]) -> dict[str, int]:
    """How many active pods of this set and its siblings (same controller, as during a rollout) each node has."""
    owner = controller_of(rs)
    siblings = observed.controlled(RESOURCE, owner["uid"]) if owner else []
    related = [
        pod
        for sibling in siblings
        if uid_of(sibling) != uid_of(rs)
        for pod in observed.controlled("pods", uid_of(sibling))
        if is_active(pod)
    ]
    return Counter(node for pod in [*pods, *related] if (node := spec_of(pod).get("nodeName", "")))


def _report(observed: Observed, rs: Object, pods: Sequence[Object], now: datetime) -> list[Action]:
    status = _status(observed, rs, pods, now)
    if same_status(status, status_of(rs)):
        return []
    rule = f"status: {len(pods)} of {wanted(rs)} replicas, {status['readyReplicas']} ready"
    return [UpdateStatus(RESOURCE, with_status(rs, status), cause(RESOURCE, rs, rule))]


def _status(observed: Observed, rs: Object, pods: Sequence[Object], now: datetime) -> dict[str, Any]:
    template_labels = ((spec_of(rs).get("template") or {}).get("metadata") or {}).get("labels") or {}
    fully = sum(1 for pod in pods if template_labels.items() <= labels(pod).items())
    ready, min_ready = sum(map(is_ready, pods)), _min_ready(rs)
    status: dict[str, Any] = {
        "replicas": len(pods),
        "fullyLabeledReplicas": fully,
        "readyReplicas": ready,
        "availableReplicas": sum(is_available(pod, min_ready, now) for pod in pods) if min_ready else ready,
        "observedGeneration": generation_of(rs),
    }
    conditions = _conditions(observed, rs, len(pods), now)
    return {**status, "conditions": conditions} if conditions else status


def _conditions(observed: Observed, rs: Object, have: int, now: datetime) -> list[dict[str, Any]]:
    """ReplicaFailure while the last pass failed to create or delete what is still to be created or deleted."""
    before = status_of(rs).get("conditions") or []
    if not observed.failure or have == wanted(rs):
        return without_condition(before, "ReplicaFailure")
    reason = "FailedCreate" if have < wanted(rs) else "FailedDelete"
    return set_condition(before, "ReplicaFailure", "True", now, reason=reason, message=observed.failure)
