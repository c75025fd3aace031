"""Node life cycle: a node that is no longer heard of is said to be so, tainted, and its pods are no longer ready.

Invariants: "no longer heard of" is by a clock of our own that nobody sets (Observed.uptime), so that clocks which
differ, or step, mark nobody; when most nodes fall silent at once, it is taken for an outage of the network or of the
masters and nobody is evicted; NoExecute taints come one node after another, no faster than the eviction rate, also
while the last one is still on its way to the server (the one thing remembered between passes).

Source: "Nodes: node controller" and "Taint based Evictions".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.controllers.reconcilers.nodes.census import Census, Tally, Word
from control.controllers.reconcilers.nodes.heartbeats import LEASE_NAMESPACE, LEASES
from control.controllers.values.actions import Decision, Event, Key, Patch, Plan, UpdateStatus
from control.controllers.values.conditions import Condition, find, set_condition
from control.controllers.values.objects import (
    cause,
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
from control.controllers.values.observed import Observed
from control.controllers.values.pods import condition, is_finished

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
# Seconds after which a taint that the view does not show was not written.
_ON_ITS_WAY: Final = 5.0


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


class NodeLifecycle:
    """The reconciler of one node, and who is looked at after which change."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._census = Census(_word)
        # The uid of the node that was told to be emptied last, and when: seconds of uptime.
        self._told = ("", -_ON_ITS_WAY)

    def reconcile(self, key: Key, observed: Observed, now: datetime) -> Decision:
        """What there is to do about one node."""
        node = observed.get(NODES, "", key.name)
        plan = Plan()
        if node is None or is_deleting(node):
            return plan.decision()
        conditions = _judge(plan, node, observed, self._limits, now)
        evicting = self._evicting(plan, node, conditions, observed, now)
        if _taint(plan, node, conditions, evicting) and evicting is not None and not _evicts(node):
            self._told = uid_of(node), observed.uptime
        if _ready(conditions) == "Unknown":
            _unready_pods(plan, node, observed, now)
        return plan.decision()

    def _evicting(
        self, plan: Plan, node: Object, conditions: Sequence[Condition], observed: Observed, now: datetime
    ) -> dict[str, Any] | None:
        """The NoExecute taint a node that is not ready gets, once it is its turn and this is no outage of everybody."""
        key = _TAINTS.get(("Ready", _ready(conditions)))
        if key is None:
            return None
        tally = self._census.with_silent(observed, self._limits.grace)
        rate = _rate(tally, self._limits)
        if rate == 0:
            plan.look_again(self._limits.grace)
            return None
        wait = 0.0 if _evicts(node) else self._turn(node, tally, 1 / rate, observed.uptime, now)
        if wait > 0:
            plan.look_again(wait)
            return None
        return {"key": key, "effect": "NoExecute", "timeAdded": format_time(now)}

    def _turn(self, node: Object, tally: Tally, pause: float, uptime: float, now: datetime) -> float:
        """Seconds until the next node may be emptied: since the last one was, `pause` seconds must have passed.

        When that was is read from its taint, in the time of day; a time to come was written before the clock stepped,
        and is looked at again after a pause.
        """
        uid, at = self._told
        past = [] if tally.emptied is None else [max(0.0, (now - tally.emptied).total_seconds())]
        if uid != uid_of(node) and uptime - at < _ON_ITS_WAY:
            past.append(uptime - at)
        return pause - min(past) if past else 0.0

    def wake(self, resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterable[Key]:
        """The node; that of a new lease; that of a pod which says it is ready; and, when a change makes it sooner the
        turn of others, all that are not ready. Those that are well do not depend on others.
        """
        if resource == LEASES:
            first = old is None and new is not None and namespace_of(new) == LEASE_NAMESPACE
            return [Key("", name_of(new))] if first and new is not None else []
        if resource == "pods":
            node = observed.get(NODES, "", spec_of(new).get("nodeName", "")) if new is not None else None
            return [key_of(node)] if node is not None and _status(node) == "Unknown" and _status(new) == "True" else []
        itself = [] if new is None else [key_of(new)]
        if not self._concerns_others(old, new, observed):
            return itself
        waiting = (key_of(node) for node in observed.all(NODES) if _status(node) != "True")
        return [*itself, *(key for key in waiting if key not in itself)]

    def _concerns_others(self, old: Object | None, new: Object | None, observed: Observed) -> bool:
        """Whether the rate is another one, or a node is no longer being emptied. (Whose turn comes later than they were
        told find out when they look.)
        """
        was, now = _seen(old), _seen(new)
        if was == now:
            return False
        after = self._census.tally(observed.all(NODES))
        before = Tally(after.total + was.there - now.there, after.bad + was.bad - now.bad, None)
        return (was.emptied and not now.emptied) or _rate(before, self._limits) != _rate(after, self._limits)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What of a node others depend on."""

    there: bool = False
    bad: bool = False
    emptied: bool = False


def _seen(node: Object | None) -> _Seen:
    return _Seen() if node is None else _Seen(True, _status(node) != "True", _evicts(node))


def _word(node: Object) -> Word:
    times = [
        since
        for taint in spec_of(node).get("taints") or ()
        if taint.get("key") in (NOT_READY, UNREACHABLE)
        and taint.get("effect") == "NoExecute"
        and (since := parse_time(taint.get("timeAdded"))) is not None
    ]
    return Word(node, _status(node) != "True", max(times, default=None))


def _ready(conditions: Iterable[Condition]) -> str:
    return str((find(conditions, "Ready") or {}).get("status", "Unknown"))


def _judge(plan: Plan, node: Object, observed: Observed, limits: Limits, now: datetime) -> list[Condition]:
    """The node's conditions, Unknown after too long a silence; looks again when the silence would be too long."""
    conditions = list(status_of(node).get("conditions") or [])
    posted = find(conditions, "Ready") is not None
    allowed = limits.grace if posted else limits.startup
    silence = _silence(node, observed)
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


def _taint(plan: Plan, node: Object, conditions: Sequence[Condition], evicting: dict[str, Any] | None) -> bool:
    """Have the node carry the taints that it should. Whether they are written now."""
    present: list[dict[str, Any]] = spec_of(node).get("taints") or []
    ours = [
        taint for taint in present if taint.get("key") in _OURS and taint.get("effect") in ("NoSchedule", "NoExecute")
    ]
    wanted = [*_scheduling(node, conditions), *([evicting] if evicting else [])]
    if _named(ours) == _named(wanted):
        return False
    kept = [taint for taint in present if taint not in ours]
    held = {(taint["key"], taint["effect"]): taint for taint in ours}
    taints = kept + [held.get((taint["key"], taint["effect"]), taint) for taint in wanted]
    guard = {"uid": uid_of(node), "resourceVersion": node["metadata"]["resourceVersion"]}
    if any(isinstance(action, UpdateStatus) for action in plan.actions):
        # The status goes first and makes another revision; the taints follow in the next pass.
        plan.look_again(0.0)
        return False
    patch = {"metadata": guard, "spec": {"taints": taints or None}}
    rule = f"Ready is {_ready(conditions)}: {', '.join(sorted(t['key'] for t in wanted)) or 'no taints'}"
    plan.actions.append(Patch(NODES, "", name_of(node), patch, cause(NODES, node, rule)))
    return True


def _named(taints: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(taint["key"], taint["effect"]) for taint in taints}


def _scheduling(node: Object, conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """The NoSchedule taints that conditions and `kubectl cordon` mean."""
    found = {(c.get("type", ""), c.get("status", "")) for c in conditions}
    keys = [key for meaning, key in _TAINTS.items() if meaning in found]
    keys += [UNSCHEDULABLE] if spec_of(node).get("unschedulable") else []
    return [{"key": key, "effect": "NoSchedule"} for key in keys]


def _evicts(node: Object) -> bool:
    taints = spec_of(node).get("taints") or ()
    return any(t.get("effect") == "NoExecute" and t.get("key") in (NOT_READY, UNREACHABLE) for t in taints)


def _silence(node: Object, observed: Observed) -> float:
    """Seconds since it was heard of; a node that was shown to us was heard of then."""
    return observed.uptime - observed.heard.get(name_of(node), observed.uptime)


def _rate(tally: Tally, limits: Limits) -> float:
    """Nodes a second that may be emptied; 0 when so many are silent that the fault is not theirs."""
    if tally.bad == tally.total:
        return 0.0
    if tally.bad > 2 and tally.bad / tally.total >= limits.unhealthy:
        return limits.slow_rate if tally.total > limits.large else 0.0
    return limits.rate


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


def _status(obj: Object | None) -> str:
    return str((condition(obj, "Ready") or {}).get("status", "")) if obj is not None else ""
