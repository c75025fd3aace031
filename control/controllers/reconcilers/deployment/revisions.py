"""The history of a deployment: a set for a new template, its number, and old sets beyond the limit.

Invariants: the new set has the highest revision, also after a rollback, which gives an old set a new number; a set's
name is made of its template's hash, so every controller that ever leads finds the same set. Source: "Deployments:
Rolling Back" and "Clean up Policy" in Kubernetes' documentation.
"""

from __future__ import annotations

from typing import Final

from control.api.schema import Object
from control.controllers.reconcilers.deployment.sets import (
    DESIRED,
    MOST,
    RESOURCE,
    REVISION,
    REVISION_HISTORY,
    SETS,
    Rollout,
    number_in,
)
from control.controllers.values.actions import Create, Delete, Narration, Patch, Plan, UpdateStatus
from control.controllers.values.objects import (
    annotations_of,
    cause,
    created_at,
    generation_of,
    is_deleting,
    name_of,
    namespace_of,
    owner_reference,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed
from control.controllers.values.templates import TEMPLATE_HASH, stable_hash, without_hash

# Of the deployment alone, or of one revision alone: not passed on to sets.
_NOT_COPIED: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.revision",
        "deprecated.daemonset.template.generation",
        REVISION,
        REVISION_HISTORY,
        DESIRED,
        MOST,
    }
)
_HISTORY_BYTES: Final = 2000


def revision_of(obj: Object) -> int:
    return number_in(obj, REVISION) or 0


def make_new_set(plan: Plan, observed: Observed, rollout: Rollout) -> None:
    """Create the set of the present template; if its name is taken by another, count a collision and take another."""
    deployment = rollout.deployment
    template = without_hash(spec_of(deployment).get("template") or {})
    collisions = status_of(deployment).get("collisionCount")
    made = _set(rollout, stable_hash(template, collisions))
    taken = observed.get(SETS, namespace_of(deployment), name_of(made))
    if taken is not None and is_deleting(taken):
        return  # its end wakes us: then the name is free, and the set made anew adopts the pods that it left
    if taken is not None:
        counted = with_status(deployment, {**status_of(deployment), "collisionCount": (collisions or 0) + 1})
        rule = f"the name {name_of(made)} is taken by another set"
        plan.actions.append(UpdateStatus(RESOURCE, counted, cause(RESOURCE, deployment, rule)))
        return
    size = made["spec"]["replicas"]
    text = f"Scaled up replica set {{name}} from 0 to {size}"
    failure = ("ReplicaSetCreateError", "Failed to create new replica set: {error}")
    told = Narration(deployment, "ScalingReplicaSet" if size else "", text, *failure)
    rule = f"new template: create {name_of(made)} with {size} of {rollout.replicas} replicas"
    plan.actions.append(Create(SETS, made, cause(RESOURCE, deployment, rule), told))


def _set(rollout: Rollout, digest: str) -> Object:
    deployment, spec = rollout.deployment, spec_of(rollout.deployment)
    template = spec.get("template") or {}
    inner = {**(template.get("metadata") or {})}
    hashed = {**(inner.get("labels") or {}), TEMPLATE_HASH: digest}
    selector = dict(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), TEMPLATE_HASH: digest}
    revision = max(map(revision_of, rollout.old), default=0) + 1
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{digest}",
            "namespace": namespace_of(deployment),
            "labels": hashed,
            "annotations": {**_copied(deployment), **rollout.sizes(), REVISION: str(revision)},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": first_size(rollout),
            "minReadySeconds": rollout.min_ready,
            "selector": selector,
            "template": {**template, "metadata": {**inner, "labels": hashed}},
        },
    }


def first_size(rollout: Rollout) -> int:
    """How many pods a new set may begin with."""
    return rollout.replicas if rollout.recreates else min(rollout.room(), rollout.replicas)


def _copied(deployment: Object) -> dict[str, str]:
    return {key: text for key, text in annotations_of(deployment).items() if key not in _NOT_COPIED}


def number_revisions(plan: Plan, rollout: Rollout) -> None:
    """Make the new set the highest revision, pass annotations on to it, and say its number on the deployment."""
    rs = rollout.new
    if rs is None:
        return
    wanted = max(max(map(revision_of, rollout.old), default=0) + 1, revision_of(rs))
    notes = {**_copied(rollout.deployment), REVISION: str(wanted)}
    if 0 < revision_of(rs) < wanted:
        notes[REVISION_HISTORY] = _history(rs)
    rollout.note(rs, notes, f"revision {wanted}")
    rollout.set_min_ready(rs)
    if annotations_of(rollout.deployment).get(REVISION) != str(wanted):
        patch = {"metadata": {"uid": uid_of(rollout.deployment), "annotations": {REVISION: str(wanted)}}}
        because = cause(RESOURCE, rollout.deployment, f"revision {wanted}")
        place = (namespace_of(rollout.deployment), name_of(rollout.deployment))
        plan.actions.append(Patch(RESOURCE, *place, patch, because))


def _history(rs: Object) -> str:
    """The revisions a set had before, the last of them those that fit."""
    before = annotations_of(rs).get(REVISION_HISTORY, "")
    parts = [*([part for part in before.split(",") if part]), str(revision_of(rs))]
    while len(",".join(parts)) > _HISTORY_BYTES:
        parts.pop(0)
    return ",".join(parts)


def clean_up(plan: Plan, rollout: Rollout) -> None:
    """Delete the oldest sets that have no pods, beyond revisionHistoryLimit of them."""
    limit = spec_of(rollout.deployment).get("revisionHistoryLimit")
    keep = 10 if limit is None else int(limit)
    empty = sorted(
        (rs for rs in rollout.old if _is_empty(rollout, rs)), key=lambda rs: (revision_of(rs), created_at(rs))
    )
    because = cause(RESOURCE, rollout.deployment, f"history: keep {keep} old sets")
    for rs in empty[: max(len(empty) - keep, 0)]:
        plan.actions.append(Delete(SETS, namespace_of(rs), name_of(rs), uid_of(rs), because, propagation="Background"))


def _is_empty(rollout: Rollout, rs: Object) -> bool:
    status = status_of(rs)
    seen = status.get("observedGeneration", 0) >= generation_of(rs)
    return seen and not rollout.size(rs) and not status.get("replicas") and not is_deleting(rs)
