"""Taint eviction: pods leave nodes with NoExecute taints, at once or when their toleration is over.

Invariants: a pod that tolerates all such taints of its node for ever stays; the time runs from when the taint was
added, or the pod came if that was later, so a change of leaders does not start it again.

Source: "Taints and Tolerations: taint based evictions".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.controllers.values.actions import NOTHING, Decision, Delete, Event, Key, UpdateStatus
from control.controllers.values.conditions import set_condition
from control.controllers.values.objects import (
    cause,
    created_at,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    parse_time,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed
from control.controllers.values.pods import condition, is_finished

RESOURCE: Final = "pods"
Taint = dict[str, Any]


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Evict the pod if its node's taints want that and its tolerations do not hold any longer."""
    pod = observed.get(RESOURCE, key.namespace, key.name)
    if pod is None or is_deleting(pod) or is_finished(pod):
        return NOTHING
    node = observed.get("nodes", "", spec_of(pod).get("nodeName", ""))
    taints = _evicting(node) if node is not None else []
    left = _left(pod, taints, now)
    if node is None or left is None:
        return NOTHING
    if left > 0:
        return Decision(requeue_after=left)
    return _evict(pod, node, taints, now)


def _evicting(node: Object) -> list[Taint]:
    return [taint for taint in spec_of(node).get("taints") or () if taint.get("effect") == "NoExecute"]


def _left(pod: Object, taints: Sequence[Taint], now: datetime) -> float | None:
    """Seconds the pod may stay; None: for ever."""
    tolerations, came = spec_of(pod).get("tolerations") or (), _came(pod)
    times = [_tolerated(taint, tolerations, came, now) for taint in taints]
    return min((time for time in times if time is not None), default=None)


def _came(pod: Object) -> datetime:
    """When the pod came to its node: it may be younger than the node's taints, which it then has its time for, too."""
    scheduled = condition(pod, "PodScheduled") or {}
    bound = parse_time(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None
    return bound or created_at(pod)


def _tolerated(taint: Taint, tolerations: Sequence[dict[str, Any]], came: datetime, now: datetime) -> float | None:
    """Seconds for which one taint is still tolerated; None: for ever. The shortest toleration that fits counts."""
    fitting = [toleration for toleration in tolerations if tolerates(toleration, taint)]
    if not fitting:
        return 0.0
    limits = [float(t["tolerationSeconds"]) for t in fitting if t.get("tolerationSeconds") is not None]
    if not limits:
        return None
    since = max(parse_time(taint.get("timeAdded")) or now, came)
    return max(0.0, max(min(limits), 0.0) - (now - since).total_seconds())


def tolerates(toleration: dict[str, Any], taint: Taint) -> bool:
    """Whether a toleration fits a taint; an empty key with Exists fits all, an empty effect every effect."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def _evict(pod: Object, node: Object, taints: Iterable[Taint], now: datetime) -> Decision:
    text = f"Marking for deletion Pod {namespace_of(pod)}/{name_of(pod)}"
    because = cause("nodes", node, f"evicted: taint {', '.join(sorted(taint['key'] for taint in taints))}")
    conditions = set_condition(
        status_of(pod).get("conditions") or [],
        "DisruptionTarget",
        "True",
        now,
        reason="DeletionByTaintManager",
        message="Taint manager: deleting due to NoExecute taint",
    )
    marked = with_status(pod, {**status_of(pod), "conditions": conditions})
    actions = (
        UpdateStatus(RESOURCE, marked, because),
        Delete(RESOURCE, namespace_of(pod), name_of(pod), uid_of(pod), because),
    )
    return Decision(actions, (Event(pod, "TaintManagerEviction", text),))


def wake(resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterable[Key]:
    """The pods of a node whose NoExecute taints changed; a pod that was bound."""
    if new is None:
        return []
    if resource == "nodes":
        if _evicting(new) and (old is None or _evicting(old) != _evicting(new)):
            return [key_of(pod) for pod in observed.on_node(name_of(new))]
        return []
    node = observed.get("nodes", "", spec_of(new).get("nodeName", ""))
    threatened = node is not None and _evicting(node) and condition(new, "DisruptionTarget") is None
    return [key_of(new)] if threatened else []
