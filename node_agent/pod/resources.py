"""From a container's requests and limits to cgroup figures, and a pod's class of service. Pure.

Source: "Pod Quality of Service Classes" and "Node-pressure Eviction" (oom_score_adj) in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from control.api.quantity import Quantity
from node_agent.pod import spec
from node_agent.pod.spec import Object
from node_agent.runtime.types import Resources

CPU_PERIOD: Final = 100_000  # microseconds
_LEAST_SHARES, _MOST_SHARES, _LEAST_QUOTA = 2, 262_144, 1_000
_GUARANTEED_OOM, _BEST_EFFORT_OOM = -997, 1000
_NODE_CRITICAL: Final = 2_000_001_000  # priority of system-node-critical
_COMPUTE = ("cpu", "memory")


def millis(quantity: str | int | float) -> int:
    """A quantity in thousandths, rounded up: "250m" is 250, "1" is 1000. StatusError: no quantity."""
    return Quantity.parse(str(quantity)).milli()


def whole(quantity: str | int | float) -> int:
    """A quantity in whole units, rounded up: "1Ki" is 1024."""
    return Quantity.parse(str(quantity)).ceil()


def wanted(container: Object, kind: str, resource: str) -> int:
    """kind: "requests" or "limits"; CPU in thousandths, others whole; 0 when it says nothing."""
    resources = container.get("resources") or {}
    value = (resources.get(kind) or {}).get(resource)
    if value is None and kind == "requests":
        value = (resources.get("limits") or {}).get(resource)
    if value is None:
        return 0
    return millis(value) if resource == "cpu" else whole(value)


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort."""
    any_set, guaranteed = False, True
    for container in spec.init_containers(pod) + spec.containers(pod):
        for resource in _COMPUTE:
            request, limit = wanted(container, "requests", resource), wanted(container, "limits", resource)
            any_set = any_set or bool(request or limit)
            guaranteed = guaranteed and limit > 0 and request == limit
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def oom_score(pod: Object, container: Object, memory_capacity: int) -> int:
    """oom_score_adj: who is killed first when the machine runs out of memory. memory_capacity: bytes, > 0."""
    if spec.priority(pod) >= _NODE_CRITICAL:
        return _GUARANTEED_OOM
    match qos_class(pod):
        case "Guaranteed":
            return _GUARANTEED_OOM
        case "BestEffort":
            return _BEST_EFFORT_OOM
    share = 1000 - (1000 * wanted(container, "requests", "memory")) // max(memory_capacity, 1)
    return min(max(share, 1000 + _GUARANTEED_OOM), _BEST_EFFORT_OOM - 1)


def cgroup_resources(pod: Object, container: Object, memory_capacity: int, pids: int = 0) -> Resources:
    """What the runtime sets for the container. pids: most processes of a pod, 0 for no limit."""
    cpu, limit = wanted(container, "requests", "cpu"), wanted(container, "limits", "cpu")
    return Resources(
        cpu_shares=min(max(cpu * 1024 // 1000, _LEAST_SHARES), _MOST_SHARES),
        cpu_quota=max(limit * CPU_PERIOD // 1000, _LEAST_QUOTA) if limit else 0,
        cpu_period=CPU_PERIOD,
        memory=wanted(container, "limits", "memory"),
        pids=pids,
        oom_score_adj=oom_score(pod, container, memory_capacity),
    )


def pod_requests(pod: Object) -> dict[str, int]:
    """What the node sets aside for the pod, by resource; CPU in thousandths.

    Init containers run one after the other, beside the sidecars that stand before them; the larger of that and of
    containers plus all sidecars counts, and the overhead comes on top.
    """
    total = _sum(spec.containers(pod))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.init_containers(pod):
        own = _requests(container)
        if spec.is_sidecar(container):
            sidecars = _added(sidecars, own)
            own = {}
        peak = _largest(peak, _added(sidecars, own))
    total = _largest(_added(total, sidecars), peak)
    return _added(total, _amounts(spec.spec(pod).get("overhead") or {}))


def _requests(container: Object) -> dict[str, int]:
    resources = container.get("resources") or {}
    return _amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _amounts(quantities: Mapping[str, str]) -> dict[str, int]:
    return {name: millis(value) if name == "cpu" else whole(value) for name, value in quantities.items()}


def _sum(containers: list[Object]) -> dict[str, int]:
    total: dict[str, int] = {}
    for container in containers:
        total = _added(total, _requests(container))
    return total


def _added(one: Mapping[str, int], two: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + two.get(name, 0) for name in {**one, **two}}


def _largest(one: Mapping[str, int], two: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), two.get(name, 0)) for name in {**one, **two}}
