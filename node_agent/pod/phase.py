"""The phase of a pod and its conditions, from the statuses of its containers. Pure.

Source: "Pod phase" and "Pod conditions" in the Kubernetes documentation.
"""

from __future__ import annotations

from typing import Any

from node_agent.pod import spec
from node_agent.pod.spec import Object


def phase_of(pod: Object, init: list[Object], containers: list[Object], over: bool) -> str:
    """Pending, Running, Succeeded or Failed. init, containers: their statuses; over: nothing will run any more."""
    failed_init = any(_failed_for_good(pod, s) for s in _plain_init(pod, init))
    if failed_init and spec.restart_policy(pod) == "Never":
        return "Failed"
    if _init_pending(pod, init) and not any(_has_run(s) for s in containers):
        return "Failed" if over else "Pending"
    if any("waiting" in s["state"] and not s.get("lastState") for s in containers):
        return "Failed" if over else "Pending"
    if any("running" in s["state"] for s in containers):
        return "Running"
    codes = [_code(s) for s in containers]
    policy = spec.restart_policy(pod)
    if policy == "Always" and not over:
        return "Running"
    if all(code == 0 for code in codes):
        return "Succeeded"
    return "Failed" if policy == "Never" or over else "Running"


def phase_before_end(pod: Object, phase: str, containers: list[Object]) -> str:
    """What is said of a pod that has come to its end while something of it still runs.

    phase: what its containers alone make of it. Who sees a phase that is for ever may give to others what the pod held.
    """
    if spec.status(pod).get("phase") == "Running":
        return "Running"
    if phase in ("Pending", "Running"):
        return phase
    return "Running" if any(map(_has_run, containers)) else "Pending"


def _plain_init(pod: Object, statuses: list[Object]) -> list[Object]:
    sidecars = {c["name"] for c in spec.init_containers(pod) if spec.is_sidecar(c)}
    return [s for s in statuses if s["name"] not in sidecars]


def _init_pending(pod: Object, statuses: list[Object]) -> bool:
    sidecars = {c["name"] for c in spec.init_containers(pod) if spec.is_sidecar(c)}
    return any(not (s["started"] if s["name"] in sidecars else s["ready"]) for s in statuses)


def _failed_for_good(pod: Object, status: Object) -> bool:
    ended = status["state"].get("terminated")
    return bool(ended and ended["exitCode"] != 0)


def _has_run(status: Object) -> bool:
    return "running" in status["state"] or "terminated" in status["state"] or bool(status.get("lastState"))


def _code(status: Object) -> int:
    ended = status["state"].get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    return int(ended.get("exitCode", 0))


def conditions_of(
    pod: Object, phase: str, init: list[Object], containers: list[Object], sandbox_ready: bool, now: float
) -> list[Object]:
    """All conditions the node answers for, then those that others have set. lastTransitionTime moves with status."""
    ready = _containers_ready(containers, phase)
    own = [
        _condition("PodReadyToStartContainers", sandbox_ready),
        _initialized(pod, init, phase),
        _with_gates(pod, ready),
        {"type": "ContainersReady"} | ready,
        _condition("PodScheduled", True),
    ]
    before = {c["type"]: c for c in spec.status(pod).get("conditions") or []}
    mine = {c["type"] for c in own}
    own = [_since(c, before.get(c["type"]), now) for c in own]
    return own + [c for kind, c in before.items() if kind not in mine]


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Object:
    found: Object = {"type": kind, "status": "True" if holds else "False"}
    return found | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def _since(condition: Object, before: Object | None, now: float) -> Object:
    same = before is not None and before.get("status") == condition["status"]
    since = (before or {}).get("lastTransitionTime") if same else None
    return condition | {"lastProbeTime": None, "lastTransitionTime": since or spec.time_of(now)}


def _initialized(pod: Object, init: list[Object], phase: str) -> Object:
    if phase == "Succeeded":
        return _condition("Initialized", True, "PodCompleted")
    sidecars = {c["name"] for c in spec.init_containers(pod) if spec.is_sidecar(c)}
    late = [s["name"] for s in init if not (s["started"] if s["name"] in sidecars else s["ready"])]
    if late and phase != "Running":
        message = f"containers with incomplete status: [{' '.join(late)}]"
        return _condition("Initialized", False, "ContainersNotInitialized", message)
    return _condition("Initialized", True)


def _containers_ready(containers: list[Object], phase: str) -> dict[str, Any]:
    if phase == "Succeeded":
        return {"status": "False", "reason": "PodCompleted"}
    if phase == "Failed":
        return {"status": "False", "reason": "PodFailed"}
    late = [s["name"] for s in containers if not s["ready"]]
    if late:
        message = f"containers with unready status: [{' '.join(late)}]"
        return {"status": "False", "reason": "ContainersNotReady", "message": message}
    return {"status": "True"}


def _with_gates(pod: Object, ready: dict[str, Any]) -> Object:
    """The condition Ready: the containers are, and so is every readiness gate."""
    if ready["status"] != "True":
        return {"type": "Ready"} | ready
    have = {c["type"]: c.get("status", "") for c in spec.status(pod).get("conditions") or []}
    for gate in spec.spec(pod).get("readinessGates") or []:
        kind = gate.get("conditionType", "")
        if kind not in have:
            message = f'corresponding condition of pod readiness gate "{kind}" does not exist.'
            return _condition("Ready", False, "ReadinessGatesNotReady", message)
        if have[kind] != "True":
            message = f'the status of pod readiness gate "{kind}" is not "True", but {have[kind]}'
            return _condition("Ready", False, "ReadinessGatesNotReady", message)
    return {"type": "Ready"} | ready
