"""Which objects belong to a controller: those it owns and still selects, and orphans that it selects and adopts.

Invariants: an object has one controller; nobody adopts what another owns, nor while being deleted, nor on the word of
a lagging view: whether the owner still lives is asked of the server first. What an owner no longer selects is released,
not deleted. Source: "Garbage Collection: owners and dependents" and "ReplicaSet: non-template pod acquisitions".
"""

from __future__ import annotations

from dataclasses import dataclass

from control.api.schema import Object
from control.api.selectors import LabelSelector
from control.controllers.values.actions import Patch, Read
from control.controllers.values.objects import (
    cause,
    is_deleting,
    labels,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from control.controllers.values.observed import Observed
from control.controllers.values.pods import is_finished


@dataclass(frozen=True, slots=True)
class Claim:
    """owned: what belongs to the owner now. actions: adoptions and releases. reads: to be answered before adopting."""

    owned: tuple[Object, ...]
    actions: tuple[Patch, ...] = ()
    reads: tuple[Read, ...] = ()


def claim(
    observed: Observed, owner_resource: str, owner: Object, resource: str, selector: LabelSelector, prefix: str = ""
) -> Claim:
    """What of a resource belongs to the owner. prefix: orphans whose names begin otherwise are left alone.

    An empty selector selects nothing: it would adopt the whole namespace.
    """
    if selector.everything or selector.nothing:
        return Claim(tuple(observed.controlled(resource, uid_of(owner))))
    held = observed.controlled(resource, uid_of(owner))
    owned = [obj for obj in held if selector.matches(labels(obj))]
    released = [obj for obj in held if not selector.matches(labels(obj)) and not is_deleting(obj)]
    adopted = _adoptable(observed, owner, resource, selector, prefix)
    question = Read(owner_resource, namespace_of(owner), name_of(owner))
    if adopted and question not in observed.answers:
        return Claim(tuple(owned), reads=(question,))
    if adopted and not _still_lives(observed, question, owner):
        adopted = []
    changes = [_adopt(owner_resource, owner, resource, obj) for obj in adopted]
    changes += [] if is_deleting(owner) else [_release(owner_resource, owner, resource, obj) for obj in released]
    return Claim(tuple(owned + adopted), tuple(changes))


def _adoptable(observed: Observed, owner: Object, resource: str, selector: LabelSelector, prefix: str) -> list[Object]:
    if is_deleting(owner):
        return []
    return [
        obj
        for obj in observed.orphans(resource, namespace_of(owner))
        if selector.matches(labels(obj))
        and not is_deleting(obj)
        and name_of(obj).startswith(prefix)
        and not (resource == "pods" and is_finished(obj))
    ]


def _still_lives(observed: Observed, question: Read, owner: Object) -> bool:
    now = observed.answers[question].object
    return now is not None and uid_of(now) == uid_of(owner) and not is_deleting(now)


def _adopt(owner_resource: str, owner: Object, resource: str, obj: Object) -> Patch:
    patch = {"metadata": {"uid": uid_of(obj), "ownerReferences": [owner_reference(owner)]}}
    because = cause(owner_resource, owner, "adopt: its labels match the selector")
    return Patch(resource, namespace_of(obj), name_of(obj), patch, because, kind="strategic")


def _release(owner_resource: str, owner: Object, resource: str, obj: Object) -> Patch:
    gone = {"$patch": "delete", "uid": uid_of(owner)}
    patch = {"metadata": {"uid": uid_of(obj), "ownerReferences": [gone]}}
    because = cause(owner_resource, owner, "release: its labels no longer match the selector")
    return Patch(resource, namespace_of(obj), name_of(obj), patch, because, kind="strategic")
