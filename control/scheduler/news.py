"""What may help whom: changes of the cluster → the filters whose verdict on a pod they may turn. And what is no change.

Source: "Scheduling Framework" of Kubernetes' documentation, the events that its plugins register for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from control.api import meta
from control.api.schema import Object
from control.scheduler.filters import VOLUME_BINDING, VOLUME_RESTRICTIONS

POD_CAME: Final = frozenset({"PodTopologySpread", "InterPodAffinity"})
POD_GONE: Final = POD_CAME | {"NodeResourcesFit", "NodePorts", VOLUME_RESTRICTIONS}
# With the node its domain may be gone; and its pods are nobody's neighbours any more.
NODE_GONE: Final = POD_CAME | {VOLUME_RESTRICTIONS}
# A place, and volumes, that were kept for a pod.
PLACE_FREED: Final = POD_GONE | {VOLUME_BINDING}
NAMESPACE: Final = frozenset({"InterPodAffinity"})

OVER: Final = ("Succeeded", "Failed")


def is_over(pod: Mapping[str, Any]) -> bool:
    """Whether it has ended and takes no place any more."""
    return (pod.get("status") or {}).get("phase") in OVER


def nominated(pod: Object | None) -> str:
    """The node that its status says it is promised; "" if none."""
    return ((pod or {}).get("status") or {}).get("nominatedNodeName") or ""


def of_interest(node: Object) -> tuple[Any, ...]:
    """All of a node that decisions look at: what changes besides, as with every heartbeat, is no news."""
    status, spec = node.get("status") or {}, node.get("spec") or {}
    return (
        status.get("allocatable"),
        status.get("capacity"),
        status.get("images"),
        spec.get("unschedulable"),
        spec.get("taints"),
        meta.labels(node),
    )
