"""Reading objects as reconcilers do: metadata (control.api.meta under names that read well here), causes, references.

Invariant: nothing here changes an object.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from control.api.meta import annotations as annotations_of
from control.api.meta import (
    controller_of,
    creation_time,
    finalizers,
    is_deleting,
    labels,
    metadata,
)
from control.api.meta import generation as generation_of
from control.api.meta import name as name_of
from control.api.meta import namespace as namespace_of
from control.api.meta import owner_references as owners
from control.api.meta import parse_time as parse_moment
from control.api.meta import timestamp as format_time
from control.api.meta import uid as uid_of
from control.api.schema import Object
from control.client.cause import Cause
from control.controllers.values.actions import Key

__all__ = [
    "annotations_of",
    "cause",
    "controller_of",
    "created_at",
    "finalizers",
    "format_time",
    "generation_of",
    "is_deleting",
    "key_of",
    "labels",
    "name_of",
    "namespace_of",
    "object_reference",
    "owner_reference",
    "owners",
    "parse_time",
    "same_status",
    "spec_of",
    "status_of",
    "uid_of",
    "with_metadata",
    "with_status",
]


def key_of(obj: Object) -> Key:
    return Key(namespace_of(obj), name_of(obj))


def spec_of(obj: Object) -> dict[str, Any]:
    return obj.get("spec") or {}


def status_of(obj: Object) -> dict[str, Any]:
    return obj.get("status") or {}


def created_at(obj: Object) -> datetime:
    """When the server made it; the beginning of time for what it has not made."""
    return creation_time(obj) or datetime.fromtimestamp(0, UTC)


def cause(resource: str, obj: Object, rule: str) -> Cause:
    """Because of this object as it is now, by that rule."""
    return Cause.of(resource, obj, rule)


def owner_reference(obj: Object, *, controller: bool = True, block: bool = True) -> dict[str, Any]:
    """A reference that makes `obj` the owner."""
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": name_of(obj),
        "uid": uid_of(obj),
        "controller": controller,
        "blockOwnerDeletion": block,
    }


def object_reference(obj: Object) -> dict[str, Any]:
    """An ObjectReference, as statuses and events hold it."""
    reference = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": name_of(obj), "uid": uid_of(obj)}
    if namespace_of(obj):
        reference["namespace"] = namespace_of(obj)
    return reference


def parse_time(text: str | None) -> datetime | None:
    """The instant; None for "" and None. ValueError: no time."""
    return parse_moment(text) if text else None


def same_status(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two statuses say the same: a zero, an empty list and a missing field are one."""
    return _said(one) == _said(other)


def _said(status: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if value not in (0, "", None, [], {})}


def with_status(obj: Object, status: dict[str, Any]) -> Object:
    """The object with another status; the given one stays as it is."""
    return {**obj, "status": status}


def with_metadata(obj: Object, **changes: Any) -> Object:
    """The object with other metadata fields; a None takes the field out."""
    changed = {**metadata(obj), **changes}
    return {**obj, "metadata": {name: value for name, value in changed.items() if value is not None}}
