"""Resource quota: counts again what a namespace uses, and says so; admission reserves, this corrects.

Invariant: status.hard is spec.hard as it was when status.used was counted. What is counted is what is *there*: objects
that admission has reserved for and that are still on their way are not. So nothing is counted because something was
created or reserved, only because something went or a quota is new or another: that count would let in too many.
Source: "Resource Quotas".
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from control.api.quantity import Quantity
from control.api.quota import counted_resources, namespace_usage
from control.api.schema import Object
from control.controllers.values.actions import NOTHING, Decision, Key, UpdateStatus
from control.controllers.values.objects import cause, key_of, namespace_of, spec_of, status_of, with_status
from control.controllers.values.observed import Observed

RESOURCE: Final = "resourcequotas"


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Write what is used, if it is not what the status says."""
    quota = observed.get(RESOURCE, key.namespace, key.name)
    if quota is None:
        return NOTHING
    objects = (
        (resource, obj)
        for resource in counted_resources(quota)
        if resource in observed.stores
        for obj in observed.in_namespace(resource, key.namespace)
    )
    used = namespace_usage(quota, objects)
    hard = spec_of(quota).get("hard") or {}
    status = {"hard": dict(hard), "used": {name: str(used[name]) for name in hard}}
    if status["hard"] == status_of(quota).get("hard") and _same(status["used"], status_of(quota).get("used") or {}):
        return NOTHING
    because = cause(RESOURCE, quota, "counted again what is used")
    return Decision([UpdateStatus(RESOURCE, with_status(quota, status), because)])


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(Quantity.parse(one[n]) == Quantity.parse(other[n]) for n in one)


def wake(resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterator[Key]:
    """A quota that is new or another; the quotas of an object's namespace, when it goes or may use less."""
    if resource == RESOURCE:
        if new is not None and (old is None or spec_of(old) != spec_of(new)):
            yield key_of(new)
        return
    if old is None or (new is not None and _weighs(old) == _weighs(new)):
        return
    for quota in observed.in_namespace(RESOURCE, namespace_of(old)):
        yield key_of(quota)


def _weighs(obj: Object) -> tuple[Any, ...]:
    return spec_of(obj), status_of(obj).get("phase")
