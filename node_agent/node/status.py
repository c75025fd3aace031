"""The Node object: what is registered, and the status that is reported. Pure.

Source: Node in the Kubernetes API reference; reasons and messages of conditions are the kubelet's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from control.api.quantity import Quantity
from kvstore.version import FLUYT_VERSION
from node_agent.node.facts import Machine
from node_agent.node.settings import NodeSettings
from node_agent.pod.resources import millis, whole
from node_agent.pod.spec import Object, time_of
from node_agent.runtime.types import Image

KUBELET_VERSION: Final = f"v1.32.0+fluyt.{FLUYT_VERSION}"
_MOST_IMAGES: Final = 50
_KI: Final = 1024

# condition → (reason and message when it holds, and when it does not)
_PRESSURES: Final = {
    "MemoryPressure": (
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ),
    "DiskPressure": (
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ),
    "PIDPressure": (
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ),
}


@dataclass(frozen=True, slots=True)
class Situation:
    """How the node is at present. faults: why it is not ready, none when it is. pressures: conditions that hold."""

    pressures: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    runtime: str = ""


def capacity(settings: NodeSettings, machine: Machine) -> dict[str, str]:
    """What the node has: the machine's figures, with those of the settings over them."""
    found = {
        "cpu": str(Quantity.of_millis(machine.cpu)),
        "memory": f"{machine.memory // _KI}Ki",
        "ephemeral-storage": f"{machine.disk // _KI}Ki",
        "pods": str(settings.max_pods),
    }
    found |= {f"hugepages-{size}": str(count) for size, count in machine.huge_pages.items()}
    return found | dict(settings.capacity)


def allocatable(settings: NodeSettings, machine: Machine) -> dict[str, str]:
    """What pods may ask for: capacity without what is reserved and what hard eviction keeps free."""
    found = capacity(settings, machine)
    for name, amount in settings.reserved.items():
        if name in found:
            found[name] = _less(name, found[name], amount)
    for threshold in settings.eviction_hard:
        kept = {"memory.available": "memory", "nodefs.available": "ephemeral-storage"}.get(threshold.signal)
        if kept is not None:
            found[kept] = _less(kept, found[kept], str(threshold.bound(whole(found[kept]))))
    return found


def _less(name: str, amount: str, taken: str) -> str:
    if name == "cpu":
        return str(Quantity.of_millis(max(millis(amount) - millis(taken), 0)))
    left = max(whole(amount) - whole(taken), 0)
    return f"{left // _KI}Ki" if amount.endswith("Ki") else str(left)


def default_labels(settings: NodeSettings, machine: Machine) -> dict[str, str]:
    system = {
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/os": machine.operating_system,
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": machine.operating_system,
        "kubernetes.io/hostname": settings.name,
    }
    return system | dict(settings.labels)


def new_node(settings: NodeSettings, machine: Machine) -> Object:
    """What is created when the API server does not know the node."""
    spec: Object = {}
    if settings.taints:
        spec["taints"] = [dict(taint) for taint in settings.taints]
    if settings.unschedulable:
        spec["unschedulable"] = True
    if settings.provider_id:
        spec["providerID"] = settings.provider_id
    metadata = {
        "name": settings.name,
        "labels": default_labels(settings, machine),
        "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}


def label_patch(node: Object, settings: NodeSettings, machine: Machine) -> Object:
    """A merge patch that brings the node's own labels up to date; empty when they are."""
    have = (node.get("metadata") or {}).get("labels") or {}
    missing = {k: v for k, v in default_labels(settings, machine).items() if have.get(k) != v}
    return {"metadata": {"labels": missing}} if missing else {}


def node_status(
    settings: NodeSettings, machine: Machine, situation: Situation, before: Mapping[str, Any], now: float
) -> Object:
    """The status to report. before: the last one, for the times of conditions."""
    return {
        "capacity": capacity(settings, machine),
        "allocatable": allocatable(settings, machine),
        "addresses": _addresses(settings),
        "conditions": conditions(situation, before, now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": settings.port}},
        "nodeInfo": _node_info(machine, situation),
        "images": _images(situation),
    }


def _addresses(settings: NodeSettings) -> list[Object]:
    found = [{"type": "InternalIP", "address": ip} for ip in settings.ips]
    return [*found, {"type": "Hostname", "address": settings.name}]


def _node_info(machine: Machine, situation: Situation) -> Object:
    return {
        "machineID": machine.machine_id,
        "systemUUID": machine.system_uuid,
        "bootID": machine.boot_id,
        "kernelVersion": machine.kernel,
        "osImage": machine.os_image,
        "containerRuntimeVersion": situation.runtime,
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": KUBELET_VERSION,
        "operatingSystem": machine.operating_system,
        "architecture": machine.architecture,
    }


def _images(situation: Situation) -> list[Object]:
    """The largest ones, which is what the scheduler asks for."""
    largest = sorted(situation.images, key=lambda image: (-image.size, image.id))[:_MOST_IMAGES]
    return [{"names": [*image.digests, *image.tags][:5], "sizeBytes": image.size} for image in largest]


def conditions(situation: Situation, before: Mapping[str, Any], now: float) -> list[Object]:
    """MemoryPressure, DiskPressure, PIDPressure, Ready; lastTransitionTime moves with the status only."""
    found = [_pressure(kind, kind in situation.pressures) for kind in _PRESSURES]
    if situation.faults:
        message = "; ".join(situation.faults)
        found.append({"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": message})
    else:
        message = "kubelet is posting ready status"
        found.append({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": message})
    last = {c["type"]: c for c in before.get("conditions") or []}
    return [_timed(c, last.get(c["type"], {}), now) for c in found]


def _pressure(kind: str, holds: bool) -> Object:
    reason, message = _PRESSURES[kind][0 if holds else 1]
    return {"type": kind, "status": "True" if holds else "False", "reason": reason, "message": message}


def _timed(condition: Object, last: Mapping[str, Any], now: float) -> Object:
    same = last.get("status") == condition["status"]
    since = last.get("lastTransitionTime") if same else None
    return condition | {"lastHeartbeatTime": time_of(now), "lastTransitionTime": since or time_of(now)}


def differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether anything but the times of heartbeats is another."""
    return _timeless(old) != _timeless(new)


def _timeless(status: Mapping[str, Any]) -> Object:
    found = {k: status.get(k) for k in ("capacity", "allocatable", "addresses", "daemonEndpoints", "nodeInfo")}
    found["images"] = status.get("images") or []
    plain = [{k: c.get(k) for k in ("type", "status", "reason", "message")} for c in status.get("conditions") or []]
    found["conditions"] = sorted(plain, key=lambda c: str(c["type"]))
    return found
