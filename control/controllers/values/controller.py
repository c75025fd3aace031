"""What the shell needs to know of a controller: its reconciler, what wakes it up, and for which keys.

Invariant: a wake function looks only at the change it is given and at the view; it may give keys that need no work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.controllers.values.actions import Decision, Key
from control.controllers.values.objects import controller_of, key_of, labels, namespace_of, spec_of
from control.controllers.values.observed import Observed

Reconcile = Callable[[Key, Observed, datetime], Decision]
# (resource, old or None, new or None, the view after the change) → keys to look at.
Wake = Callable[[str, Object | None, Object | None, Observed], Iterable[Key]]
# In `wakes`: every resource there is, custom ones among them.
EVERYTHING: Final = "*"


@dataclass(frozen=True, slots=True)
class Controller:
    """One controller.

    name: as kube-controller-manager's --controllers has it. resource: what its keys are, for events about failures.
    wakes: resource → which keys a change of it concerns. workers: keys worked on side by side.
    keys: all of them, for the beginning of a term; by default those of every object of its resource.
    resync: seconds after which all keys are looked at again though nothing changed; 0: never.
    """

    name: str
    resource: str
    reconcile: Reconcile
    wakes: Mapping[str, Wake]
    workers: int = 5
    keys: Callable[[Observed], Iterable[Key]] | None = None
    resync: float = 0.0
    reads: frozenset[str] = field(default_factory=frozenset)

    @property
    def resources(self) -> frozenset[str]:
        """What must be observed for it."""
        return frozenset(self.wakes) - {EVERYTHING} | self.reads | {self.resource}

    def all_keys(self, observed: Observed) -> Iterable[Key]:
        """Everything it looks after."""
        return self.keys(observed) if self.keys else [key_of(obj) for obj in observed.all(self.resource)]


def states(old: Object | None, new: Object | None) -> Iterator[Object]:
    """The states before and after a change."""
    if old is not None:
        yield old
    if new is not None:
        yield new


def itself(_resource: str, old: Object | None, new: Object | None, _observed: Observed) -> Iterator[Key]:
    """The object that changed."""
    changed = new if new is not None else old
    if changed is not None:
        yield key_of(changed)


def its_controller(kind: str) -> Wake:
    """The controllers, of that kind, of the object before and after the change."""

    def wake(_resource: str, old: Object | None, new: Object | None, _observed: Observed) -> set[Key]:
        return {
            Key(namespace_of(obj), owner["name"])
            for obj in states(old, new)
            if (owner := controller_of(obj)) is not None and owner.get("kind") == kind
        }

    return wake


def controller_or_selectors(kind: str, resource: str) -> Wake:
    """As its_controller; an object without a controller wakes all of the resource in its namespace that select it."""
    owners = its_controller(kind)

    def wake(changed: str, old: Object | None, new: Object | None, observed: Observed) -> set[Key]:
        keys = set(owners(changed, old, new, observed))
        if new is not None and controller_of(new) is None:
            for candidate in observed.in_namespace(resource, namespace_of(new)):
                selector = label_selector_of(spec_of(candidate).get("selector"))
                if not selector.everything and selector.matches(labels(new)):
                    keys.add(key_of(candidate))
        return keys

    return wake
