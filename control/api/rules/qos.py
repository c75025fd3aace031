"""A pod's quality-of-service class, from the CPU and memory its containers ask for.

Source: "Pod Quality of Service Classes" of the Kubernetes documentation.
"""

from __future__ import annotations

from typing import Final

from control.api.quantity import Quantity
from control.api.schema import Object

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
_COUNTED: Final = ("cpu", "memory")


def qos_class(pod: Object) -> str:
    """Guaranteed: all limits set and equal to the requests; BestEffort: nothing asked for; else Burstable."""
    spec = pod.get("spec", {})
    containers = [*spec.get("initContainers", ()), *spec.get("containers", ())]
    amounts = [(_counted(container, "requests"), _counted(container, "limits")) for container in containers]
    if not any(requests or limits for requests, limits in amounts):
        return BEST_EFFORT
    if all(len(limits) == len(_COUNTED) and requests == limits for requests, limits in amounts):
        return GUARANTEED
    return BURSTABLE


def _counted(container: Object, field: str) -> dict[str, Quantity]:
    """The non-zero CPU and memory amounts of requests or limits."""
    given = container.get("resources", {}).get(field, {})
    found = {name: Quantity.parse(given[name]) for name in _COUNTED if name in given}
    return {name: amount for name, amount in found.items() if amount}
