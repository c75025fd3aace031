"""What the pod of a number looks like: its name, its labels, its place in DNS, and the claims for its storage.

Invariants: name and claims depend on the set's name and the number alone, so a pod made again finds its storage; claims
are never deleted here, at most given an owner that takes them along. Source: "StatefulSets: Pod Identity".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from control.api.copying import copied
from control.api.schema import Object
from control.controllers.values.actions import Action, Create, Narration, Patch
from control.controllers.values.objects import (
    cause,
    is_deleting,
    labels,
    name_of,
    namespace_of,
    owner_reference,
    owners,
    spec_of,
    uid_of,
)
from control.controllers.values.observed import Observed
from control.controllers.values.revisions import HASH, hash_of, template_of
from control.controllers.values.templates import pod_from

RESOURCE: Final = "statefulsets.apps"
CLAIMS: Final = "persistentvolumeclaims"
POD_NAME: Final = "statefulset.kubernetes.io/pod-name"
POD_INDEX: Final = "apps.kubernetes.io/pod-index"


def ordinal(owner: Object, pod: Object) -> int | None:
    """The pod's number; None when its name is not one of the set's."""
    prefix, _, number = name_of(pod).rpartition("-")
    return int(number) if prefix == name_of(owner) and number.isascii() and number.isdigit() else None


def make(owner: Object, observed: Observed, number: int, revision: Object) -> list[Action]:
    """Create the claims that are missing, and the pod."""
    pod = _pod(owner, number, revision)
    text = f"Pod {name_of(pod)} in StatefulSet {name_of(owner)}"
    told = Narration(
        owner, "SuccessfulCreate", f"create {text} successful", "FailedCreate", f"create {text} failed error: {{error}}"
    )
    because = cause(RESOURCE, owner, f"number {number} is missing: create it of {name_of(revision)}")
    return [*_missing_claims(owner, observed, number), Create("pods", pod, because, told)]


def _pod(owner: Object, number: int, revision: Object) -> Object:
    name = f"{name_of(owner)}-{number}"
    pod = pod_from(template_of(revision), owner, name=name)
    pod["metadata"]["labels"] = {**labels(pod), **_marks(name, number), HASH: hash_of(revision)}
    spec = pod["spec"]
    spec["hostname"] = name
    if spec_of(owner).get("serviceName"):
        spec["subdomain"] = spec_of(owner)["serviceName"]
    volumes = _volumes(owner, name)
    if volumes:
        own = {volume["name"] for volume in volumes}
        spec["volumes"] = [v for v in spec.get("volumes") or () if v["name"] not in own] + volumes
    return pod


def _marks(name: str, number: int) -> dict[str, str]:
    return {POD_NAME: name, POD_INDEX: str(number)}


def _templates(owner: Object) -> list[Object]:
    return spec_of(owner).get("volumeClaimTemplates") or []


def _claim_name(template: Object, pod_name: str) -> str:
    return f"{template['metadata']['name']}-{pod_name}"


def _volumes(owner: Object, pod_name: str) -> list[dict[str, Any]]:
    return [
        {"name": t["metadata"]["name"], "persistentVolumeClaim": {"claimName": _claim_name(t, pod_name)}}
        for t in _templates(owner)
    ]


def identity(owner: Object, observed: Observed, number: int, pod: Object) -> list[Action]:
    """Put back the labels that say who the pod is, and its claims, if somebody took them away."""
    actions = _missing_claims(owner, observed, number)
    marks = _marks(name_of(pod), number)
    if marks.items() <= labels(pod).items():
        return actions
    patch = {"metadata": {"uid": uid_of(pod), "labels": marks}}
    because = cause(RESOURCE, owner, "its labels must say its number")
    return [*actions, Patch("pods", namespace_of(pod), name_of(pod), patch, because)]


def _missing_claims(owner: Object, observed: Observed, number: int) -> list[Action]:
    pod_name = f"{name_of(owner)}-{number}"
    return [
        _claim(owner, template, pod_name)
        for template in _templates(owner)
        if observed.get(CLAIMS, namespace_of(owner), _claim_name(template, pod_name)) is None
    ]


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
        metadata["ownerReferences"] = [owner_reference(owner, controller=False, block=False)]
    made = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": copied(template.get("spec") or {}),
    }
    text = f"create Claim {name} Pod {pod_name} in StatefulSet {name_of(owner)}"
    told = Narration(owner, "SuccessfulCreate", f"{text} success", "FailedCreate", f"{text} failed error: {{error}}")
    return Create(CLAIMS, made, cause(RESOURCE, owner, f"storage of {pod_name}"), told)


def _policy(owner: Object, when: str) -> str:
    return str((spec_of(owner).get("persistentVolumeClaimRetentionPolicy") or {}).get(when) or "Retain")


def claims_after(owner: Object, observed: Observed, condemned: Iterable[Object]) -> list[Action]:
    """With whenScaled Delete: the claims of pods that are too many get their pod as owner, and go with it."""
    if _policy(owner, "whenScaled") != "Delete":
        return []
    actions: list[Action] = []
    for pod in condemned:
        for template in _templates(owner):
            claim = observed.get(CLAIMS, namespace_of(owner), _claim_name(template, name_of(pod)))
            if claim is not None and not is_deleting(claim) and not _is_owned(claim, uid_of(pod)):
                actions.append(_give(owner, claim, pod))
    return actions


def _is_owned(claim: Object, uid: str) -> bool:
    return any(reference.get("uid") == uid for reference in owners(claim))


def claims_kept(owner: Object, observed: Observed, pods: Iterable[Object]) -> list[Action]:
    """Pods that are wanted (again) do not take their claims along, as when a set is scaled down and up at once."""
    actions: list[Action] = []
    for pod in pods:
        for template in _templates(owner):
            claim = observed.get(CLAIMS, namespace_of(owner), _claim_name(template, name_of(pod)))
            if claim is not None and not is_deleting(pod) and _is_owned(claim, uid_of(pod)):
                kept = [reference for reference in owners(claim) if reference.get("uid") != uid_of(pod)]
                if _policy(owner, "whenDeleted") == "Delete":
                    kept.append(owner_reference(owner, controller=False, block=False))
                actions.append(_owned(owner, claim, kept, f"the claim stays: {name_of(pod)} is wanted again"))
    return actions


def _give(owner: Object, claim: Object, pod: Object) -> Patch:
    kept = [reference for reference in owners(claim) if reference.get("uid") != uid_of(owner)]
    references = [*kept, owner_reference(pod, controller=False, block=False)]
    return _owned(owner, claim, references, f"whenScaled Delete: the claim goes with {name_of(pod)}")


def _owned(owner: Object, claim: Object, references: list[dict[str, Any]], rule: str) -> Patch:
    guard = {"uid": uid_of(claim), "resourceVersion": claim["metadata"]["resourceVersion"]}
    patch = {"metadata": {**guard, "ownerReferences": references}}
    return Patch(CLAIMS, namespace_of(claim), name_of(claim), patch, cause(RESOURCE, owner, rule))
