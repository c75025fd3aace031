"""What a node agent asks of a Pod object: names, containers and their order, deadlines, ports, class of service.

Pods are plain JSON objects as the API has them, with Kubernetes' defaults already filled in by the API server; a static
pod's are filled in when its file is read. Reading here never changes the object.

Source: Pod in the Kubernetes API reference, v1.32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

Object = dict[str, Any]

STATIC_SOURCE: Final = "kubernetes.io/config.source"  # "file" on a static pod, "api" on others
STATIC_HASH: Final = "kubernetes.io/config.hash"  # of a static pod's file
MIRROR: Final = "kubernetes.io/config.mirror"  # on the mirror of a static pod: the static pod's hash
DEFAULT_GRACE: Final = 30.0  # seconds
TERMINAL: Final = ("Succeeded", "Failed")  # phases
SYSTEM_CRITICAL_PRIORITY: Final = 2_000_000_000


def metadata(pod: Object) -> Object:
    found: Object = pod.get("metadata") or {}
    return found


def spec(pod: Object) -> Object:
    found: Object = pod.get("spec") or {}
    return found


def status(pod: Object) -> Object:
    found: Object = pod.get("status") or {}
    return found


def name(pod: Object) -> str:
    return str(metadata(pod).get("name", ""))


def namespace(pod: Object) -> str:
    return str(metadata(pod).get("namespace", ""))


def annotations_of(pod: Object) -> Mapping[str, str]:
    return metadata(pod).get("annotations") or {}


def is_static(pod: Object) -> bool:
    return annotations_of(pod).get(STATIC_SOURCE) == "file" and MIRROR not in annotations_of(pod)


def is_mirror(pod: Object) -> bool:
    return MIRROR in annotations_of(pod)


def uid(pod: Object) -> str:
    """The pod's identity on the node: a static pod's is the hash of its file, which its mirror carries, too."""
    return annotations_of(pod).get(STATIC_HASH) or str(metadata(pod).get("uid", ""))


def full_name(pod: Object) -> str:
    """name_namespace(uid), as Kubernetes writes it into events."""
    return f"{name(pod)}_{namespace(pod)}({uid(pod)})"


def containers(pod: Object) -> list[Object]:
    return list(spec(pod).get("containers") or [])


def init_containers(pod: Object) -> list[Object]:
    return list(spec(pod).get("initContainers") or [])


def ephemeral_containers(pod: Object) -> list[Object]:
    return list(spec(pod).get("ephemeralContainers") or [])


def every_container(pod: Object) -> Iterator[Object]:
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def is_sidecar(container: Object) -> bool:
    """An init container that stays: restartPolicy Always."""
    return container.get("restartPolicy") == "Always"


def container(pod: Object, wanted: str) -> Object | None:
    return next((c for c in every_container(pod) if c.get("name") == wanted), None)


def restart_policy(pod: Object) -> str:
    return str(spec(pod).get("restartPolicy") or "Always")


def with_addresses(pod: Object, ips: tuple[str, ...], node_ips: tuple[str, ...]) -> Object:
    """The pod as it will be once its status is written: containers may ask for its addresses before that."""
    found = dict(pod.get("status") or {})
    for one, many, addresses in (("podIP", "podIPs", ips), ("hostIP", "hostIPs", node_ips)):
        if addresses:
            found |= {one: addresses[0], many: [{"ip": ip} for ip in addresses]}
    return {**pod, "status": found}


def host_network(pod: Object) -> bool:
    return bool(spec(pod).get("hostNetwork"))


def deleting(pod: Object) -> bool:
    return bool(metadata(pod).get("deletionTimestamp"))


def grace_period(pod: Object) -> float:
    """Seconds that a container has between SIGTERM and SIGKILL: what the deletion asks, else what the spec says."""
    asked = metadata(pod).get("deletionGracePeriodSeconds") if deleting(pod) else None
    if asked is None:
        asked = spec(pod).get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE if asked is None else max(float(asked), 0.0)


def terminal(pod: Object) -> bool:
    return status(pod).get("phase") in TERMINAL


def priority(pod: Object) -> int:
    return int(spec(pod).get("priority") or 0)


def critical(pod: Object) -> bool:
    """Whether it may displace others and is never evicted: static pods and those of system priority."""
    return is_static(pod) or is_mirror(pod) or priority(pod) >= SYSTEM_CRITICAL_PRIORITY


def container_hash(container: Object) -> str:
    """Changes when a running container must be replaced: image and name are all an update of a pod may change."""
    text = f"{container.get('name', '')}\0{container.get('image', '')}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def port_number(container: Object, port: int | str) -> int:
    """A port given by number or by the name of one of the container's ports. ValueError: no such port."""
    if isinstance(port, int):
        return port
    for known in container.get("ports") or []:
        if known.get("name") == port:
            return int(known["containerPort"])
    if port.isdigit():
        return int(port)
    raise ValueError(f"couldn't find port: {port!r} in container {container.get('name')!r}")


def seconds_of(time: str | None) -> float:
    """An API time as seconds since 1970; 0.0 for none. ValueError: not RFC 3339."""
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() if time else 0.0


def time_of(seconds: float) -> str:
    """Seconds since 1970 as an API time, rounded down to whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
