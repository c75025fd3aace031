"""How much a pod asks for in all: pure. Source: "Resource sharing within containers" (init containers, sidecars).

A pod needs the bigger of what its containers need together and what each init container needs while it runs, beside the
sidecars (init containers that restart) that started before it; and its overhead on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control.api.quantity import ZERO, Quantity

Amounts = dict[str, Quantity]


def requests(pod: Mapping[str, Any]) -> Amounts:
    """The pod's requests, by resource name. StatusError (400) for what is no quantity."""
    return _total(pod, "requests")


def limits(pod: Mapping[str, Any]) -> Amounts:
    """The pod's limits; a resource that only some containers limit counts for those."""
    return _total(pod, "limits")


def amounts(texts: Mapping[str, Any] | None) -> Amounts:
    """A ResourceList read."""
    return {name: Quantity.parse(text) for name, text in (texts or {}).items()}


def added(one: Mapping[str, Quantity], other: Mapping[str, Quantity]) -> Amounts:
    """The sums, name by name."""
    return {name: one.get(name, ZERO) + other.get(name, ZERO) for name in {**one, **other}}


def bigger(one: Mapping[str, Quantity], other: Mapping[str, Quantity]) -> Amounts:
    """The bigger ones, name by name."""
    return {name: max(one.get(name, ZERO), other.get(name, ZERO)) for name in {**one, **other}}


def container_amounts(container: Mapping[str, Any], field: str) -> Amounts:
    """One container's "requests" or "limits"; what it limits and does not request, it requests."""
    resources = container.get("resources") or {}
    found = amounts(resources.get(field))
    if field == "requests":
        return {**amounts(resources.get("limits")), **found}
    return found


def _total(pod: Mapping[str, Any], field: str) -> Amounts:
    spec = pod.get("spec") or {}
    running: Amounts = {}
    for container in spec.get("containers") or ():
        running = added(running, container_amounts(container, field))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = container_amounts(container, field)
        if container.get("restartPolicy") == "Always":
            sidecars = added(sidecars, own)
            starting = bigger(starting, sidecars)
        else:
            starting = bigger(starting, added(sidecars, own))
    found = bigger(added(running, sidecars), starting)
    overhead = amounts(spec.get("overhead"))
    return added(found, {name: value for name, value in overhead.items() if field == "requests" or name in found})
