"""Rules for metadata: names, labels, annotations, finalizers, owners; and what an update may not change.

Source: "Object metadata" of Kubernetes' API conventions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from control.api import names
from control.api.fielderrors import forbidden, invalid, required, too_long
from control.api.kind import Kind
from control.api.meta import is_deleting
from control.api.rules.checks import Causes, fields_unchanged, labels, named, qualified
from control.api.schema import Object

_RBAC: Final = "rbac.authorization.k8s.io"
_CRON_JOB_LENGTH: Final = 52
_STANDARD_FINALIZERS: Final = frozenset({"kubernetes", "orphan", "foregroundDeletion"})

NameCheck = Callable[[str], list[str]]


def _cron_job_name(text: str) -> list[str]:
    """Jobs get the name with eleven letters of the time behind it."""
    complaints = names.dns_subdomain(text)
    return complaints + ([names.too_long(_CRON_JOB_LENGTH)] if len(text) > _CRON_JOB_LENGTH else [])


_NAMES: Final[dict[str, NameCheck]] = {
    "services": names.dns_1035_label,
    "namespaces": names.dns_label,
    "statefulsets.apps": names.dns_label,
    "cronjobs.batch": _cron_job_name,
    **{f"{plural}.{_RBAC}": names.path_segment for plural in ("roles", "rolebindings", "clusterroles")},
    f"clusterrolebindings.{_RBAC}": names.path_segment,
}


def check_metadata(kind: Kind, obj: Object) -> Causes:
    """Everything that holds for a new and for a changed object."""
    metadata = obj.get("metadata") or {}
    yield from _names(kind, metadata)
    if kind.namespaced and not metadata.get("namespace"):
        yield required("metadata.namespace")
    yield from check_labels(metadata, "metadata")
    for index, finalizer in enumerate(metadata.get("finalizers", ())):
        yield from _finalizer(finalizer, f"metadata.finalizers[{index}]")
    yield from _owners(metadata)


def _names(kind: Kind, metadata: Object) -> Causes:
    check = _NAMES.get(kind.resource, names.dns_subdomain)
    name, prefix = metadata.get("name"), metadata.get("generateName")
    if prefix:
        yield from named(check, f"{prefix[: names.GENERATE_NAME_LENGTH].rstrip('-.')}x", "metadata.generateName")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        yield from named(check, name, "metadata.name")
        for complaint in names.path_segment(name):
            yield invalid("metadata.name", name, complaint)


def check_labels(metadata: Object, at: str) -> Causes:
    """Labels and annotations, of an object or of a template."""
    yield from labels(metadata.get("labels"), f"{at}.labels")
    annotations = metadata.get("annotations")
    if annotations:
        for key in annotations:
            yield from qualified(key.lower(), f"{at}.annotations")
        if names.annotations_too_long(annotations):
            yield too_long(f"{at}.annotations", names.ANNOTATIONS_BYTES)


def _finalizer(text: str, at: str) -> Causes:
    yield from qualified(text, at)
    if "/" not in text and text not in _STANDARD_FINALIZERS:
        yield invalid(at, text, "name is neither a standard finalizer name nor is it fully qualified")


def _owners(metadata: Object) -> Causes:
    controllers = []
    for index, owner in enumerate(metadata.get("ownerReferences", ())):
        at = f"metadata.ownerReferences[{index}]"
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield invalid(f"{at}.{field}", owner.get(field, ""), f"{field} must not be empty")
        if owner.get("controller"):
            controllers.append(owner.get("name", ""))
    if len(controllers) > 1:
        words = f"Only one reference can have Controller set to true. Found {' and '.join(controllers[:2])}"
        yield invalid("metadata.ownerReferences", metadata["ownerReferences"], words)


def check_metadata_update(new: Object, old: Object) -> Causes:
    """What stays as long as the object lives."""
    metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
    yield from fields_unchanged(metadata, before, "metadata", "name", "namespace", "uid", "creationTimestamp")
    if is_deleting(old):
        added = [f for f in metadata.get("finalizers", ()) if f not in before.get("finalizers", ())]
        if added:
            words = "no new finalizers can be added if the object is being deleted, found new finalizers "
            yield forbidden("metadata.finalizers", words + ", ".join(added))
