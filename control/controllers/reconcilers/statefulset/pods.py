"""What the pod of a number looks like: its name, its labels, its place in DNS, its volumes.

Invariant: name and claims depend on the set's name and the number alone, so a pod made again finds its storage.
Source: "StatefulSets: Pod Identity".
"""

from __future__ import annotations

from typing import Final

from control.api.schema import Object
from control.controllers.reconcilers.statefulset.claims import RESOURCE, going, missing, volumes
from control.controllers.values.actions import Action, Create, Decision, Event, Narration, Patch
from control.controllers.values.objects import cause, labels, name_of, namespace_of, spec_of, uid_of
from control.controllers.values.observed import Observed
from control.controllers.values.pods import phase
from control.controllers.values.revisions import HASH, hash_of, template_of
from control.controllers.values.templates import pod_from

POD_NAME: Final = "statefulset.kubernetes.io/pod-name"
POD_INDEX: Final = "apps.kubernetes.io/pod-index"


def ordinal(owner: Object, pod: Object) -> int | None:
    """The pod's number; None when its name is not one of the set's."""
    prefix, _, number = name_of(pod).rpartition("-")
    return int(number) if prefix == name_of(owner) and number.isascii() and number.isdigit() else None


def make(owner: Object, observed: Observed, number: int, revision: Object) -> Decision:
    """Create the claims that are missing, and the pod: not yet while a claim that it would get is going."""
    pod = _pod(owner, number, revision)
    text = f"Pod {name_of(pod)} in StatefulSet {name_of(owner)}"
    claims = missing(owner, observed, name_of(pod))
    doomed = going(owner, observed, name_of(pod))
    if doomed:
        why = ", ".join(f"pvc {name_of(claim)} is being deleted" for claim in doomed)
        return Decision(claims, (Event(owner, "FailedCreate", f"create {text} failed error: {why}", "Warning"),))
    told = Narration(
        owner, "SuccessfulCreate", f"create {text} successful", "FailedCreate", f"create {text} failed error: {{error}}"
    )
    because = cause(RESOURCE, owner, f"number {number} is missing: create it of {name_of(revision)}")
    return Decision([*claims, Create("pods", pod, because, told)])


def _pod(owner: Object, number: int, revision: Object) -> Object:
    name = f"{name_of(owner)}-{number}"
    pod = pod_from(template_of(revision), owner, name=name)
    pod["metadata"]["labels"] = {**labels(pod), **_marks(name, number), HASH: hash_of(revision)}
    spec = pod["spec"]
    spec["hostname"] = name
    if spec_of(owner).get("serviceName"):
        spec["subdomain"] = spec_of(owner)["serviceName"]
    claimed = volumes(owner, name)
    if claimed:
        own = {volume["name"] for volume in claimed}
        spec["volumes"] = [v for v in spec.get("volumes") or () if v["name"] not in own] + claimed
    return pod


def _marks(name: str, number: int) -> dict[str, str]:
    return {POD_NAME: name, POD_INDEX: str(number)}


def identity(owner: Object, observed: Observed, number: int, pod: Object) -> list[Action]:
    """Put back the labels that say who the pod is, and claims that it waits for.

    Under a pod that runs no claim is made: it would be an empty one beside the storage that the pod has.
    """
    actions = missing(owner, observed, name_of(pod)) if phase(pod) == "Pending" else []
    marks = _marks(name_of(pod), number)
    if marks.items() <= labels(pod).items():
        return actions
    patch = {"metadata": {"uid": uid_of(pod), "labels": marks}}
    because = cause(RESOURCE, owner, "its labels must say its number")
    return [*actions, Patch("pods", namespace_of(pod), name_of(pod), patch, because)]
