"""Node life cycle: a node that is no longer heard of is said to be so, tainted, and its pods are no longer ready.

Invariants: "no longer heard of" is by our own clock, so that clocks which differ mark nobody; when most nodes fall
silent at once, it is taken for an outage of the network or of the masters and nobody is evicted; NoExecute taints come
one node after another, no faster than the eviction rate. Source: "Nodes: node controller" and "Taint based Evictions".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.controllers.actions import Decision, Event, Key, Patch, Plan, UpdateStatus
from control.controllers.conditions import Condition, find, set_condition
from control.controllers.heartbeats import LEASE_NAMESPACE, LEASES
from control.controllers.objects import (
    cause,
    created_at,
    format_time,
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
from control.controllers.observed import Observed
from control.controllers.pods import condition, is_finished

NODES: Final = "nodes"
NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
_NEVER, _STOPPED = "Kubelet never posted node status.", "Kubelet stopped posting node status."
# Conditions that turn Unknown with a silent node.
_CONDITIONS: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
# (condition, status) → the NoSchedule taint it means.
_TAINTS: Final = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
_OURS: Final = frozenset({*_TAINTS.values(), UNSCHEDULABLE})


@dataclass(frozen=True, slots=True)
class Limits:
    """grace: seconds of silence after which a node's state is unknown; startup: the same for one never heard of.

    rate: nodes tainted a second at most. unhealthy: from this part of all nodes on, and more than two, it is an outage;
    large: clusters of more nodes are tainted at the slow rate even then.
    """

    grace: float = 40.0
    startup: float = 60.0
    rate: float = 0.1
    slow_rate: float = 0.01
    unhealthy: float = 0.55
    large: int = 50


def reconciler(limits: Limits = Limits()) -> Callable[[Key, Observed, datetime], Decision]:
    """The reconciler of one node."""

    def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
        node = observed.get(NODES, "", key.name)
        plan = Plan()
        if node is None or is_deleting(node):
            return plan.decision()
        conditions = _judge(plan, node, observed, limits, now)
        _taint(plan, node, conditions, observed, limits, now)
        if _ready(conditions) == "Unknown":
            _unready_pods(plan, node, observed, now)
        return plan.decision()

    return reconcile


def _ready(conditions: Iterable[Condition]) -> str:
    return str((find(conditions, "Ready") or {}).get("status", "Unknown"))


def _judge(plan: Plan, node: Object, observed: Observed, limits: Limits, now: datetime) -> list[Condition]:
    """The node's conditions, Unknown after too long a silence; looks again when the silence would be too long."""
    conditions = list(status_of(node).get("conditions") or [])
    posted = find(conditions, "Ready") is not None
    allowed = limits.grace if posted else limits.startup
    silence = _silence(node, observed, now)
    if silence < allowed:
        plan.look_again(allowed - silence)
        return conditions
    if _ready(conditions) == "Unknown" and posted:
        return conditions
    reason, message = ("NodeStatusUnknown", _STOPPED) if posted else ("NodeStatusNeverUpdated", _NEVER)
    for kind in _CONDITIONS:
        conditions = set_condition(conditions, kind, "Unknown", now, reason=reason, message=message)
    because = cause(NODES, node, f"silent for {silence:.0f} s, allowed are {allowed:.0f}")
    plan.actions.append(UpdateStatus(NODES, with_status(node, {**status_of(node), "conditions": conditions}), because))
    text = f"Node {name_of(node)} status is now: NodeNotReady"
    plan.events.append(Event(node, "NodeNotReady", text))
    return conditions


# ---- taints ----


def _taint(
    plan: Plan, node: Object, conditions: Sequence[Condition], observed: Observed, limits: Limits, now: datetime
) -> None:
    present: list[dict[str, Any]] = spec_of(node).get("taints") or []
    ours = [
        taint for taint in present if taint.get("key") in _OURS and taint.get("effect") in ("NoSchedule", "NoExecute")
    ]
    wanted = _scheduling(node, conditions)
    evicting = _evicting(plan, node, conditions, observed, limits, now)
    wanted += [evicting] if evicting else []
    if _named(ours) == _named(wanted):
        return
    kept = [taint for taint in present if taint not in ours]
    held = {(taint["key"], taint["effect"]): taint for taint in ours}
    taints = kept + [held.get((taint["key"], taint["effect"]), taint) for taint in wanted]
    guard = {"uid": uid_of(node), "resourceVersion": node["metadata"]["resourceVersion"]}
    if any(isinstance(action, UpdateStatus) for action in plan.actions):
        # The status goes first and makes another revision; the taints follow in the next pass.
        plan.look_again(0.0)
        return
    patch = {"metadata": guard, "spec": {"taints": taints or None}}
    rule = f"Ready is {_ready(conditions)}: {', '.join(sorted(t['key'] for t in wanted)) or 'no taints'}"
    plan.actions.append(Patch(NODES, "", name_of(node), patch, cause(NODES, node, rule)))


