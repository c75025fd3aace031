"""What a pod asks for, in whole units: CPU in thousandths, everything else in its own unit.

Containers add up; init containers run one after the other, so the greatest counts, together with those sidecars (init
containers that restart always) that run already. Invariant: 0 <= amount <= MOST, of a container, a pod and a node: an
API takes "9300P", too, and columns hold 64 bits. Source: "Pod resource requests" and the sidecar proposal (KEP-753) of
Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from control.api.quantity import Quantity
from control.api.schema import Object

# What a container counts for when it says nothing, for scores only: so that such pods spread, too.
ASSUMED: Final = {"cpu": 100, "memory": 200 << 20}
# 8 PiB, or nine million million CPUs: whoever asks for more is told the same.
MOST: Final = 2**53


@lru_cache(65536)
def units(resource: str, amount: str | int) -> int:
    """An amount in the scheduler's units, from 0 to MOST. StatusError: it is no quantity."""
    quantity = Quantity.parse(amount)
    return min(max(quantity.milli() if resource == "cpu" else quantity.ceil(), 0), MOST)


def amounts(given: Mapping[str, Any] | None) -> dict[str, int]:
    """A resource list of an object in the scheduler's units."""
    return {name: units(name, amount) for name, amount in (given or {}).items()}


def pod_requests(spec: Object) -> dict[str, int]:
    """All that the pod must be given, overhead included; "pods" is one."""
    total = _together(spec, _requests)
    total["pods"] = 1
    return total


def assumed_requests(spec: Object) -> dict[str, int]:
    """CPU and memory that it counts for in scores."""
    return _together(spec, _assumed)


def _together(spec: Object, of: Any) -> dict[str, int]:
    running: dict[str, int] = {}
    for container in spec.get("containers") or ():
        _add(running, of(container))
    sidecars: dict[str, int] = {}
    starting: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        wants = of(container)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, wants)
            wants = sidecars
        else:
            wants = _sum((sidecars, wants))
        starting = {name: max(starting.get(name, 0), wants.get(name, 0)) for name in starting | wants}
    _add(running, sidecars)
    total = {name: max(running.get(name, 0), starting.get(name, 0)) for name in running | starting}
    _add(total, amounts(spec.get("overhead")))
    return {name: min(amount, MOST) for name, amount in total.items()}


def _requests(container: Object) -> dict[str, int]:
    resources = container.get("resources") or {}
    return amounts(resources.get("requests"))


def _assumed(container: Object) -> dict[str, int]:
    wants = _requests(container)
    return {name: wants.get(name) or least for name, least in ASSUMED.items()}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        _add(total, part)
    return total
