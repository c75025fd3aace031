"""fieldRef and resourceFieldRef: what of the pod a container may read of itself. Pure.

Source: "Downward API" in the Kubernetes documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from node_agent.pod import spec
from node_agent.pod.resources import millis, whole
from node_agent.pod.spec import Object

_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class ConfigProblem(Exception):
    """A container cannot be configured: something it refers to is not there. Reason CreateContainerConfigError."""


def _text(*path: str) -> Callable[[Object], str]:
    def read(pod: Object) -> str:
        value: Any = pod
        for step in path:
            value = (value or {}).get(step)
        return str(value or "")

    return read


def _ips(field: str) -> Callable[[Object], str]:
    return lambda pod: ",".join(entry["ip"] for entry in spec.status(pod).get(field) or [])


def _pairs(field: str) -> Callable[[Object], str]:
    def lines(pod: Object) -> str:
        pairs: Mapping[str, str] = spec.metadata(pod).get(field) or {}
        return "\n".join(f"{key}={json.dumps(pairs[key], ensure_ascii=False)}" for key in sorted(pairs))

    return lines


_FIELDS: Mapping[str, Callable[[Object], str]] = {
    "metadata.name": _text("metadata", "name"),
    "metadata.namespace": _text("metadata", "namespace"),
    "metadata.uid": _text("metadata", "uid"),
    "metadata.labels": _pairs("labels"),
    "metadata.annotations": _pairs("annotations"),
    "spec.nodeName": _text("spec", "nodeName"),
    "spec.serviceAccountName": _text("spec", "serviceAccountName"),
    "status.hostIP": _text("status", "hostIP"),
    "status.hostIPs": _ips("hostIPs"),
    "status.podIP": _text("status", "podIP"),
    "status.podIPs": _ips("podIPs"),
}


def field_value(pod: Object, path: str) -> str:
    """The value of a fieldRef. ConfigProblem: no such field."""
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        pairs = spec.metadata(pod).get(subscript.group(1)) or {}
        return str(pairs.get(subscript.group(2), ""))
    read = _FIELDS.get(path)
    if read is None:
        raise ConfigProblem(f"unsupported fieldPath: {path}")
    return read(pod)


def resource_value(pod: Object, container: Object, reference: Object, allocatable: Mapping[str, str]) -> str:
    """The value of a resourceFieldRef, in units of its divisor, rounded up. A limit that is not set is the node's
    allocatable. ConfigProblem: no such container or resource."""
    wanted = reference.get("containerName")
    holder = spec.container(pod, wanted) if wanted else container
    if holder is None:
        raise ConfigProblem(f"container {wanted} not found")
    kind, _, resource = str(reference.get("resource", "")).partition(".")
    if kind not in ("limits", "requests") or not resource:
        raise ConfigProblem(f"unsupported container resource: {reference.get('resource')}")
    have = holder.get("resources") or {}
    value = (have.get(kind) or {}).get(resource)
    if value is None:
        value = (have.get("limits") or {}).get(resource) if kind == "requests" else allocatable.get(resource)
    return str(_divided(resource, value or "0", str(reference.get("divisor") or "0")))


def _divided(resource: str, value: str, divisor: str) -> int:
    unit = "1" if millis(divisor) == 0 else divisor
    if resource == "cpu":
        return -(-millis(value) // max(millis(unit), 1))
    return -(-whole(value) // max(whole(unit), 1))
