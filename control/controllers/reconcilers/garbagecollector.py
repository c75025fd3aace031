"""Garbage collector: what nobody owns any more goes; owners wait for their dependents, or let go of them.

The graph is the view itself: owner references of every resource, indexed by the owner's uid, custom kinds among them.

Invariants: an object is deleted only after the server itself said that all its owners are gone: it told of their
deletion, or it was asked (that a view does not show an owner means nothing); a reference to a kind nobody serves keeps
its object; owners that own each other do not wait for each other for ever.

Source: "Garbage Collection", "Use Cascading Deletion", "Owners and Dependents" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.client.cause import Cause
from control.controllers.values.actions import NOTHING, Action, Decision, Delete, Event, Key, Patch, Propagation, Read
from control.controllers.values.controller import states
from control.controllers.values.objects import cause, finalizers, is_deleting, name_of, namespace_of, owners, uid_of
from control.controllers.values.observed import Observed

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
# Finalizer → how its object is to be deleted; the first that it has counts.
_ASKED_FOR: Final[dict[str, Propagation]] = {ORPHAN: "Orphan", FOREGROUND: "Foreground"}
# Seconds until an owner is asked for again when the server could not say, or nobody serves its kind.
_AGAIN: Final = 10.0
_UNSERVED: Final = 60.0


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Let go, wait, or delete, as the object's owners and finalizers ask for."""
    store = observed.stores.get(key.resource)
    obj = store.objects.get((key.namespace, key.name)) if store is not None else None
    if obj is None:
        return NOTHING
    if is_deleting(obj):
        if ORPHAN in finalizers(obj):
            return _let_go(key.resource, obj, observed)
        return _wait(key.resource, obj, observed) if FOREGROUND in finalizers(obj) else NOTHING
    return _collect(key.resource, obj, observed) if owners(obj) else NOTHING


# ---- an object that has owners ----


@dataclass(slots=True)
class _Owners:
    """An object's owner references by what became of the owners."""

    solid: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    gone: list[dict[str, Any]] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    again: float | None = None


def _collect(resource: str, obj: Object, observed: Observed) -> Decision:
    found = _Owners()
    for reference in owners(obj):
        _look_up(reference, obj, observed, found)
    if found.reads:
        return Decision(reads=found.reads)
    if found.solid:
        loose = [*found.gone, *found.waiting]
        actions = [_drop(resource, obj, loose, "some of its owners are gone, others live")] if loose else []
        return Decision(actions, found.events, requeue_after=found.again)
    return Decision(_delete(resource, obj, found, observed), found.events, requeue_after=found.again)


def _look_up(reference: dict[str, Any], obj: Object, observed: Observed, found: _Owners) -> None:
    """Put one reference where it belongs; a kind nobody serves counts as an owner that lives."""
    kind = observed.kinds.get((reference.get("apiVersion", ""), reference.get("kind", "")))
    if kind is None:
        found.solid.append(reference)
        found.again = _UNSERVED
        return
    if kind.namespaced and not namespace_of(obj):
        found.solid.append(reference)
        found.events.append(_misplaced(reference, obj))
        return
    namespace = namespace_of(obj) if kind.namespaced else ""
    seen = observed.get(kind.resource, namespace, reference["name"]) if kind.resource in observed.stores else None
    if seen is not None and uid_of(seen) == reference["uid"]:
        (found.waiting if _waits(seen) else found.solid).append(reference)
        return
    if reference["uid"] in observed.gone:
        found.gone.append(reference)
        return
    _ask(Read(kind.resource, namespace, reference["name"]), reference, observed, found)


def _ask(question: Read, reference: dict[str, Any], observed: Observed, found: _Owners) -> None:
    """The view has no such owner; the server knows."""
    answer = observed.answers.get(question)
    if answer is None:
        found.reads.append(question)
    elif answer.object is not None and uid_of(answer.object) == reference["uid"]:
        (found.waiting if _waits(answer.object) else found.solid).append(reference)
    elif answer.object is not None or answer.code == 404:
        found.gone.append(reference)
    else:
        found.solid.append(reference)
        found.again = _AGAIN


def _waits(owner: Object) -> bool:
    """Whether it is being deleted and waits for its dependents."""
    return is_deleting(owner) and FOREGROUND in finalizers(owner)


def _misplaced(reference: dict[str, Any], obj: Object) -> Event:
    text = (
        f"ownerRef [{reference.get('apiVersion')}/{reference.get('kind')}, name: {reference.get('name')}, "
        f'uid: {reference.get("uid")}] does not exist in namespace "{namespace_of(obj)}"'
    )
    return Event(obj, "OwnerRefInvalidNamespace", text, "Warning")


