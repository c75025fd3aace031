"""When a node was last heard of: its Lease was renewed, or its status said when its agent last looked.

Invariants: `heard` is in the order of its times. They are seconds by a clock of the machine that heard, which nobody
sets; the times in objects only show that they changed. When nobody at all was heard for a while, it was we who could
not hear (API servers or store were away): silence of that time is held against no node.
"""

from __future__ import annotations

from typing import Final

from control.api.schema import Object
from control.controllers.values.objects import name_of, namespace_of, spec_of
from control.controllers.values.pods import condition

LEASES: Final = "leases.coordination.k8s.io"
LEASE_NAMESPACE: Final = "kube-node-lease"
# Seconds: two beats of every node.
DEAF: Final = 20.0


def hear(heard: dict[str, float], resource: str, old: Object | None, new: Object | None, now: float) -> None:
    """Note a change of a node or of a lease."""
    if new is None:
        if resource == "nodes" and old is not None:
            heard.pop(name_of(old), None)
        return
    if resource == LEASES and namespace_of(new) != LEASE_NAMESPACE:
        return
    if old is None or _beat(resource, old) != _beat(resource, new):
        # Who was heard last stands last: with a thousand nodes this is asked a hundred times a second.
        if heard and now - next(reversed(heard.values())) > DEAF:
            heard.update(dict.fromkeys(heard, now))
        heard.pop(name_of(new), None)
        heard[name_of(new)] = now


def _beat(resource: str, obj: Object) -> str:
    if resource == LEASES:
        return str(spec_of(obj).get("renewTime", ""))
    return str((condition(obj, "Ready") or {}).get("lastHeartbeatTime", ""))
