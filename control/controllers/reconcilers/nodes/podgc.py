"""Pod garbage collector: pods that nobody will ever end: their node is gone, or they never had one, or are too many.

Invariants: a node is gone only if the server says so; a pod that may still run somewhere (its node exists) is left to
its agent, unless an administrator declared the node out of service.

Source: "Pod Lifecycle: garbage collection of Pods" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from control.api.schema import Object
from control.controllers.values.actions import Decision, Delete, Key, Plan, Read, UpdateStatus
from control.controllers.values.conditions import set_condition
from control.controllers.values.objects import (
    cause,
    created_at,
    is_deleting,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed
from control.controllers.values.pods import condition, is_finished

RESOURCE: Final = "pods"
# There is one key: the whole cluster.
KEY: Final = Key("", "pods")
THRESHOLD: Final = 12_500
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
# Seconds between two looks at everything.
_EVERY: Final = 20.0


def reconciler(threshold: int = THRESHOLD) -> Callable[[Key, Observed, datetime], Decision]:
    """threshold: how many finished pods are kept; 0: all."""

    def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
        pods = list(observed.all(RESOURCE))
        lost, reads = _orphaned(pods, observed)
        if reads:
            return Decision(reads=reads)
        plan = Plan()
        for pod in lost:
            _end(plan, pod, "PodGC: node no longer exists", now)
        for pod in pods:
            if is_deleting(pod) and not spec_of(pod).get("nodeName"):
                _delete(plan, pod, "it was never bound to a node and is being deleted")
            elif is_deleting(pod) and _out_of_service(pod, observed):
                _end(plan, pod, "PodGC: node is out of service", now)
        for pod in _surplus(pods, threshold):
            _delete(plan, pod, f"more than {threshold} pods are finished")
        plan.look_again(_EVERY)
        return plan.decision()

    return reconcile


def _orphaned(pods: Iterable[Object], observed: Observed) -> tuple[list[Object], list[Read]]:
    """Pods whose node the server does not know, and what to ask for first."""
    suspects = [
        (pod, Read("nodes", "", node))
        for pod in pods
        if (node := spec_of(pod).get("nodeName")) and observed.get("nodes", "", node) is None
    ]
    reads = list({read: None for _, read in suspects if read not in observed.answers})
    if reads:
        return [], reads
    return [pod for pod, read in suspects if observed.answers[read].code == 404], []


def _out_of_service(pod: Object, observed: Observed) -> bool:
    node = observed.get("nodes", "", spec_of(pod).get("nodeName", ""))
    if node is None:
        return False
    ready = condition(node, "Ready")
    taints = spec_of(node).get("taints") or ()
    return any(taint.get("key") == OUT_OF_SERVICE for taint in taints) and (ready or {}).get("status") != "True"


def _surplus(pods: Iterable[Object], threshold: int) -> list[Object]:
    """The oldest finished pods beyond the threshold, evicted ones first."""
    finished = [pod for pod in pods if is_finished(pod) and not is_deleting(pod)]
    if not threshold or len(finished) <= threshold:
        return []
    finished.sort(key=lambda pod: (status_of(pod).get("reason") != "Evicted", created_at(pod), name_of(pod)))
    return finished[: len(finished) - threshold]


def _end(plan: Plan, pod: Object, message: str, now: datetime) -> None:
    """Say that it failed, so that its controllers know how it ended, and delete it without waiting for its agent."""
    if not is_finished(pod):
        conditions = set_condition(
            status_of(pod).get("conditions") or [],
            "DisruptionTarget",
            "True",
            now,
            reason="DeletionByPodGC",
            message=message,
        )
        failed = with_status(pod, {**status_of(pod), "phase": "Failed", "conditions": conditions})
        plan.actions.append(UpdateStatus(RESOURCE, failed, cause(RESOURCE, pod, message)))
    _delete(plan, pod, message)


def _delete(plan: Plan, pod: Object, rule: str) -> None:
    because = cause(RESOURCE, pod, rule)
    plan.actions.append(Delete(RESOURCE, namespace_of(pod), name_of(pod), uid_of(pod), because, grace=0))


def wake(resource: str, old: Object | None, new: Object | None, _observed: Observed) -> Iterable[Key]:
    """When a node goes, or a pod that has no node is being deleted."""
    if resource == "nodes":
        return [KEY] if new is None else []
    if new is not None and is_deleting(new) and not spec_of(new).get("nodeName"):
        return [KEY]
    return []
