"""Nodes and pods in a few words."""

from __future__ import annotations

from itertools import count
from typing import Any

from control.api.schema import Object
from control.scheduler.cluster import Cluster
from control.scheduler.cycle import Decision, decide
from control.scheduler.explain import unschedulable
from control.scheduler.pod import Pod, pod_of

_uids = count(1)


def node(name: str, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **more: Any) -> Object:
    """more: labels, taints ("key=value:Effect"), unschedulable, images {name: bytes}, extended resources as res_x."""
    taints = []
    for text in more.get("taints", ()):
        pair, _, effect = text.rpartition(":")
        key, _, value = pair.partition("=")
        taints.append({"key": key, "value": value, "effect": effect})
    images = [{"names": [image], "sizeBytes": size} for image, size in more.get("images", {}).items()]
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **more.get("labels", {})}},
        "spec": {"taints": taints, "unschedulable": more.get("unschedulable", False)},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": pods, **more.get("extended", {})},
            "images": images,
        },
    }


def pod_object(name: str, cpu: str = "", memory: str = "", namespace: str = "default", **more: Any) -> Object:
    """more: labels, priority, node, ports, owner, status, and any field of the spec."""
    requests = {k: v for k, v in {"cpu": cpu, "memory": memory, **more.pop("extended", {})}.items() if v}
    ports = [{"containerPort": p, "hostPort": p} for p in more.pop("ports", ())]
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "uid": more.pop("uid", f"uid-{next(_uids)}"),
        "labels": more.pop("labels", {}),
    }
    if owner := more.pop("owner", ""):
        metadata["ownerReferences"] = [{"controller": True, "uid": owner, "kind": "ReplicaSet", "name": owner}]
    metadata |= more.pop("metadata", {})
    spec: Object = {"containers": [{"name": "c", "image": "app", "resources": {"requests": requests}, "ports": ports}]}
    if at := more.pop("node", ""):
        spec["nodeName"] = at
    status = more.pop("status", {})
    return {"metadata": metadata, "spec": {**spec, **more}, "status": status}


def pod(name: str, cpu: str = "", memory: str = "", **more: Any) -> Pod:
    """As the scheduler sees it."""
    return pod_of(pod_object(name, cpu, memory, **more))


def cluster(*nodes: Object, pods: tuple[Pod, ...] = ()) -> Cluster:
    """A cluster of these nodes, with these pods placed."""
    made = Cluster()
    for one in nodes:
        made.put_node(one)
    for placed in pods:
        made.add_pod(placed)
    return made


def where(of: Cluster, one: Pod) -> str:
    """The node that is chosen, or why none is."""
    decision: Decision = decide(of, one)
    if decision.node:
        return decision.node
    assert decision.diagnosis is not None
    return unschedulable(decision.diagnosis)
