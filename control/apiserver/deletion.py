"""How objects go: at once, after a grace period (pods), or once the last finalizer is gone.

Source: "Finalizers", "Garbage Collection" (cascading deletion) and "Pod Lifecycle" in the Kubernetes documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from control.api.copying import copied
from control.api.kind import Kind
from control.api.meta import parse_time, timestamp
from control.api.schema import Object
from control.api.status import Cause, StatusError, bad_request, invalid
from control.apiserver import causes, conversion, hooks
from control.apiserver.attempts import on_present_state
from control.apiserver.call import Call, is_dry_run
from control.apiserver.conditions import (
    check_preconditions,
    fence_lost,
    fence_of,
    is_finished,
    undo,
)
from control.apiserver.definitions import DEFINITIONS, terminating
from control.apiserver.request import Review
from control.apiserver.splice import parse, to_value
from control.apiserver.storage import Extra, Fenced, Stored

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
_POLICIES: Final = ("Background", "Foreground", "Orphan")
_FINISHED: Final = frozenset({"Succeeded", "Failed"})
DEFAULT_GRACE: Final = 30


@dataclass(frozen=True, slots=True)
class Wish:
    """DeleteOptions as the server reads them. grace: None for the object's own; policy "": the kind's."""

    grace: int | None = None
    policy: str = ""
    uid: str = ""
    revision: int = 0
    dry_run: bool = False


def wish_of(call: Call, options: Object) -> Wish:
    """From the body, or the query where there is none. StatusError 400, 422."""
    info = call.info
    grace: Any = options.get("gracePeriodSeconds")
    if grace is None and info.parameter("gracePeriodSeconds"):
        grace = _seconds(info.parameter("gracePeriodSeconds"))
    policy = options.get("propagationPolicy") or info.parameter("propagationPolicy")
    orphan: Any = options.get("orphanDependents")
    if orphan is None and info.parameter("orphanDependents"):
        orphan = info.parameter("orphanDependents") in ("true", "1")
    if orphan is not None and policy:
        raise _invalid("", "orphanDependents and deletionPropagation cannot be both set", "propagationPolicy")
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    if policy and policy not in _POLICIES:
        raise _invalid(f'"{policy}"', "must be Background, Foreground or Orphan", "propagationPolicy")
    preconditions = options.get("preconditions") or {}
    dry_run = is_dry_run(options.get("dryRun") or []) or call.dry_run
    return Wish(grace, policy, preconditions.get("uid") or "", _revision(preconditions.get("resourceVersion")), dry_run)


def _seconds(text: str) -> int:
    if not (text.lstrip("-").isdigit() and text.isascii() and len(text) < 12):
        raise bad_request(f"gracePeriodSeconds: Invalid value: {text!r}: must be a whole number")
    return int(text)


def _revision(text: str | None) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise bad_request(f"preconditions.resourceVersion: Invalid value: {text!r}: must be a number")
    return int(text)


def _invalid(value: str, detail: str, field: str) -> StatusError:
    return invalid("DeleteOptions", "", [Cause("FieldValueInvalid", f"Invalid value: {value}: {detail}", field)])


async def delete_object(call: Call, namespace: str, name: str, wish: Wish) -> tuple[Object, bool]:
    """(the object as it was last, whether it is gone now). StatusError 404, 409, and what admission says."""
    return await on_present_state(call, namespace, name, lambda state: _attempt(call, call.of, state, wish))


async def _attempt(call: Call, kind: Kind, state: Stored, wish: Wish) -> tuple[Object, bool]:
    old = conversion.from_stored(kind, parse(state.value, state.revision))
    check_preconditions(kind, old, wish.revision, wish.uid)
    review = Review(call.user, call.info, kind, "DELETE", None, old, dry_run=wish.dry_run, warnings=call.warnings)
    try:
        await call.server.security.admission.mutate(review)
        await call.server.security.admission.validate(review)
        new = marked(kind, old, wish, datetime.now(UTC))
        gone = is_finished(kind, new)
        if wish.dry_run or (not gone and new == old):
            return new, gone
        await _write(call, kind, state, new, gone)
    except BaseException:
        await undo(review)
        raise
    return new, gone


async def _write(call: Call, kind: Kind, state: Stored, new: Object, gone: bool) -> None:
    metadata, storage, extra = new["metadata"], call.server.storage, Extra(fence=fence_of(call))
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    extra.notes = await causes.notes(call, namespace, name, state.revision)
    try:
        if gone:
            await hooks.before_delete(call.server, kind, new, extra)
            revision = await storage.delete(state.key, state.revision, extra)
        else:
            value = to_value(conversion.to_stored(kind, new))
            revision = await storage.update(state.key, value, state.revision, extra)
    except Fenced:
        raise fence_lost(call, kind, name) from None
    metadata["resourceVersion"] = str(revision)


def marked(kind: Kind, old: Object, wish: Wish, now: datetime) -> Object:
    """The object with what its deletion leaves on it: when, how much time, which finalizers."""
    new = copied(old)
    metadata = new["metadata"]
    _set_finalizers(metadata, wish.policy)
    grace = _grace(kind, new, wish)
    if metadata.get("deletionTimestamp"):
        _shorten(metadata, grace, wish)
    else:
        metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
    if kind.resource == DEFINITIONS:
        new = terminating(new, now)
    if kind.resource == "namespaces":
        new.setdefault("status", {})["phase"] = "Terminating"
    return new


def _set_finalizers(metadata: Object, policy: str) -> None:
    """Foreground and Orphan are carried out by the garbage collector, which takes these finalizers off."""
    if not policy:
        return
    kept = [name for name in metadata.get("finalizers") or [] if name not in (FOREGROUND, ORPHAN)]
    if policy != "Background":
        kept.append(FOREGROUND if policy == "Foreground" else ORPHAN)
    metadata["finalizers"] = kept
    if not kept:
        del metadata["finalizers"]


def _grace(kind: Kind, obj: Object, wish: Wish) -> int:
    """Seconds until the object may go: pods that run somewhere get theirs, everything else none."""
    if kind.resource != "pods":
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in _FINISHED:
        return 0
    grace = wish.grace if wish.grace is not None else spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE)
    return 1 if grace < 0 else int(grace)


def _shorten(metadata: Object, grace: int, wish: Wish) -> None:
    """A second deletion can only make the time shorter."""
    before = int(metadata.get("deletionGracePeriodSeconds") or 0)
    if grace >= before or (wish.grace is None and grace):
        return
    end = parse_time(metadata["deletionTimestamp"]) - timedelta(seconds=before - grace)
    metadata["deletionTimestamp"] = timestamp(end)
    metadata["deletionGracePeriodSeconds"] = grace
