"""pod_status(): what the agent reports of a pod, and what of it changed. Pure.

Only the fields the node answers for are made; those of others (nominatedNodeName, conditions of other controllers) stay
as they are, because reports are strategic merge patches that name just what changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node_agent.pod import spec
from node_agent.pod.actions import Verdict
from node_agent.pod.container_status import View, container_statuses
from node_agent.pod.observed import Observed
from node_agent.pod.phase import conditions_of, phase_before_end, phase_of
from node_agent.pod.resources import qos_class
from node_agent.pod.spec import Object


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pod runs. runtime: prefix of container ids, as "docker"; ips: of the node, its main address first."""

    runtime: str
    ips: tuple[str, ...]


def pod_status(
    pod: Object,
    observed: Observed,
    place: Place,
    now: float,
    *,
    waiting: dict[str, tuple[str, str]] | None = None,
    verdict: Verdict | None = None,
    over: bool = False,
) -> Object:
    """The status as it is now. over: nothing of the pod runs, and nothing will."""
    view = View(pod, observed, waiting or {}, place.runtime, over)
    init = container_statuses(view, spec.init_containers(pod), "initContainerStatuses")
    main = container_statuses(view, spec.containers(pod), "containerStatuses")
    ephemeral = container_statuses(view, spec.ephemeral_containers(pod), "ephemeralContainerStatuses")
    alone = phase_of(pod, init, main, over)
    end = _end(pod, alone, verdict)
    waits = end in spec.TERMINAL and bool(observed.running()) and not spec.terminal(pod)
    phase = phase_before_end(pod, alone, main) if waits else end
    sandbox = observed.sandbox
    ready = sandbox is not None and sandbox.ready
    found: Object = {
        "phase": phase,
        "conditions": conditions_of(pod, end, init, main, ready, now),  # these say at once that it is not ready
        "containerStatuses": main,
        "qosClass": spec.status(pod).get("qosClass") or qos_class(pod),
        "startTime": spec.status(pod).get("startTime") or spec.time_of(now),
    }
    found |= {"initContainerStatuses": init} if init else {}
    found |= {"ephemeralContainerStatuses": ephemeral} if ephemeral else {}
    found |= _verdict(pod, None if waits else verdict)
    return found | _addresses(pod, observed, place)


def _end(pod: Object, alone: str, verdict: Verdict | None) -> str:
    """The phase that the pod comes to. Failed and Succeeded are for ever. alone: what its containers make of it."""
    if spec.terminal(pod):
        return str(spec.status(pod)["phase"])
    return alone if verdict is None else "Failed"


def _verdict(pod: Object, verdict: Verdict | None) -> Object:
    if verdict is not None:
        return {"reason": verdict.reason, "message": verdict.message}
    before = spec.status(pod)
    return {name: before[name] for name in ("reason", "message") if spec.terminal(pod) and before.get(name)}


def _addresses(pod: Object, observed: Observed, place: Place) -> Object:
    found: Object = {}
    if place.ips:
        found |= {"hostIP": place.ips[0], "hostIPs": [{"ip": ip} for ip in place.ips]}
    sandbox = observed.sandbox
    ips = (sandbox.ips or place.ips) if sandbox else ()
    before = spec.status(pod).get("podIPs")
    if sandbox and not sandbox.ready and before:
        # Its network is gone; the pod still says where it was.
        found |= {"podIP": before[0]["ip"], "podIPs": before}
    elif ips and sandbox and (sandbox.ready or spec.host_network(pod)):
        # One that ended before it was ever told of keeps its address to itself: it is not the node's.
        found |= {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}
    return found


def rejected_status(pod: Object, verdict: Verdict, place: Place, now: float) -> Object:
    """The status of a pod that the node does not take."""
    found: Object = {"phase": "Failed", "reason": verdict.reason, "message": verdict.message}
    found["qosClass"] = spec.status(pod).get("qosClass") or qos_class(pod)
    found["startTime"] = spec.time_of(now)
    return found | _addresses(pod, Observed(), place)


_OWNED = ("phase", "reason", "message", "hostIP", "hostIPs", "podIP", "podIPs", "startTime", "qosClass")
_LISTS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses", "conditions")


def status_patch(old: Object, new: Object) -> dict[str, Any]:
    """A strategic merge patch of the status that makes `new` of `old`; empty when nothing differs."""
    patch: dict[str, Any] = {}
    for name in _OWNED + _LISTS:
        if _same(old.get(name), new.get(name)):
            continue
        if name == "conditions":
            patch[name] = _changed_conditions(old.get(name) or [], new.get(name) or [])
        elif name in new:
            patch[name] = new[name]
        elif name not in ("startTime", "podIP", "podIPs", "hostIP", "hostIPs", "qosClass"):
            patch[name] = None
    return patch


def _changed_conditions(old: list[Object], new: list[Object]) -> list[Object]:
    before = {c["type"]: c for c in old}
    changed = []
    for condition in new:
        last = before.get(condition["type"], {})
        if not _same(last, condition):
            gone = {name: None for name in ("reason", "message") if last.get(name) and not condition.get(name)}
            changed.append(condition | gone)
    return changed


def _same(one: Any, two: Any) -> bool:
    """Whether they mean the same; most often they are equal, which costs little to see. Looks only at what differs."""
    if one == two:
        return True
    if isinstance(one, dict) and isinstance(two, dict):
        return all(_same_field(one.get(name), two.get(name)) for name in one.keys() | two.keys())
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    return False


def _same_field(one: Any, two: Any) -> bool:
    return _same(one, two) or (_absent(one) and _absent(two))


def _absent(value: Any) -> bool:
    """null, "", empty lists, and objects of nothing else: servers keep or drop them as they like."""
    return value in (None, "", []) or (isinstance(value, dict) and all(map(_absent, value.values())))
