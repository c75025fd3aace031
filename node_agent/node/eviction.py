"""Which pod goes when the node runs out of something. Pure.

Those that use more than they asked for go first, then by priority, then by how much they use beyond their requests.
Critical pods stay. One pod a round: what it frees shows before the next is chosen.
Source: "Node-pressure Eviction" in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node_agent.node.thresholds import Threshold
from node_agent.pod import spec
from node_agent.pod.actions import Verdict
from node_agent.pod.resources import pod_requests
from node_agent.pod.spec import Object


@dataclass(frozen=True, slots=True)
class Usage:
    """What a pod uses: bytes of memory and disk, processes."""

    memory: int = 0
    disk: int = 0
    pids: int = 0


def victim(threshold: Threshold, pods: Iterable[Object], usage: Mapping[str, Usage]) -> Object | None:
    """The pod to evict for this threshold, None when there is none that may go. usage: by pod uid."""
    candidates = [pod for pod in pods if not spec.critical(pod) and not spec.deleting(pod)]
    return max(candidates, key=lambda pod: _rank(threshold, pod, usage), default=None)


def _rank(threshold: Threshold, pod: Object, usage: Mapping[str, Usage]) -> tuple[bool, int, int]:
    over = _over(threshold, pod, usage.get(spec.uid(pod), Usage()))
    return (over > 0, -spec.priority(pod), over)


def _over(threshold: Threshold, pod: Object, used: Usage) -> int:
    """How much more of the starved resource it uses than it asked for."""
    requests = pod_requests(pod)
    match threshold.resource:
        case "memory":
            return used.memory - requests.get("memory", 0)
        case "pids":
            return used.pids
        case _:
            return used.disk - requests.get("ephemeral-storage", 0)


def verdict(threshold: Threshold, pod: Object, used: Usage, available: int, bound: int) -> Verdict:
    """What the evicted pod's status says."""
    message = (
        f"The node was low on resource: {threshold.resource}. "
        f"Threshold quantity: {bound}, available: {_amount(threshold, available)}. "
    )
    amount = {"memory": used.memory, "pids": used.pids}.get(threshold.resource, used.disk)
    names = ", ".join(container["name"] for container in spec.containers(pod))
    if amount:
        asked = pod_requests(pod).get(threshold.resource, 0)
        message += f"Container {names} was using {_amount(threshold, amount)}, request is {_amount(threshold, asked)}. "
    return Verdict("Evicted", message)


def _amount(threshold: Threshold, value: int) -> str:
    return f"{value // 1024}Ki" if threshold.resource in ("memory", "ephemeral-storage") and value else str(value)
