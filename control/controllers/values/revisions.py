"""ControllerRevisions: the templates that a StatefulSet or DaemonSet had, numbered, under names made of their hashes.

Invariants: equal templates have one revision; going back to an old template gives its revision a new, highest number;
what pods still use is never deleted. Source: "ControllerRevision" in Kubernetes' API reference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from control.api.schema import Object
from control.controllers.values.actions import Action, Create, Delete, Update, UpdateStatus
from control.controllers.values.objects import (
    cause,
    labels,
    name_of,
    namespace_of,
    owner_reference,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed
from control.controllers.values.templates import stable_hash

RESOURCE: Final = "controllerrevisions.apps"
HASH: Final = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class History:
    """known: all revisions, oldest first. newest: that of the present template; None until it is made.

    actions: what makes it so; when newest is None they must be done and seen first.
    """

    known: tuple[Object, ...]
    newest: Object | None
    actions: tuple[Action, ...] = ()


def number(revision: Object) -> int:
    return int(revision.get("revision") or 0)


def history(observed: Observed, resource: str, owner: Object, found: Iterable[Object]) -> History:
    """The owner's revisions, with one for its present template."""
    known = sorted(found, key=lambda revision: (number(revision), name_of(revision)))
    data = snapshot(owner)
    equal = [revision for revision in known if revision.get("data") == data]
    following = max(map(number, known), default=0) + 1
    if not equal:
        return History(tuple(known), None, (_make(observed, resource, owner, data, following),))
    newest = equal[-1]
    if newest is known[-1]:
        return History(tuple(known), newest)
    again = {**newest, "revision": following}
    because = cause(resource, owner, f"back to an earlier template: revision {following}")
    others = [revision for revision in known if revision is not newest]
    return History((*others, again), again, (Update(RESOURCE, again, because),))


def snapshot(owner: Object) -> dict[str, Any]:
    """What a revision keeps: a patch that brings the template back."""
    return {"spec": {"template": {**(spec_of(owner).get("template") or {}), "$patch": "replace"}}}


def template_of(revision: Object) -> Object:
    """The pod template that a revision keeps."""
    template = ((revision.get("data") or {}).get("spec") or {}).get("template") or {}
    return {name: part for name, part in template.items() if name != "$patch"}


def hash_of(revision: Object) -> str:
    """What pods of it carry in the label controller-revision-hash."""
    return labels(revision).get(HASH) or name_of(revision)


def _make(observed: Observed, resource: str, owner: Object, data: dict[str, Any], following: int) -> Action:
    collisions = status_of(owner).get("collisionCount")
    digest = stable_hash(data, collisions)
    name = f"{name_of(owner)}-{digest}"
    if observed.get(RESOURCE, namespace_of(owner), name) is not None:
        counted = with_status(owner, {**status_of(owner), "collisionCount": (collisions or 0) + 1})
        return UpdateStatus(resource, counted, cause(resource, owner, f"the name {name} is taken"))
    template = spec_of(owner).get("template") or {}
    marks = {**((template.get("metadata") or {}).get("labels") or {}), HASH: digest}
    made = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": namespace_of(owner),
            "labels": marks,
            "ownerReferences": [owner_reference(owner)],
        },
        "data": data,
        "revision": following,
    }
    return Create(RESOURCE, made, cause(resource, owner, f"new template: revision {following}"))


def truncate(resource: str, owner: Object, known: Sequence[Object], used: Collection[str]) -> list[Action]:
    """Delete the oldest revisions that nothing uses, beyond revisionHistoryLimit. used: names and hashes in use."""
    limit = spec_of(owner).get("revisionHistoryLimit")
    keep = 10 if limit is None else int(limit)
    idle = [revision for revision in known if name_of(revision) not in used and hash_of(revision) not in used]
    because = cause(resource, owner, f"history: keep {keep} old revisions")
    return [
        Delete(RESOURCE, namespace_of(revision), name_of(revision), uid_of(revision), because)
        for revision in idle[: max(len(idle) - keep, 0)]
    ]
