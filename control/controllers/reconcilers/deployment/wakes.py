"""When a pod concerns a deployment: when it goes, since one that recreates waits for the last old pod."""

from __future__ import annotations

from collections.abc import Iterable

from control.api.schema import Object
from control.controllers.reconcilers.deployment.sets import SETS
from control.controllers.values.actions import Key
from control.controllers.values.objects import controller_of, namespace_of
from control.controllers.values.observed import Observed
from control.controllers.values.pods import is_finished


def wake_pods(_resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterable[Key]:
    """The deployment above the set of a pod that ended or is gone."""
    if old is None or (new is not None and not (is_finished(new) and not is_finished(old))):
        return []
    owner = controller_of(old)
    rs = observed.get(SETS, namespace_of(old), owner["name"]) if owner and owner.get("kind") == "ReplicaSet" else None
    above = controller_of(rs) if rs is not None else None
    if above is None or above.get("kind") != "Deployment":
        return []
    return [Key(namespace_of(old), above["name"])]
