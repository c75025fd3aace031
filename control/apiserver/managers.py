"""Who manages which field: the bookkeeping of server-side apply, on every write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from control.api.kind import Kind
from control.api.meta import UID_BYTES, timestamp
from control.api.names import generated
from control.api.patches import apply as apply_patch
from control.api.patches import views
from control.api.patches.fieldsets import EMPTY
from control.api.patches.fresh import fields_of_new
from control.api.schema import Object
from control.apiserver.call import Call

# Kinds that change all the time and that nobody applies: their managers are not worth the bytes.
_UNTRACKED: Final = frozenset({"events", "events.events.k8s.io", "leases.coordination.k8s.io"})


def write_of(
    call: Call, kind: Kind, *, subresource: str = "", force: bool = False, applying: bool = False
) -> apply_patch.Write:
    """This request as a write by a manager. applying: the client must say which one it is."""
    manager = call.info.parameter("fieldManager")
    if not manager and not applying:
        manager = apply_patch.manager_of(call.headers.get("user-agent", ""))
    status = "status" in kind.subresources
    ignored = EMPTY
    if status:
        ignored = apply_patch.SPEC if subresource == "status" else apply_patch.STATUS
    return apply_patch.Write(
        views.of(kind), manager, kind.api_version, timestamp(datetime.now(UTC)), subresource, force, ignored
    )


def track(call: Call, kind: Kind, old: Object | None, new: Object) -> Object:
    """The object with metadata.managedFields brought up to date."""
    if kind.resource in _UNTRACKED:
        new["metadata"].pop("managedFields", None)
        return new
    write = write_of(call, kind, subresource=call.info.subresource)
    if old is None and "managedFields" not in new["metadata"]:
        fields = fields_of_new(new, write.view, "status" if "status" in kind.subresources else "")
        if fields is not None:
            return _with_creator(new, write, fields)
    return apply_patch.track(old, new, write)


def _with_creator(new: Object, write: apply_patch.Write, fields: Object) -> Object:
    """The object, all of it owned by who creates it."""
    if fields:
        entry: Object = {"manager": write.manager or "unknown", "operation": "Update", "apiVersion": write.api_version}
        entry |= {"time": write.now, "fieldsType": "FieldsV1", "fieldsV1": fields}
        if write.subresource:
            entry["subresource"] = write.subresource
        new["metadata"]["managedFields"] = [entry]
    return new


def rename(obj: Object, entropy: bytes) -> None:
    """Another generated name: the last one was taken."""
    obj["metadata"]["name"] = generated(obj["metadata"]["generateName"], entropy[UID_BYTES:])
