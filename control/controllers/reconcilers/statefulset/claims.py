"""The storage of a set's pods: a claim for each template and number, and who takes it along when they go.

Invariants: claims are never deleted here; on every pass they get the owner that persistentVolumeClaimRetentionPolicy
asks for now, and go with it. What a policy of before would delete is kept as soon as the policy says so, also where the
pod has gone and where it is just ending. Source: "StatefulSets: PersistentVolumeClaim retention".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from control.api.copying import copied
from control.api.schema import Object
from control.controllers.values.actions import Action, Create, Key, Narration, Patch
from control.controllers.values.controller import states
from control.controllers.values.objects import (
    cause,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    owner_reference,
    owners,
    spec_of,
    uid_of,
)
from control.controllers.values.observed import Observed

RESOURCE: Final = "statefulsets.apps"
CLAIMS: Final = "persistentvolumeclaims"


def volumes(owner: Object, pod_name: str) -> list[dict[str, Any]]:
    """What the pod of that name mounts of its claims."""
    return [
        {"name": name_of(template), "persistentVolumeClaim": {"claimName": _claim_name(template, pod_name)}}
        for template in _templates(owner)
    ]


def missing(owner: Object, observed: Observed, pod_name: str) -> list[Action]:
    """Create the claims that the pod of that name has not got."""
    return [
        _claim(owner, template, pod_name)
        for template in _templates(owner)
        if observed.get(CLAIMS, namespace_of(owner), _claim_name(template, pod_name)) is None
    ]


def going(owner: Object, observed: Observed, pod_name: str) -> list[Object]:
    """The claims of that name's next pod that are being deleted, or will be: the pod before takes them along."""
    return [
        claim
        for claim in _present(owner, observed, pod_name)
        if is_deleting(claim)
        or any(reference.get("kind") == "Pod" and reference.get("name") == pod_name for reference in owners(claim))
    ]


def _templates(owner: Object) -> list[Object]:
    return spec_of(owner).get("volumeClaimTemplates") or []


def _claim_name(template: Object, pod_name: str) -> str:
    return f"{name_of(template)}-{pod_name}"


def _present(owner: Object, observed: Observed, pod_name: str) -> Iterator[Object]:
    for template in _templates(owner):
        claim = observed.get(CLAIMS, namespace_of(owner), _claim_name(template, pod_name))
        if claim is not None:
            yield claim


def _claim(owner: Object, template: Object, pod_name: str) -> Create:
    name = _claim_name(template, pod_name)
    given = template.get("metadata") or {}
    selected = (spec_of(owner).get("selector") or {}).get("matchLabels") or {}
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace_of(owner),
        "labels": {**(given.get("labels") or {}), **selected},
    }
    if given.get("annotations"):
        metadata["annotations"] = dict(given["annotations"])
    if _policy(owner, "whenDeleted") == "Delete":
        metadata["ownerReferences"] = [owner_reference(owner)]
    made = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": copied(template.get("spec") or {}),
    }
    text = f"create Claim {name} Pod {pod_name} in StatefulSet {name_of(owner)}"
    told = Narration(owner, "SuccessfulCreate", f"{text} success", "FailedCreate", f"{text} failed error: {{error}}")
    return Create(CLAIMS, made, cause(RESOURCE, owner, f"storage of {pod_name}"), told)


# ---- who takes a claim along ----


def owned_as_wanted(
    owner: Object, observed: Observed, kept: Iterable[Object], condemned: Iterable[Object]
) -> list[Action]:
    """Give every claim the owner that it should have by the policy of now. kept: pods that are wanted."""
    actions: list[Action] = []
    seen: set[str] = set()
    for pod, too_many in [*((pod, False) for pod in kept), *((pod, True) for pod in condemned)]:
        for claim in _present(owner, observed, name_of(pod)):
            seen.add(uid_of(claim))
            actions += _give(owner, claim, wanted_owners(claim, owner, pod, condemned=too_many))
    for resource, claim in observed.dependents(uid_of(owner)):
        if resource == CLAIMS and uid_of(claim) not in seen and _is_of(owner, name_of(claim)):
            actions += _give(owner, claim, wanted_owners(claim, owner, None, condemned=False))
    return actions


def wanted_owners(claim: Object, owner: Object, pod: Object | None, *, condemned: bool) -> list[dict[str, Any]]:
    """The claim's owners by the set's policy: its set, its pod or neither of them, and whoever else it has.

    condemned: the pod is one too many. None: there is no pod. A claim that an earlier set or pod of the same name owns
    is the garbage collector's business, and one that has another controller has that one only.
    """
    mine = [owner, pod] if pod is not None else [owner]
    present = owners(claim)
    if any(_is_of_namesake(reference, obj) for reference in present for obj in mine):
        return present
    uids = {uid_of(obj) for obj in mine}
    others = [reference for reference in present if reference.get("uid") not in uids]
    if any(reference.get("controller") for reference in others):
        return others
    if condemned and pod is not None and _policy(owner, "whenScaled") == "Delete":
        return [*others, owner_reference(pod)]
    return [*others, owner_reference(owner)] if _policy(owner, "whenDeleted") == "Delete" else others


def _is_of_namesake(reference: dict[str, Any], obj: Object) -> bool:
    same = (reference.get("kind"), reference.get("name")) == (obj["kind"], name_of(obj))
    return same and reference.get("uid") != uid_of(obj)


def _policy(owner: Object, when: str) -> str:
    return str((spec_of(owner).get("persistentVolumeClaimRetentionPolicy") or {}).get(when) or "Retain")


def _give(owner: Object, claim: Object, wanted: list[dict[str, Any]]) -> list[Action]:
    """Nothing, if they are the owners that the claim has; it is too late for one that is being deleted."""
    if is_deleting(claim) or _essence(wanted) == _essence(owners(claim)):
        return []
    guard = {"uid": uid_of(claim), "resourceVersion": claim["metadata"]["resourceVersion"]}
    patch = {"metadata": {**guard, "ownerReferences": wanted}}
    heirs = ", ".join(f"{reference['kind']} {reference['name']}" for reference in wanted)
    rule = f"persistentVolumeClaimRetentionPolicy: the claim goes with {heirs or 'nobody'}"
    return [Patch(CLAIMS, namespace_of(claim), name_of(claim), patch, cause(RESOURCE, owner, rule))]


def _essence(references: Iterable[dict[str, Any]]) -> set[tuple[str, bool]]:
    return {(reference.get("uid", ""), bool(reference.get("controller"))) for reference in references}


def wake_sets(_resource: str, old: Object | None, new: Object | None, observed: Observed) -> set[Key]:
    """The sets of whose claims one changed or went: by its name, since most claims have no owner."""
    changed = {(namespace_of(claim), name_of(claim)) for claim in states(old, new)}
    return {
        key_of(owner)
        for namespace, name in changed
        for owner in observed.in_namespace(RESOURCE, namespace)
        if _is_of(owner, name)
    }


def _is_of(owner: Object, claim_name: str) -> bool:
    """Whether a claim is called like one of the set's."""
    place, _, number = claim_name.rpartition("-")
    names = {_claim_name(template, name_of(owner)) for template in _templates(owner)}
    return place in names and number.isascii() and number.isdigit()
