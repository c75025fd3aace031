"""What a server does to an object before it is validated and stored: who sets which part; when generation grows.

The order of a write: decode → identify → (defaults → mutating admission → defaults) → prepare → check (validate.py) →
validating admission → store. Clients own spec and most of metadata; the server owns uid, times, generation and, for
kinds with a status subresource, keeps what a request for the other part brought along out of the object.

Invariants: a stored object begins apiVersion, kind, metadata; an update never changes uid, creationTimestamp or
deletionTimestamp; generation grows exactly when something but metadata and status changed.

Source: "Metadata" and "Spec and Status" of Kubernetes' API conventions.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from control.api.copying import copied
from control.api.defaults import apply_defaults
from control.api.kind import Kind
from control.api.meta import UID_BYTES, new_uid, timestamp
from control.api.names import SUFFIX_LENGTH, generated
from control.api.rules.creation import CREATE_RULES, KEEPS_STATUS_ON_CREATE, UPDATE_RULES
from control.api.schema import Object
from control.api.status import bad_request, quoted

ENTROPY_BYTES: Final = UID_BYTES + SUFFIX_LENGTH

_GENERATIONS: Final = frozenset(
    {
        "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch", "cronjobs.batch",
        "replicationcontrollers", "ingresses.networking.k8s.io", "ingressclasses.networking.k8s.io",
        "networkpolicies.networking.k8s.io", "poddisruptionbudgets.policy", "endpointslices.discovery.k8s.io",
        "priorityclasses.scheduling.k8s.io", "customresourcedefinitions.apiextensions.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    }
)  # fmt: skip
_SERVER_OWNED: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_STATUS_METADATA: Final = ("managedFields", "resourceVersion")


def identify(kind: Kind, obj: Object, *, namespace: str = "", name: str = "") -> Object:
    """Fit the object to the URL it came to: fills in apiVersion, kind, namespace and name, in place.

    StatusError (400): it says something else.
    """
    for field, wanted in (("apiVersion", kind.api_version), ("kind", kind.name)):
        given = obj.get(field)
        if given not in (None, "", wanted):
            raise bad_request(f"the {field} in the data ({given}) does not match the expected {field} ({wanted})")
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if kind.namespaced:
        _fit(metadata, "namespace", namespace)
    elif metadata.pop("namespace", ""):
        raise bad_request(f"namespace is not allowed on {kind.resource}: they belong to the whole cluster")
    if name:
        _fit(metadata, "name", name)
    rest = {field: value for field, value in obj.items() if field not in ("apiVersion", "kind", "metadata")}
    obj.clear()
    obj.update({"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **rest})
    return obj


def _fit(metadata: Object, field: str, wanted: str) -> None:
    given = metadata.get(field) or wanted
    if given != wanted:
        raise bad_request(
            f"the {field} of the provided object does not match the {field} sent on the request"
            f" ({quoted(str(given))} is not {quoted(wanted)})"
        )
    if wanted:
        metadata[field] = wanted


def prepare_create(kind: Kind, obj: Object, *, now: datetime, entropy: bytes) -> Object:
    """Make the object new, in place: name, uid, creation time, first generation, no status of the client's.

    entropy: ENTROPY_BYTES of chance. StatusError (400): it has a resourceVersion.
    """
    metadata = obj["metadata"]
    if metadata.get("resourceVersion") not in (None, "", "0"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for field in (*_SERVER_OWNED, "resourceVersion", "selfLink"):
        metadata.pop(field, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generated(metadata["generateName"], entropy[UID_BYTES:])
    metadata["uid"] = new_uid(entropy[:UID_BYTES])
    metadata["creationTimestamp"] = timestamp(now)
    if has_generation(kind):
        metadata["generation"] = 1
    if has_status(kind) and kind.resource not in KEEPS_STATUS_ON_CREATE:
        obj.pop("status", None)
        if not kind.custom:
            obj["status"] = {}
    rule = CREATE_RULES.get(kind.resource)
    if rule is not None:
        rule(obj)
    return apply_defaults(kind, obj)


def prepare_update(kind: Kind, new: Object, old: Object, *, subresource: str = "") -> Object:
    """Take from new what the request may change, and the rest from old; new is changed in place.

    subresource: "", "status", "approval", "ephemeralcontainers", "finalize". Without one, status stays as it was where
    the kind has a status subresource; with "status", only status changes, and little of metadata; with
    "ephemeralcontainers", nothing but these.
    """
    if subresource == "status":
        new = _status_update(kind, new, old)
    elif subresource == "ephemeralcontainers":
        new = _ephemeral_update(new, old)
    elif has_status(kind) and subresource != "approval":
        _keep(new, old, "status")
    metadata, before = new["metadata"], old["metadata"]
    for field in _SERVER_OWNED:
        _keep(metadata, before, field)
    metadata.pop("selfLink", None)
    rule = UPDATE_RULES.get(kind.resource)
    if rule is not None:
        rule(new, old, subresource)
    apply_defaults(kind, new)
    if has_generation(kind) and subresource != "status" and is_spec_change(new, old):
        metadata["generation"] = int(before.get("generation") or 0) + 1
    return new


def _status_update(kind: Kind, new: Object, old: Object) -> Object:
    """The old object with the new status. Of metadata, built-in kinds take labels, annotations and finalizers as well
    (agents label their nodes so); owners never change this way."""
    metadata = copied(old["metadata"])
    for field in _STATUS_METADATA:
        _keep(metadata, new["metadata"], field)
    if not kind.custom:
        for field in ("labels", "annotations", "finalizers"):
            _keep(metadata, new["metadata"], field)
    kept = {field: copied(value) for field, value in old.items() if field not in ("metadata", "status")}
    status = {"status": new["status"]} if "status" in new else {}
    new.clear()
    new.update({"apiVersion": kept.pop("apiVersion"), "kind": kept.pop("kind"), "metadata": metadata, **kept, **status})
    return new


def _ephemeral_update(new: Object, old: Object) -> Object:
    """The old pod with the new ephemeral containers: who may add a debugger may not change what is debugged."""
    wanted, given = (new.get("spec") or {}).get("ephemeralContainers"), new["metadata"]
    new.clear()
    new.update(copied(old))
    for field in _STATUS_METADATA:
        _keep(new["metadata"], given, field)
    _keep(new["spec"], {"ephemeralContainers": wanted} if wanted else {}, "ephemeralContainers")
    return new


def _keep(new: Object, old: Object, field: str) -> None:
    if field in old:
        new[field] = copied(old[field])
    else:
        new.pop(field, None)


def has_status(kind: Kind) -> bool:
    """Whether status is written apart from the rest."""
    return "status" in kind.subresources


def has_generation(kind: Kind) -> bool:
    """Whether the kind counts changes of its spec."""
    return kind.custom or kind.resource in _GENERATIONS


def is_spec_change(new: Object, old: Object) -> bool:
    """Whether anything but metadata and status differs."""
    ignored = ("metadata", "status", "apiVersion", "kind")
    return any(new.get(field) != old.get(field) for field in {*new, *old} if field not in ignored)


def is_same(new: Object, old: Object) -> bool:
    """Whether nothing changed but what every request sets (resourceVersion, managers' times): no write is needed."""
    if any(new.get(field) != old.get(field) for field in {*new, *old} if field != "metadata"):
        return False
    ignored = ("resourceVersion", "managedFields")
    left, right = new["metadata"], old["metadata"]
    if any(left.get(field) != right.get(field) for field in {*left, *right} if field not in ignored):
        return False
    return _timeless(left.get("managedFields")) == _timeless(right.get("managedFields"))


def _timeless(entries: list[Object] | None) -> list[Object]:
    return [{key: value for key, value in entry.items() if key != "time"} for entry in entries or ()]
