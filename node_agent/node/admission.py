"""Whether the node takes a pod that was bound to it: resources, ports, selector, pressure. Pure.

The scheduler decides with what it knew; the node has the last word. A pod that it does not take fails with the reason
and message here, and its controller makes another. Critical pods may take the place of others (`victims`).
Source: "Node-pressure Eviction" and "Assigning Pods to Nodes" in the Kubernetes documentation; the kubelet's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from node_agent.node.affinity import matches_node
from node_agent.pod import spec
from node_agent.pod.actions import Verdict
from node_agent.pod.network import host_ports
from node_agent.pod.resources import millis, pod_requests, qos_class, whole
from node_agent.pod.spec import Object


def admit(
    pod: Object,
    others: Iterable[Object],
    node: Object,
    allocatable: Mapping[str, str],
    pressures: frozenset[str],
) -> Verdict | None:
    """None: it is taken. others: the pods that the node has taken and that have not ended."""
    taken = list(others)
    if _foreign(pod):
        why = "Failed to admit pod as the OS field doesn't match node OS"
        return Verdict("PodOSNotSupported", f"Pod was rejected: {why}")
    if spec.is_static(pod):
        return None
    pressed = _under_pressure(pod, pressures)
    if pressed is not None:
        return pressed
    if not matches_node(pod, node):
        why = "node(s) didn't match Pod's node affinity/selector"
        return Verdict("NodeAffinity", f"Pod was rejected: Predicate NodeAffinity failed: {why}")
    if _ports_clash(pod, taken):
        why = "node(s) didn't have free ports for the requested pod ports"
        return Verdict("NodePorts", f"Pod was rejected: Predicate NodePorts failed: {why}")
    return _resources(pod, taken, allocatable)


def _foreign(pod: Object) -> bool:
    """Whether it says that it is for another operating system: then pod security has asked less of it, too."""
    return (pod["spec"].get("os") or {}).get("name") not in (None, "", "linux")


def _under_pressure(pod: Object, pressures: frozenset[str]) -> Verdict | None:
    if not pressures or spec.critical(pod):
        return None
    if pressures == {"MemoryPressure"} and qos_class(pod) != "BestEffort":
        return None
    return Verdict("Evicted", f"Pod was rejected: The node had condition: [{', '.join(sorted(pressures))}]. ")


def _ports_clash(pod: Object, others: list[Object]) -> bool:
    wanted = host_ports(pod)
    if not wanted:
        return False
    return any(_same_port(mine, theirs) for other in others for theirs in host_ports(other) for mine in wanted)


def _same_port(one: tuple[str, int, str], two: tuple[str, int, str]) -> bool:
    anywhere = ("", "0.0.0.0", "::")
    return one[:2] == two[:2] and (one[2] == two[2] or one[2] in anywhere or two[2] in anywhere)


def _resources(pod: Object, others: list[Object], allocatable: Mapping[str, str]) -> Verdict | None:
    room = whole(allocatable.get("pods", "110"))
    if len(others) + 1 > room:
        return _out_of("pods", 1, len(others), room)
    used: dict[str, int] = {}
    for other in others:
        for name, amount in pod_requests(other).items():
            used[name] = used.get(name, 0) + amount
    for name, amount in pod_requests(pod).items():
        have = allocatable.get(name, "0")
        most = millis(have) if name == "cpu" else whole(have)
        if amount > 0 and used.get(name, 0) + amount > most:
            return _out_of(name, amount, used.get(name, 0), most)
    return None


def _out_of(name: str, requested: int, used: int, capacity: int) -> Verdict:
    why = f"Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
    return Verdict(f"OutOf{name}", f"Pod was rejected: {why}")


def victims(pod: Object, others: Iterable[Object], allocatable: Mapping[str, str]) -> list[Object]:
    """Which pods a critical pod may displace so that it fits, the least important first; none when that cannot help."""
    if not spec.critical(pod):
        return []
    left = list(others)
    ranked = sorted((o for o in left if not spec.critical(o)), key=_importance)
    chosen: list[Object] = []
    for other in ranked:
        if _resources(pod, left, allocatable) is None:
            break
        left.remove(other)
        chosen.append(other)
    return chosen if chosen and _resources(pod, left, allocatable) is None else []


def _importance(pod: Object) -> tuple[int, int]:
    order = {"BestEffort": 0, "Burstable": 1, "Guaranteed": 2}
    return (spec.priority(pod), order[qos_class(pod)])
