"""containerStatuses: what the API shows of each container. Pure.

Source: ContainerStatus in the Kubernetes API reference; the words of reasons are the kubelet's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node_agent.pod import spec
from node_agent.pod.observed import Container, Observed, State
from node_agent.pod.spec import Object

_LOST = "The container could not be located when the pod was terminated"
_LOST_CODE = 137


@dataclass(frozen=True, slots=True)
class View:
    """What statuses are made from. runtime: prefix of container ids, as "docker"; over: nothing will run any more."""

    pod: Object
    observed: Observed
    waiting: Mapping[str, tuple[str, str]]
    runtime: str
    over: bool = False


def container_statuses(view: View, containers: list[Object], field: str) -> list[Object]:
    """The statuses of these containers. field: where the pod's last status has them, as "containerStatuses"."""
    before = {s["name"]: s for s in spec.status(view.pod).get(field) or []}
    return [container_status(view, c, before.get(c["name"]), field == "initContainerStatuses") for c in containers]


def container_status(view: View, container: Object, before: Object | None, init: bool = False) -> Object:
    """One entry. before: its last one, for what the runtime has forgotten since."""
    name = container["name"]
    current, previous = view.observed.current(name), view.observed.previous(name)
    waits = view.waiting.get(name)
    found: Object = {"name": name, "ready": False, "started": False, "restartCount": 0}
    found |= {"image": container.get("image", ""), "imageID": "", "state": {}, "lastState": {}}
    if current is None:
        return _absent(view, found, before, waits)
    found |= {"restartCount": current.attempt, "imageID": current.image_id, "containerID": _id(view, current)}
    found["image"] = current.image or found["image"]
    if waits is not None and not current.running:
        found["state"] = waiting(*waits)
        last = current if current.ended else previous
    else:
        found["state"] = _state(view, current)
        last = previous
    if last is not None and last.ended:
        found["lastState"] = {"terminated": terminated(view, last)}
    elif before is not None and before.get("restartCount") == current.attempt:
        found["lastState"] = before.get("lastState") or {}
    _readiness(view, container, current, found, init)
    return found


def _absent(view: View, found: Object, before: Object | None, waits: tuple[str, str] | None) -> Object:
    """No container of that name: it waits for its first start, or was cleaned up after its end."""
    ended = _terminated_before(before)
    if waits is None and ended is not None and before is not None:
        return (
            found
            | {k: before[k] for k in ("state", "lastState", "restartCount", "imageID") if k in before}
            | {"containerID": ended.get("containerID", "")}
        )
    if view.over and _initialized(view):
        lost = {"exitCode": _LOST_CODE, "reason": "ContainerStatusUnknown", "message": _LOST}
        return found | {"state": {"terminated": lost | {"startedAt": None, "finishedAt": None}}}
    default = "PodInitializing" if spec.init_containers(view.pod) else "ContainerCreating"
    return found | {"state": waiting(*(waits or (default, "")))}


def _initialized(view: View) -> bool:
    """Whether the containers may have run: one did, or nothing had to succeed before them."""
    names = [container["name"] for container in spec.spec(view.pod).get("containers") or []]
    once = [container for container in spec.init_containers(view.pod) if not spec.is_sidecar(container)]
    return not once or any(view.observed.containers.get(name) for name in names)


def _terminated_before(before: Object | None) -> Any:
    return ((before or {}).get("state") or {}).get("terminated")


def _readiness(view: View, container: Object, current: Container, found: Object, init: bool) -> None:
    probed = view.observed.probed(current.name)
    if init and not spec.is_sidecar(container):
        found["ready"] = current.ended and current.exit_code == 0
        found["started"] = current.running
    elif current.running and "running" in found["state"]:
        found["started"] = probed.started
        found["ready"] = probed.ready and probed.started


def _id(view: View, container: Container) -> str:
    return f"{view.runtime}://{container.id}"


def _state(view: View, container: Container) -> Object:
    match container.state:
        case State.RUNNING:
            return {"running": {"startedAt": spec.time_of(container.started)}}
        case State.EXITED:
            return {"terminated": terminated(view, container)}
        case _:
            return waiting("ContainerCreating", "")


def waiting(reason: str, message: str) -> Object:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def terminated(view: View, container: Container) -> Object:
    """A ContainerStateTerminated."""
    found: Object = {
        "exitCode": container.exit_code,
        "reason": container.reason or ("Completed" if container.exit_code == 0 else "Error"),
        "startedAt": spec.time_of(container.started) if container.started else None,
        "finishedAt": spec.time_of(container.finished) if container.finished else None,
        "containerID": _id(view, container),
    }
    if container.message:
        found["message"] = container.message
    if container.signal:
        found["signal"] = container.signal
    return found