def _delete(resource: str, obj: Object, found: _Owners, observed: Observed) -> list[Action]:
    """No owner lives: delete it, in the foreground if an owner waits for it and others depend on it.

    Otherwise as its finalizers ask for: whoever put them there said what is to become of its dependents.
    """
    dependents = list(observed.dependents(uid_of(obj)))
    actions: list[Action] = []
    propagation: Propagation = next(
        (policy for name, policy in _ASKED_FOR.items() if name in finalizers(obj)), "Background"
    )
    if found.waiting and dependents:
        if any(_waits(dependent) for _, dependent in dependents):
            # One of them waits for us while we would wait for it.
            actions.append(_unblock(resource, obj))
        propagation = "Foreground"
    because = _because((found.waiting or found.gone)[0], obj, observed)
    place = (namespace_of(obj), name_of(obj), uid_of(obj))
    return [*actions, Delete(resource, *place, because, propagation=propagation)]


def _because(reference: dict[str, Any], obj: Object, observed: Observed) -> Cause:
    kind = observed.kinds[(reference["apiVersion"], reference["kind"])]
    place = (namespace_of(obj) if kind.namespaced else "") or "-"
    rule = f"garbage collection: its owner {reference['kind']} {reference['name']} is gone or going"
    return Cause(f"{kind.resource}/{place}/{reference['name']}", "", rule, reference["uid"])


def _unblock(resource: str, obj: Object) -> Patch:
    references = [{**reference, "blockOwnerDeletion": False} for reference in owners(obj)]
    return _patch(resource, obj, {"ownerReferences": references}, "owners own each other: nobody waits")


def _drop(resource: str, obj: Object, loose: list[dict[str, Any]], rule: str) -> Patch:
    gone = {reference["uid"] for reference in loose}
    kept = [reference for reference in owners(obj) if reference["uid"] not in gone]
    return _patch(resource, obj, {"ownerReferences": kept}, rule)


def _patch(resource: str, obj: Object, metadata: dict[str, Any], rule: str) -> Patch:
    """Of metadata, if the object is still as it was seen: lists are replaced as wholes."""
    guard = {"uid": uid_of(obj), "resourceVersion": obj["metadata"]["resourceVersion"]}
    because = cause(resource, obj, rule)
    return Patch(resource, namespace_of(obj), name_of(obj), {"metadata": {**guard, **metadata}}, because)


# ---- an object that is being deleted and has dependents ----


def _wait(resource: str, obj: Object, observed: Observed) -> Decision:
    """Go on once no dependent blocks; until then they are deleted one by one, by their own keys."""
    uid = uid_of(obj)
    for _, dependent in observed.dependents(uid):
        if any(ref.get("uid") == uid and ref.get("blockOwnerDeletion") for ref in owners(dependent)):
            return NOTHING
    return Decision([_without(resource, obj, FOREGROUND, "foreground deletion: its dependents are gone")])


def _let_go(resource: str, obj: Object, observed: Observed) -> Decision:
    """Take ourselves out of the dependents' owners, then go on."""
    uid = uid_of(obj)
    own = [{"uid": uid}]
    rule = f"orphaned: its owner {obj.get('kind')} {name_of(obj)} is being deleted"
    actions: list[Action] = [_drop(of, dependent, own, rule) for of, dependent in observed.dependents(uid)]
    return Decision([*actions, _without(resource, obj, ORPHAN, "its dependents are orphans now")])


def _without(resource: str, obj: Object, finalizer: str, rule: str) -> Patch:
    kept = [name for name in finalizers(obj) if name != finalizer]
    return _patch(resource, obj, {"finalizers": kept}, rule)


# ---- what wakes it up ----


def wake(resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterator[Key]:
    """The object when its owners or its end changed; its dependents when it goes; owners that wait for it."""
    if new is not None and _concerns(old, new):
        yield _key(resource, new)
    going = new if new is not None else old
    if going is not None and (new is None or (_waits(new) and (old is None or not _waits(old)))):
        for dependent_resource, dependent in observed.dependents(uid_of(going)):
            yield _key(dependent_resource, dependent)
    if new is None or (old is not None and owners(old) != owners(new)):
        for obj in states(old, new):
            yield from _waiting_owners(obj, observed)


def _concerns(old: Object | None, new: Object) -> bool:
    if not owners(new) and not is_deleting(new):
        return False
    if old is None:
        return True
    before = (owners(old), is_deleting(old), finalizers(old))
    return before != (owners(new), is_deleting(new), finalizers(new))


def _waiting_owners(obj: Object, observed: Observed) -> Iterator[Key]:
    for reference in owners(obj):
        kind = observed.kinds.get((reference.get("apiVersion", ""), reference.get("kind", "")))
        if kind is not None and kind.resource in observed.stores:
            namespace = namespace_of(obj) if kind.namespaced else ""
            owner = observed.get(kind.resource, namespace, reference["name"])
            if owner is not None and _waits(owner):
                yield _key(kind.resource, owner)


def keys(observed: Observed) -> Iterable[Key]:
    """Everything that has owners or is on its way out."""
    return [
        _key(resource, obj)
        for resource, store in observed.stores.items()
        for obj in store.objects.values()
        if owners(obj) or is_deleting(obj)
    ]


def _key(resource: str, obj: Object) -> Key:
    return Key(namespace_of(obj), name_of(obj), resource)
