"""Columns of pods: what a pod is doing, in the one word people look for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from control.api.cells.words import NONE, dig, human_duration
from control.api.meta import is_true, parse_time
from control.api.schema import Object


@dataclass(frozen=True, slots=True)
class PodSummary:
    """What the main columns of a pod say. last_restart: when a container ended before its last start."""

    ready: int
    total: int
    reason: str
    restarts: int
    last_restart: datetime | None


def summary(pod: Object) -> PodSummary:
    """The pod in short."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    sidecars = {c["name"] for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"}
    total = len(spec.get("containers", ())) + len(sidecars)
    reason = status.get("reason") or _gated(status) or status.get("phase") or "Unknown"
    first = status.get("initContainerStatuses", ())
    stuck, sidecars_ready = _initializing(spec, first, sidecars)
    if stuck and not is_true(pod, "Initialized"):
        return PodSummary(sidecars_ready, total, _ending(pod, stuck), _restarts(first), _last_restart(first))
    counted = [*(s for s in first if s.get("name") in sidecars), *status.get("containerStatuses", ())]
    reason, ready = _running(pod, status.get("containerStatuses", ()), stuck or reason)
    return PodSummary(ready + sidecars_ready, total, _ending(pod, reason), _restarts(counted), _last_restart(counted))


def _gated(status: Object) -> str:
    gated = any(
        condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated"
        for condition in status.get("conditions", ())
    )
    return "SchedulingGated" if gated else ""


def _initializing(spec: Object, statuses: Iterable[Object], sidecars: set[str]) -> tuple[str, int]:
    """(what the first unfinished init container hangs on, or "" when all are done; ready sidecars before it)."""
    ready = 0
    for index, status in enumerate(statuses):
        state = status.get("state") or {}
        ended = state.get("terminated")
        if ended is not None and not ended.get("exitCode"):
            continue
        if status.get("name") in sidecars and status.get("started"):
            ready += bool(status.get("ready"))
            continue
        if ended is not None:
            return f"Init:{_end(ended)}", ready
        waiting = (state.get("waiting") or {}).get("reason", "")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}", ready
        return f"Init:{index}/{len(spec.get('initContainers', ()))}", ready
    return "", ready


def _end(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _running(pod: Object, statuses: Any, reason: str) -> tuple[str, int]:
    """(what the first container in trouble says, or the reason so far; ready containers)."""
    ready, running = 0, False
    for status in reversed(statuses):
        state = status.get("state") or {}
        waiting, ended = (state.get("waiting") or {}).get("reason"), state.get("terminated")
        if waiting:
            reason = waiting
        elif ended is not None:
            reason = _end(ended)
        elif status.get("ready") and "running" in state:
            ready, running = ready + 1, True
    if reason == "Completed" and running:
        reason = "Running" if is_true(pod, "Ready") else "NotReady"
    return reason, ready


def _ending(pod: Object, reason: str) -> str:
    if not dig(pod, "metadata", "deletionTimestamp"):
        return reason
    if dig(pod, "status", "reason") == "NodeLost":
        return "Unknown"
    return reason if dig(pod, "status", "phase") in ("Succeeded", "Failed") else "Terminating"


def _restarts(statuses: Iterable[Object]) -> int:
    return sum(status.get("restartCount", 0) for status in statuses)


def _last_restart(statuses: Iterable[Object]) -> datetime | None:
    ends = [dig(status, "lastState", "terminated", "finishedAt") for status in statuses]
    return max((parse_time(end) for end in ends if end), default=None)


def _ready(pod: Object, now: datetime) -> str:
    found = summary(pod)
    return f"{found.ready}/{found.total}"


def _status(pod: Object, now: datetime) -> str:
    return summary(pod).reason


def _restart_text(pod: Object, now: datetime) -> str:
    found = summary(pod)
    if not found.restarts or found.last_restart is None:
        return str(found.restarts)
    return f"{found.restarts} ({human_duration((now - found.last_restart).total_seconds())} ago)"


def _ip(pod: Object, now: datetime) -> str:
    addresses = dig(pod, "status", "podIPs")
    return (addresses[0].get("ip") if addresses else dig(pod, "status", "podIP")) or NONE


def _node(pod: Object, now: datetime) -> str:
    return dig(pod, "spec", "nodeName") or NONE


def _nominated_node(pod: Object, now: datetime) -> str:
    return dig(pod, "status", "nominatedNodeName") or NONE


def _readiness_gates(pod: Object, now: datetime) -> str:
    gates = dig(pod, "spec", "readinessGates")
    if not gates:
        return NONE
    return f"{sum(is_true(pod, gate.get('conditionType', '')) for gate in gates)}/{len(gates)}"


def conditions(pod: Object) -> list[Object]:
    """The row's conditions: kubectl greys out pods that are done."""
    phase = dig(pod, "status", "phase")
    if phase not in ("Succeeded", "Failed"):
        return []
    message = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


CELLS: Final = {
    "pod_ready": _ready,
    "pod_status": _status,
    "pod_restarts": _restart_text,
    "pod_ip": _ip,
    "pod_node": _node,
    "pod_nominated_node": _nominated_node,
    "pod_readiness_gates": _readiness_gates,
}
