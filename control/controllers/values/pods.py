"""What controllers want to know of a pod: is it active, ready, available, done; and which of several is missed least.

Source: "Pod Lifecycle" and "ReplicaSet: pod deletion cost" in Kubernetes' documentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, cast

from control.api.schema import Object
from control.controllers.values.objects import (
    annotations_of,
    created_at,
    is_deleting,
    name_of,
    parse_time,
    spec_of,
    status_of,
)

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_RANK: Final = {"Pending": 0, "Unknown": 1, "Running": 2}


def phase(pod: Object) -> str:
    return str(status_of(pod).get("phase") or "Pending")


def is_finished(pod: Object) -> bool:
    """Its containers have ended for good."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """It counts as a replica: not finished and not on its way out."""
    return not is_finished(pod) and not is_deleting(pod)


def condition(obj: Object, kind: str) -> dict[str, Any] | None:
    """An object's condition of that type."""
    for found in status_of(obj).get("conditions") or ():
        if found.get("type") == kind:
            return cast(dict[str, Any], found)
    return None


def is_ready(pod: Object) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready.get("status") == "True"


def ready_since(pod: Object) -> datetime | None:
    """Since when it is ready; None when it is not."""
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    return parse_time(ready.get("lastTransitionTime")) or created_at(pod)


def available_in(pod: Object, min_ready: int, now: datetime) -> float | None:
    """Seconds until a ready pod is available: 0 when it is. None: it is not ready. min_ready: seconds."""
    if not min_ready:
        return 0.0 if is_ready(pod) else None
    since = ready_since(pod)
    return None if since is None else max(0.0, min_ready - (now - since).total_seconds())


def is_available(pod: Object, min_ready: int, now: datetime) -> bool:
    """It has been ready for min_ready seconds."""
    return available_in(pod, min_ready, now) == 0.0


def soonest_available(pods: Iterable[Object], min_ready: int, now: datetime) -> float | None:
    """Seconds until the next ready pod becomes available; None when no pod is waiting for that."""
    if not min_ready:
        return None
    waits = [wait for pod in pods if (wait := available_in(pod, min_ready, now))]
    return min(waits, default=None)


def restarts(pod: Object) -> int:
    """The highest restart count of its containers."""
    return max((int(c.get("restartCount", 0)) for c in status_of(pod).get("containerStatuses") or ()), default=0)


def deletion_cost(pod: Object) -> int:
    """What the annotation says; 0 when it says nothing that is a 32-bit number."""
    text = annotations_of(pod).get(DELETION_COST, "0")
    try:
        cost = int(text)
    except ValueError:
        return 0
    return cost if -(2**31) <= cost < 2**31 else 0


def victims(pods: Iterable[Object], count: int, beside: dict[str, int], now: datetime) -> list[Object]:
    """The `count` pods that are missed least, the first of them least of all.

    Those without a node go first, then by phase, unready ones, cheap ones, those with most pods of the same set on
    their node (beside: node → pods), those ready for the shortest time, restarted often, young. Ages are compared by
    their order of magnitude, so that not always the newest of nearly equals goes.
    """
    return sorted(pods, key=lambda pod: _missed(pod, beside, now))[:count]


def _missed(pod: Object, beside: dict[str, int], now: datetime) -> tuple[Any, ...]:
    node = spec_of(pod).get("nodeName", "")
    since = ready_since(pod)
    return (
        bool(node),
        _PHASE_RANK.get(phase(pod), 2),
        since is not None,
        deletion_cost(pod),
        -beside.get(node, 0),
        _magnitude(since, now) if since else 0,
        -restarts(pod),
        _magnitude(created_at(pod), now),
        str(pod["metadata"].get("uid") or name_of(pod)),
    )


def _magnitude(since: datetime, now: datetime) -> int:
    seconds = (now - since).total_seconds()
    return int(math.log2(seconds)) if seconds >= 1 else 0


def used_resources(containers: Iterable[dict[str, Any]], kind: str = "requests") -> list[dict[str, str]]:
    """The requests (or limits) of each container, as they stand."""
    return [(c.get("resources") or {}).get(kind) or {} for c in containers]
