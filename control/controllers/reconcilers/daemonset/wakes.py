"""When a node concerns daemon sets: when it comes or goes, or anything changes that decides who may run there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from control.api.schema import Object
from control.controllers.reconcilers.daemonset.pods import RESOURCE
from control.controllers.values.actions import Key
from control.controllers.values.objects import is_deleting, key_of, labels, spec_of
from control.controllers.values.observed import Observed


def wake_nodes(_resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterable[Key]:
    """All daemon sets, if the change can matter to one."""
    if old is not None and new is not None and _decisive(old) == _decisive(new):
        return []
    return [key_of(owner) for owner in observed.all(RESOURCE)]


def _decisive(node: Object) -> tuple[Any, ...]:
    return labels(node), spec_of(node).get("taints") or [], spec_of(node).get("unschedulable"), is_deleting(node)