def _named(taints: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(taint["key"], taint["effect"]) for taint in taints}


def _scheduling(node: Object, conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """The NoSchedule taints that conditions and `kubectl cordon` mean."""
    found = {(c.get("type", ""), c.get("status", "")) for c in conditions}
    keys = [key for meaning, key in _TAINTS.items() if meaning in found]
    keys += [UNSCHEDULABLE] if spec_of(node).get("unschedulable") else []
    return [{"key": key, "effect": "NoSchedule"} for key in keys]


def _evicting(
    plan: Plan, node: Object, conditions: Sequence[Condition], observed: Observed, limits: Limits, now: datetime
) -> dict[str, Any] | None:
    """The NoExecute taint a node that is not ready gets, once it is its turn and this is no outage of everybody."""
    key = _TAINTS.get(("Ready", _ready(conditions)))
    if key is None:
        return None
    nodes = list(observed.all(NODES))
    rate = _rate([_is_bad(each, observed, limits, now) for each in nodes], limits)
    if rate == 0:
        return None
    taint = {"key": key, "effect": "NoExecute", "timeAdded": format_time(now)}
    if _evicts(node):
        return taint
    wait = _turn(nodes, rate, now)
    if wait > 0:
        plan.look_again(wait)
        return None
    return taint


def _evicts(node: Object) -> bool:
    taints = spec_of(node).get("taints") or ()
    return any(t.get("effect") == "NoExecute" and t.get("key") in (NOT_READY, UNREACHABLE) for t in taints)


def _is_bad(node: Object, observed: Observed, limits: Limits, now: datetime) -> bool:
    """Not ready, or silent for so long that it will be found not to be."""
    return _status(node) != "True" or _silence(node, observed, now) >= limits.grace


def _silence(node: Object, observed: Observed, now: datetime) -> float:
    return (now - observed.heard.get(name_of(node), created_at(node))).total_seconds()


def _rate(bad: Sequence[bool], limits: Limits) -> float:
    """Nodes a second that may be emptied; 0 when so many are silent that the fault is not theirs."""
    count = sum(bad)
    if count == len(bad):
        return 0.0
    if count > 2 and count / len(bad) >= limits.unhealthy:
        return limits.slow_rate if len(bad) > limits.large else 0.0
    return limits.rate


def _turn(nodes: Iterable[Object], rate: float, now: datetime) -> float:
    """Seconds until the next node may be emptied: since the last one was, 1 / rate must have passed."""
    times = [
        since
        for node in nodes
        for taint in spec_of(node).get("taints") or ()
        if taint.get("key") in (NOT_READY, UNREACHABLE)
        and taint.get("effect") == "NoExecute"
        and (since := parse_time(taint.get("timeAdded"))) is not None
    ]
    return 1 / rate - (now - max(times)).total_seconds() if times else 0.0


# ---- its pods ----


def _unready_pods(plan: Plan, node: Object, observed: Observed, now: datetime) -> None:
    """Nobody should be sent to pods of a node that does not answer. One that does answer speaks for its pods itself."""
    for pod in observed.on_node(name_of(node)):
        ready = condition(pod, "Ready")
        if ready is None or ready.get("status") != "True" or is_finished(pod):
            continue
        conditions = set_condition(
            status_of(pod)["conditions"], "Ready", "False", now, reason="NodeNotReady", message=""
        )
        changed = with_status(pod, {**status_of(pod), "conditions": conditions})
        plan.actions.append(UpdateStatus("pods", changed, cause(NODES, node, "its node is not ready")))
        plan.events.append(Event(pod, "NodeNotReady", "Node is not ready", "Warning"))


def wake(resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterable[Key]:
    """The node; that of a new lease; that of a pod which says it is ready; when one's health changes, also all that are
    not ready: how many others there are decides when it is their turn. Those that are well do not depend on others.
    """
    if resource == LEASES:
        if old is None and new is not None and namespace_of(new) == LEASE_NAMESPACE:
            return [Key("", name_of(new))]
        return []
    if resource == "pods":
        node = observed.get(NODES, "", spec_of(new).get("nodeName", "")) if new is not None else None
        return [key_of(node)] if node is not None and _status(node) == "Unknown" and _status(new) == "True" else []
    if new is not None and old is not None and _health(old) == _health(new):
        return [key_of(new)]
    itself = [] if new is None else [key_of(new)]
    waiting = (key_of(node) for node in observed.all(NODES) if _status(node) != "True")
    return [*itself, *(key for key in waiting if key not in itself)]


def _health(node: Object) -> tuple[str, bool]:
    return _status(node), _evicts(node)


def _status(obj: Object | None) -> str:
    return str((condition(obj, "Ready") or {}).get("status", "")) if obj is not None else ""
