"""Claims, persistent volumes and classes in a few words, and pods that use them."""

from __future__ import annotations

from typing import Any

from scheduling_objects import node, pod_object

from control.api.schema import Object
from control.api.volume_binding import BIND_COMPLETED
from control.scheduler.model import Model

NODES = (node("a1", labels={"zone": "a"}), node("a2", labels={"zone": "a"}), node("b1", labels={"zone": "b"}))
FAST = {"metadata": {"name": "fast"}, "provisioner": "example.org/disks", "volumeBindingMode": "Immediate"}
LATE = {**FAST, "metadata": {"name": "late"}, "volumeBindingMode": "WaitForFirstConsumer"}
LOCAL = {**LATE, "metadata": {"name": "local"}, "provisioner": "kubernetes.io/no-provisioner"}
ZONED = {
    **LATE,
    "metadata": {"name": "zoned"},
    "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["b"]}]}, {}],
}


def claim(name: str = "data", volume: str = "", of: str = "", **more: Any) -> Object:
    """volume: that it is bound to; of: its class. more: annotations, phase, deleting, owner, named (not bound yet)."""
    metadata: Object = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    metadata["annotations"] = {**more.get("annotations", {}), **({BIND_COMPLETED: "yes"} if volume else {})}
    if more.get("deleting"):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if owner := more.get("owner"):
        metadata["ownerReferences"] = [{"controller": True, "uid": owner, "kind": "Pod", "name": owner}]
    spec: Object = {k: v for k, v in {"volumeName": volume or more.get("named"), "storageClassName": of}.items() if v}
    spec["resources"] = {"requests": {"storage": more.get("size", "1Gi")}}
    spec |= {"accessModes": ["ReadWriteOnce"], **more.get("spec", {})}
    return {"metadata": metadata, "spec": spec, "status": {"phase": more.get("phase", "Pending")}}


def volume(name: str, zone: str = "", claim: str = "", of: str = "", size: str = "1Gi", **spec: Any) -> Object:
    """claim: whose it is, or is meant to be; available otherwise. of: its class. spec: labels, too."""
    labels = {"disk": name, **spec.pop("labels", {})}
    spec = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": of, **spec}
    phase = "Bound" if claim else "Available"
    if zone:
        terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    if claim:
        spec["claimRef"] = {"namespace": "default", "name": claim}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": phase}}


def using(*claims: str, name: str = "p", **more: Any) -> Object:
    """A pod; name: its uid, too."""
    volumes: list[Object] = [{"name": "token", "projected": {}}]
    volumes += [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    return pod_object(name, uid=name, volumes=[*volumes, *more.pop("volumes", ())], **more)


def model(*objects: Object) -> Model:
    """Of the three nodes, the four classes, and these claims and volumes."""
    made = Model(frozenset({"default-scheduler"}))
    for one in NODES:
        made.node_changed(None, one, 0.0)
    for found in (FAST, LATE, LOCAL, ZONED):
        made.class_changed(None, found, 0.0)
    for one in objects:
        tell = made.claim_changed if "namespace" in one["metadata"] else made.volume_changed
        tell(None, one, 0.0)
    return made
