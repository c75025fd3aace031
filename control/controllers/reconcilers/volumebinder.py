"""Binding claims to volumes that exist: static persistent volumes, as with hostPath and local disks.

Invariants: a volume has one claim and a claim one volume; the volume is written first, and only if it is still as it
was seen, so that two claims cannot take the same. Nothing is provisioned here (a class's provisioner, where somebody
runs one, is told what is wanted), nothing is wiped: a volume whose claim went is Released.
Source: "Persistent Volumes: Binding, Reclaiming".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from control.api.quantity import Quantity
from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.api.volume_binding import (
    BIND_COMPLETED,
    BY_CONTROLLER,
    NO_PROVISIONER,
    SELECTED_NODE,
    waits_for_consumer,
)
from control.controllers.values.actions import NOTHING, Action, Decision, Event, Key, Update, UpdateStatus
from control.controllers.values.controller import states
from control.controllers.values.objects import (
    annotations_of,
    cause,
    is_deleting,
    key_of,
    labels,
    name_of,
    namespace_of,
    object_reference,
    spec_of,
    status_of,
    uid_of,
    with_metadata,
    with_status,
)
from control.controllers.values.observed import Observed

CLAIMS: Final = "persistentvolumeclaims"
VOLUMES: Final = "persistentvolumes"
CLASSES: Final = "storageclasses.storage.k8s.io"
_WAIT: Final = 15.0
# Both names are read by provisioners.
_PROVISIONER: Final = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")


def reconcile_claim(key: Key, observed: Observed, now: datetime) -> Decision:
    """Find the claim a volume, bind both, and say so."""
    claim = observed.get(CLAIMS, key.namespace, key.name)
    if claim is None or is_deleting(claim):
        return NOTHING
    if spec_of(claim).get("volumeName") and BIND_COMPLETED in annotations_of(claim):
        return _keep(claim, observed.get(VOLUMES, "", spec_of(claim)["volumeName"]))
    volume = _volume_of(claim, observed)
    storage_class = observed.get(CLASSES, "", spec_of(claim).get("storageClassName") or "")
    if volume is None and not spec_of(claim).get("volumeName") and not waits_for_consumer(storage_class or {}):
        volume = _best(claim, observed.all(VOLUMES))
    if volume is None:
        return _pending(claim, storage_class)
    return Decision(_bind(claim, volume))


def _volume_of(claim: Object, observed: Observed) -> Object | None:
    """The volume that the claim names, or that names the claim."""
    named = spec_of(claim).get("volumeName")
    if named:
        volume = observed.get(VOLUMES, "", named)
        return volume if volume is not None and _is_free_for(volume, claim) else None
    return next((v for v in observed.all(VOLUMES) if _names(v, claim) and _is_free_for(v, claim)), None)


def _names(volume: Object, claim: Object) -> bool:
    reference = spec_of(volume).get("claimRef") or {}
    return (reference.get("namespace"), reference.get("name")) == (namespace_of(claim), name_of(claim))


def _may_have(volume: Object, claim: Object) -> bool:
    """Whether nobody else has it."""
    reference = spec_of(volume).get("claimRef")
    return reference is None or (_names(volume, claim) and reference.get("uid") in (None, "", uid_of(claim)))


def _is_free_for(volume: Object, claim: Object) -> bool:
    """The same; and what is being deleted is given to nobody, but stays with the claim that it was written for."""
    its_own = (spec_of(volume).get("claimRef") or {}).get("uid") == uid_of(claim)
    return _may_have(volume, claim) and (its_own or not is_deleting(volume))


def _best(claim: Object, volumes: Iterable[Object]) -> Object | None:
    """The smallest volume that is enough."""
    fitting = [v for v in volumes if spec_of(v).get("claimRef") is None and not is_deleting(v) and _fits(claim, v)]
    return min(fitting, key=lambda v: (_capacity(v), name_of(v)), default=None)


def _fits(claim: Object, volume: Object) -> bool:
    wanted, offered = spec_of(claim), spec_of(volume)
    if (wanted.get("storageClassName") or "") != (offered.get("storageClassName") or ""):
        return False
    if not set(wanted.get("accessModes") or ()) <= set(offered.get("accessModes") or ()):
        return False
    if (wanted.get("volumeMode") or "Filesystem") != (offered.get("volumeMode") or "Filesystem"):
        return False
    selector = wanted.get("selector")
    if selector is not None and not label_selector_of(selector).matches(labels(volume)):
        return False
    asked = ((wanted.get("resources") or {}).get("requests") or {}).get("storage", 0)
    return _capacity(volume) >= Quantity.parse(asked)


def _capacity(volume: Object) -> Quantity:
    return Quantity.parse((spec_of(volume).get("capacity") or {}).get("storage", 0))


def _bind(claim: Object, volume: Object) -> list[Action]:
    """Volume, claim, and the status of both, as far as they do not say it yet, in the order that a crash in between can
    be finished from.

    The status says what the writes before have made, so it is an update like them: none of it after one that failed.
    """
    actions: list[Action] = []
    because = cause(CLAIMS, claim, f"bound to volume {name_of(volume)}")
    reference = {**object_reference(claim)}
    if (spec_of(volume).get("claimRef") or {}).get("uid") != uid_of(claim):
        noted = with_metadata(volume, annotations={**annotations_of(volume), BY_CONTROLLER: "yes"})
        volume = {**noted, "spec": {**spec_of(volume), "claimRef": reference}}
        actions.append(Update(VOLUMES, volume, because))
    if status_of(volume).get("phase") != "Bound":
        bound = with_status(volume, {**status_of(volume), "phase": "Bound"})
        actions.append(Update(VOLUMES, bound, because, subresource="status"))
    if spec_of(claim).get("volumeName") != name_of(volume) or BIND_COMPLETED not in annotations_of(claim):
        noted = with_metadata(claim, annotations={**annotations_of(claim), BIND_COMPLETED: "yes", BY_CONTROLLER: "yes"})
        claim = {**noted, "spec": {**spec_of(claim), "volumeName": name_of(volume)}}
        actions.append(Update(CLAIMS, claim, because))
    if status_of(claim).get("phase") == "Bound":
        return actions
    status = {
        **status_of(claim),
        "phase": "Bound",
        "accessModes": spec_of(volume).get("accessModes") or [],
        "capacity": spec_of(volume).get("capacity") or {},
    }
    return [*actions, Update(CLAIMS, with_status(claim, status), because, subresource="status")]


def _pending(claim: Object, storage_class: Object | None) -> Decision:
    event = _why_pending(claim, storage_class)
    asked = _asked_of(claim, storage_class)
    if status_of(claim).get("phase") == "Pending":
        return Decision(asked, (event,), requeue_after=_WAIT)
    status = with_status(claim, {**status_of(claim), "phase": "Pending"})
    actions = (UpdateStatus(CLAIMS, status, cause(CLAIMS, claim, "no volume fits")),)
    return Decision(actions, (event,), requeue_after=0.0 if asked else _WAIT)


def _why_pending(claim: Object, storage_class: Object | None) -> Event:
    name = spec_of(claim).get("storageClassName")
    if not name:
        why = "no persistent volumes available for this claim and no storage class is set"
        return Event(claim, "FailedBinding", why)
    if storage_class is None:
        return Event(claim, "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found', "Warning")
    provisioner = storage_class.get("provisioner", "")
    if _waits_for_a_pod(claim, storage_class):
        return Event(claim, "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
    if provisioner == NO_PROVISIONER:
        return Event(claim, "ProvisioningFailed", f"no volume plugin matched name: {provisioner}", "Warning")
    why = (
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
        "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered."
    )
    return Event(claim, "ExternalProvisioning", why)


def _waits_for_a_pod(claim: Object, storage_class: Object) -> bool:
    """Whether nobody may make its volume yet, since nobody knows the node."""
    return waits_for_consumer(storage_class) and SELECTED_NODE not in annotations_of(claim)


def _asked_of(claim: Object, storage_class: Object | None) -> tuple[Action, ...]:
    """Tell the provisioner, a program of others, that a volume is wanted of it: by annotations, as it expects."""
    provisioner = (storage_class or {}).get("provisioner", NO_PROVISIONER)
    late = storage_class is not None and _waits_for_a_pod(claim, storage_class)
    if (
        provisioner == NO_PROVISIONER
        or late
        or all(annotations_of(claim).get(name) == provisioner for name in _PROVISIONER)
    ):
        return ()
    noted = with_metadata(claim, annotations={**annotations_of(claim), **dict.fromkeys(_PROVISIONER, provisioner)})
    return (Update(CLAIMS, noted, cause(CLAIMS, claim, f"{provisioner} is asked for a volume")),)


def _keep(claim: Object, volume: Object | None) -> Decision:
    """A claim that was bound stays so while its volume is there, also while that is being deleted.

    Without one it is Lost, until the volume is back.
    """
    if volume is None:
        text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        return _lost(claim, "ClaimLost", text, "its volume is gone")
    if not _may_have(volume, claim):
        text = "Two claims are bound to the same volume, this one is bound incorrectly"
        return _lost(claim, "ClaimMisbound", text, "its volume is another's")
    return Decision(_bind(claim, volume))


def _lost(claim: Object, reason: str, message: str, rule: str) -> Decision:
    before = status_of(claim)
    if before.get("phase") == "Lost":
        return NOTHING
    # What the volume gave it has gone with the volume.
    status = {name: value for name, value in before.items() if name not in ("accessModes", "capacity")}
    actions = (UpdateStatus(CLAIMS, with_status(claim, {**status, "phase": "Lost"}), cause(CLAIMS, claim, rule)),)
    return Decision(actions, (Event(claim, reason, message, "Warning"),))


def reconcile_volume(key: Key, observed: Observed, now: datetime) -> Decision:
    """Say whether a volume is available, bound or released; also of one that is being deleted, which waits for that."""
    volume = observed.get(VOLUMES, "", key.name)
    if volume is None:
        return NOTHING
    reference = spec_of(volume).get("claimRef")
    if _claim_has_another(volume, observed):
        return Decision([_taken_back(volume)])
    phase = "Available" if reference is None else _phase(reference, observed)
    if phase is None or status_of(volume).get("phase") == phase:
        return NOTHING
    status = with_status(volume, {**status_of(volume), "phase": phase})
    return Decision([UpdateStatus(VOLUMES, status, cause(VOLUMES, volume, f"volume is {phase}"))])


def _phase(reference: dict[str, Any], observed: Observed) -> str | None:
    """Released when its claim is gone; None: binding is under way and says itself."""
    uid = reference.get("uid")
    if not uid:
        return "Available"
    claim = observed.get(CLAIMS, reference.get("namespace", ""), reference.get("name", ""))
    return "Released" if claim is None or uid_of(claim) != uid else None


def _claim_has_another(volume: Object, observed: Observed) -> bool:
    """Whether the claim that we gave it to is bound to another one, as two of its pods may have asked for both."""
    reference = spec_of(volume).get("claimRef") or {}
    claim = observed.get(CLAIMS, reference.get("namespace", ""), reference.get("name", ""))
    if BY_CONTROLLER not in annotations_of(volume) or claim is None or uid_of(claim) != reference.get("uid"):
        return False
    # Once it is there, nobody can change it.
    return spec_of(claim).get("volumeName") not in (None, "", name_of(volume))


def _taken_back(volume: Object) -> Action:
    annotations = {name: value for name, value in annotations_of(volume).items() if name != BY_CONTROLLER}
    spec = {name: value for name, value in spec_of(volume).items() if name != "claimRef"}
    free = {**with_metadata(volume, annotations=annotations), "spec": spec}
    return Update(VOLUMES, free, cause(VOLUMES, volume, "its claim has another volume"))


def wake_claims(_resource: str, old: Object | None, new: Object | None, observed: Observed) -> set[Key]:
    """The claims that a volume names or named, and all that wait when a volume is free."""
    references = [reference for volume in states(old, new) if (reference := spec_of(volume).get("claimRef"))]
    keys = {Key(reference.get("namespace", ""), reference.get("name", "")) for reference in references}
    if new is not None and spec_of(new).get("claimRef") is None:
        keys.update(key_of(c) for c in observed.all(CLAIMS) if status_of(c).get("phase") != "Bound")
    return keys


def wake_class(_resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterable[Key]:
    """The claims that wait for a volume of a class that came or changed."""
    if new is None:
        return []
    waiting = (c for c in observed.all(CLAIMS) if status_of(c).get("phase") != "Bound")
    return [key_of(claim) for claim in waiting if spec_of(claim).get("storageClassName") == name_of(new)]


def wake_volumes(_resource: str, old: Object | None, new: Object | None, observed: Observed) -> set[Key]:
    """The volumes that a claim names; and those that name one that went, or that has its volume now: it may never have
    been told of them."""
    names = {spec_of(claim).get("volumeName") for claim in states(old, new)}
    uids = set[str]()
    if old is not None and (new is None or uid_of(new) != uid_of(old)):
        uids.add(uid_of(old))
    if new is not None and spec_of(new).get("volumeName") and not (old and spec_of(old).get("volumeName")):
        uids.add(uid_of(new))
    if uids:
        names |= {name_of(v) for v in observed.all(VOLUMES) if (spec_of(v).get("claimRef") or {}).get("uid") in uids}
    return {Key("", name) for name in names if name}
