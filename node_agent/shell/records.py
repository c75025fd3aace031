"""Events about pods and the node, in Kubernetes' words.

The recorder itself (counting, merging, spam filter, sending) is control.client's; here is what it is told.
"""

from __future__ import annotations

from typing import Any, Protocol

from node_agent.pod import spec
from node_agent.pod.spec import Object

NORMAL, WARNING = "Normal", "Warning"


class Recorder(Protocol):
    """Takes note of an event and returns at once; sending it is its own affair, and may fail in silence."""

    def record(self, about: Object, kind: str, reason: str, message: str) -> None:
        """about: an ObjectReference. kind: Normal or Warning."""
        ...


def pod_reference(pod: Object, container: str = "") -> Object:
    """An ObjectReference to the pod, or to one of its containers."""
    found: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": spec.namespace(pod),
        "name": spec.name(pod),
        "uid": spec.uid(pod) if spec.is_static(pod) else spec.metadata(pod).get("uid", ""),
        "resourceVersion": spec.metadata(pod).get("resourceVersion", ""),
    }
    path = _field_path(pod, container)
    return found | ({"fieldPath": path} if path else {})


def _field_path(pod: Object, container: str) -> str:
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for entry in spec.spec(pod).get(field) or []:
            if entry.get("name") == container:
                return f"spec.{field}{{{container}}}"
    return ""


def node_reference(name: str) -> Object:
    """As the kubelet's events have it: the uid of a node's events is its name."""
    return {"apiVersion": "v1", "kind": "Node", "name": name, "uid": name}


class PodEvents:
    """Events about one pod."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def normal(self, pod: Object, reason: str, message: str, container: str = "") -> None:
        self._recorder.record(pod_reference(pod, container), NORMAL, reason, message)

    def warning(self, pod: Object, reason: str, message: str, container: str = "") -> None:
        self._recorder.record(pod_reference(pod, container), WARNING, reason, message)


class Forgetful:
    """A recorder that keeps nothing, for nodes that only pretend."""

    def record(self, *_: Any) -> None:
        return
