"""What a write depends on: revisions, identities, leaderships; and when a deleted object may go."""

from __future__ import annotations

from typing import Final

from control.api.kind import Kind
from control.api.schema import Object
from control.api.status import Cause, StatusError, conflict, invalid
from control.apiserver.call import Call
from control.apiserver.request import Review
from control.apiserver.storage import Fence

# How often a write is made again because somebody else wrote meanwhile.
ATTEMPTS: Final = 12
_RV: Final = "metadata.resourceVersion"


def check_preconditions(kind: Kind, old: Object, expected: int, uid: str) -> None:
    """StatusError 409 unless the object has the revision and the uid that the client insists on."""
    metadata = old["metadata"]
    if uid and uid != metadata.get("uid"):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata.get('uid')}"
        raise conflict(kind.resource, metadata["name"], why)
    if expected and str(expected) != metadata["resourceVersion"]:
        raise conflict(kind.resource, metadata["name"])


def check_identity(kind: Kind, new: Object, old: Object) -> None:
    given, own = new["metadata"].get("uid"), old["metadata"].get("uid")
    if given and given != own:
        why = f"Precondition failed: UID in precondition: {given}, UID in object meta: {own}"
        raise conflict(kind.resource, old["metadata"]["name"], why)


def is_finished(kind: Kind, obj: Object) -> bool:
    """Whether nothing keeps a deleted object any more: no finalizer, no time left."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if kind.resource == "namespaces":
        return not (obj.get("spec") or {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def expected_revision(kind: Kind, obj: Object, subresource: str = "") -> int:
    """The resourceVersion a body insists on, 0 for none. StatusError 422: it is no number, or custom kinds lack it."""
    metadata = obj.get("metadata")
    text = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    name = str((metadata or {}).get("name") or "") if isinstance(metadata, dict) else ""
    if text in (None, ""):
        if kind.custom and not subresource:
            cause = Cause("FieldValueInvalid", "Invalid value: 0x0: must be specified for an update", _RV)
            raise invalid(kind.group_kind, name, [cause])
        return 0
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 19):
        raise invalid(
            kind.group_kind, name, [Cause("FieldValueInvalid", f'Invalid value: "{text}": must be a number', _RV)]
        )
    return int(text)


def fence_of(call: Call) -> Fence | None:
    """The leadership that the write depends on, from its header. StatusError 400: malformed."""
    text = call.headers.get("fluyt-fence", "")
    if not text:
        return None
    key, separator, revision = text.rpartition(";")
    number = revision.isascii() and revision.isdigit() and len(revision) <= 18
    if not separator or not key.startswith("/fluyt/leaders/") or not number:
        raise StatusError(400, "BadRequest", "the header Fluyt-Fence must be <key>;<create revision>")
    return Fence(key.encode(), int(revision))


def fence_lost(call: Call, kind: Kind, name: str) -> StatusError:
    """409: the writer leads no more."""
    call.server.metrics.fenced_writes += 1
    cause = Cause("FenceLost", "the leadership that this write depended on is over")
    return conflict(kind.resource, name, "the writer's leadership is over", [cause])


async def undo(review: Review) -> None:
    """Tell admission that the write did not happen."""
    for callback in reversed(review.after_failure):
        result = callback()
        if hasattr(result, "__await__"):
            await result
    review.after_failure.clear()
