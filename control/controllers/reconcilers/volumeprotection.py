"""Storage in use is not deleted: a claim stays while a pod on a node uses it, a volume while it is bound.

Invariants: the finalizer goes only from what is being deleted, and from a claim only after the server itself, asked for
the namespace's pods, named none that uses it. Pods without a node do not count: they get none while a claim of theirs
is being deleted. Pods that have ended do, until they are deleted: their node may still have the volume in its hands.
Source: "Persistent Volumes: Storage Object in Use Protection"; which pods count is kube-controller-manager's answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from control.api.meta import metadata
from control.api.schema import Object
from control.api.volume_protection import CLAIMS, PROTECTION, VOLUMES
from control.controllers.values.actions import NOTHING, Decision, Key, Patch, Read
from control.controllers.values.controller import states
from control.controllers.values.objects import (
    cause,
    controller_of,
    finalizers,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    uid_of,
)
from control.controllers.values.observed import Observed

# Seconds until the server is asked again when it could not say which pods there are.
_AGAIN: Final = 5.0


def reconcile_claim(key: Key, observed: Observed, now: datetime) -> Decision:
    """Let a claim that is being deleted go once no pod uses it; give the others the finalizer if they lack it."""
    claim = observed.get(CLAIMS, key.namespace, key.name)
    if claim is None or not is_deleting(claim):
        return _protect(CLAIMS, claim)
    if not _is_held(CLAIMS, claim) or _in_use(claim, observed.in_namespace("pods", key.namespace)):
        return NOTHING
    question = Read("pods", key.namespace)
    answer = observed.answers.get(question)
    if answer is None:
        return Decision(reads=[question])
    if answer.object is None:
        return Decision(requeue_after=_AGAIN)
    # A pod that the view does not show yet will wake us when it goes.
    return NOTHING if _in_use(claim, answer.object.get("items") or ()) else _let_go(CLAIMS, claim, "no pod uses it")


def reconcile_volume(key: Key, observed: Observed, now: datetime) -> Decision:
    """The same for a volume, which is in use while it is bound."""
    volume = observed.get(VOLUMES, "", key.name)
    if volume is None or not is_deleting(volume):
        return _protect(VOLUMES, volume)
    if not _is_held(VOLUMES, volume) or status_of(volume).get("phase") == "Bound":
        return NOTHING
    return _let_go(VOLUMES, volume, "no claim has it")


def _is_held(resource: str, obj: Object) -> bool:
    return PROTECTION[resource] in finalizers(obj)


def _protect(resource: str, obj: Object | None) -> Decision:
    """What was made before there was this protection, or without it, gets it."""
    if obj is None or _is_held(resource, obj):
        return NOTHING
    return _with_finalizers(resource, obj, [*finalizers(obj), PROTECTION[resource]], "storage in use is protected")


def _let_go(resource: str, obj: Object, why: str) -> Decision:
    return _with_finalizers(resource, obj, [name for name in finalizers(obj) if name != PROTECTION[resource]], why)


def _with_finalizers(resource: str, obj: Object, names: list[str], rule: str) -> Decision:
    """The revision guards what others, or a user, have written there since."""
    guard = {"uid": uid_of(obj), "resourceVersion": metadata(obj)["resourceVersion"]}
    patch = {"metadata": {**guard, "finalizers": names}}
    return Decision([Patch(resource, namespace_of(obj), name_of(obj), patch, cause(resource, obj, rule))])


def _in_use(claim: Object, pods: Iterable[Object]) -> bool:
    return any(_uses(pod, claim) for pod in pods)


def _uses(pod: Object, claim: Object) -> bool:
    if not spec_of(pod).get("nodeName"):
        return False
    mine = not _is_shut_down(pod) and (controller_of(claim) or {}).get("uid") == uid_of(pod)
    return any(name == name_of(claim) and (mine or not ephemeral) for name, ephemeral in _claims_of(pod))


def _is_shut_down(pod: Object) -> bool:
    """Its node is done with it, or it was deleted by force; what keeps it may wait for its own claims to go."""
    return is_deleting(pod) and metadata(pod).get("deletionGracePeriodSeconds") == 0


def _claims_of(pod: Object) -> Iterator[tuple[str, bool]]:
    """(name, whether it is made for the pod alone) of the claims that its volumes are of."""
    for volume in spec_of(pod).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield volume["persistentVolumeClaim"].get("claimName", ""), False
        elif volume.get("ephemeral") is not None:
            yield f"{name_of(pod)}-{volume['name']}", True


def wake_claims(_resource: str, old: Object | None, new: Object | None, observed: Observed) -> set[Key]:
    """The claims of a pod that changed or went, if they wait to go."""
    claims = (observed.get(CLAIMS, namespace_of(pod), name) for pod in states(old, new) for name, _ in _claims_of(pod))
    return {key_of(claim) for claim in claims if claim is not None and is_deleting(claim)}
