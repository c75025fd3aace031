"""A model that is told of nodes and pods, and pods' turns as the shell takes them when every write succeeds at once."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

from control.api.schema import Object
from control.scheduler.explain import unschedulable
from control.scheduler.model import Model
from control.scheduler.preemption import Plan, Search


def model_of(*objects: Object) -> Model:
    """Nodes and pods, told by whether they have a namespace."""
    made = Model(frozenset({"default-scheduler"}))
    for one in objects:
        tell = made.pod_changed if "namespace" in one["metadata"] else made.node_changed
        tell(None, one, 0.0)
    return made


def finished(steps: Search) -> Plan:
    """What a search ends with."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(Plan, end.value)


def turn(of: Model, now: float) -> dict[str, str]:
    """Everybody whose turn it is → the node it is bound to; "node < victim, …" it is promised; or what it is told."""
    said: dict[str, str] = {}
    while (pod := of.queue.take(now)) is not None:
        decision = of.decide(pod, now)
        if decision.diagnosis is None:
            said[pod.name] = decision.node
            if decision.awaited:
                of.await_volumes(pod, decision.node, decision.awaited, now)
                continue
            of.assume(pod, decision.node)
            of.bound(pod)
            of.pod_changed(pod.object, with_field(pod.object, "spec", nodeName=decision.node), now)
            continue
        plan = finished(of.preempt(pod, decision, now))
        of.queue.failed(pod.uid, decision.diagnosis.plugins, now)
        said[pod.name] = unschedulable(decision.diagnosis, plan.refusal)
        if plan.node:
            of.promise(pod, plan.node, plan.victims, now)
            said[pod.name] = f"{plan.node} < {', '.join(sorted(victim.name for victim in plan.victims))}"
    return said


def promised(of: Model) -> dict[str, str]:
    """Pods with a promise → where."""
    return {promise.pod.name: promise.node for promise in of.promises.made.values()}


def with_field(obj: Object, part: str, **fields: Any) -> Object:
    """A copy with these fields in its metadata, spec or status."""
    made = deepcopy(obj)
    made[part] = {**made.get(part, {}), **fields}
    return made


def leaving(pod: Object, *, preempted: bool = True) -> Object:
    """The pod on its way out; because preemption told it so, or for a reason of its own."""
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    told = with_field(pod, "status", conditions=[condition] if preempted else [])
    return with_field(told, "metadata", deletionTimestamp="2026-01-01T00:00:00Z")
