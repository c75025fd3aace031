"""How an object gets into the store: prepared, admitted, validated, and written in one transaction.

An update begins with what memory holds, which may be a moment old: the transaction compares the revision, and a refusal
that follows from an old state is given only after a look into the store. When somebody else wrote meanwhile, the change
is made again to the new state, unless the client insisted on a resourceVersion.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from control.api.defaults import apply_defaults
from control.api.kind import Kind
from control.api.prepare import ENTROPY_BYTES, identify, is_same, prepare_create, prepare_update
from control.api.schema import Object
from control.api.status import (
    Cause,
    StatusError,
    already_exists,
    conflict,
    generate_name_conflict,
    invalid,
    not_found,
)
from control.api.validate import check_create, check_update
from control.apiserver import causes, conversion, hooks, managers
from control.apiserver.call import Call
from control.apiserver.request import Review
from control.apiserver.splice import parse, to_value
from control.apiserver.storage import Changed, Claimed, Extra, Fence, Fenced, Stored

ATTEMPTS = 12
NAME_ATTEMPTS = 8
# They go by themselves after --event-ttl.
EVENTS = "/registry/events/"

Make = Callable[[Object], Awaitable[Object]]


@dataclass(slots=True)
class Update:
    """A change of one object. make: from a copy of the present state to the new one, in the request's version.

    expected: the resourceVersion the client insists on, 0 for any; uid: likewise, "" for any.
    applied: managedFields are in order already (server-side apply). raw: the change is the server's own and is neither
    prepared nor validated as a client's would be. admit: False when admission has seen it in another form (scale).
    """

    make: Make
    subresource: str = ""
    expected: int = 0
    uid: str = ""
    applied: bool = False
    raw: bool = False
    admit: bool = True
    dry_run: bool = False
    options: Object = field(default_factory=dict)


# ---- creating ----


async def create_object(call: Call, obj: Object, *, dry_run: bool = False, applied: bool = False) -> Object:
    """Store a new object; it, with its resourceVersion, in the request's version. StatusError 409, 422, 403 …"""
    kind = call.of
    cache = await call.server.resources.loaded(kind)
    identify(kind, obj, namespace=call.namespace)
    generated = not obj["metadata"].get("name") and bool(obj["metadata"].get("generateName"))
    apply_defaults(kind, obj)
    if not applied:
        # What admission and the server itself add from here on belongs to nobody.
        obj = managers.track(call, kind, None, obj)
    review = Review(
        call.user, call.info, kind, "CREATE", obj, dry_run=dry_run, warnings=call.warnings, audit=call.annotations
    )
    try:
        await call.server.security.admission.mutate(review)
        obj = review.object = prepare_create(
            kind, review.object or obj, now=datetime.now(UTC), entropy=os.urandom(ENTROPY_BYTES)
        )
        for attempt in range(NAME_ATTEMPTS if generated else 1):
            if attempt:
                managers.rename(obj, os.urandom(ENTROPY_BYTES))
            if not generated and cache.get(call.namespace, obj["metadata"].get("name", "")) is not None:
                await _refuse_existing(call, kind, obj["metadata"]["name"])
            check_create(kind, obj)
            await call.server.security.admission.validate(review)
            try:
                return await _store_new(call, kind, obj, dry_run)
            except Changed:
                continue
        raise (generate_name_conflict if generated else already_exists)(kind.resource, obj["metadata"]["name"])
    except BaseException:
        await undo(review)
        raise


async def _refuse_existing(call: Call, kind: Kind, name: str) -> None:
    """Say that the name is taken before anything else is complained of, if it really is."""
    key = call.server.resources.cache_of(kind).key(call.namespace, name)
    if await call.server.storage.get(key) is not None:
        raise already_exists(kind.resource, name)


async def _store_new(call: Call, kind: Kind, obj: Object, dry_run: bool) -> Object:
    """One attempt. Raises Changed when the name is taken."""
    namespace, name = call.namespace, obj["metadata"]["name"]
    key = call.server.resources.cache_of(kind).key(namespace, name)
    given = obj
    for _ in range(ATTEMPTS):
        obj = copy.deepcopy(given) if kind.resource in hooks.HOOKS else given
        extra = Extra(fence=fence_of(call))
        await hooks.before_create(call.server, kind, obj, extra)
        call.warnings.extend(extra.warnings)
        if dry_run:
            if await call.server.storage.get(key) is not None:
                raise Changed(None)
            return obj
        value = to_value(conversion.to_stored(kind, obj))
        if kind.registry == EVENTS:
            extra.lease = await call.server.event_leases.current()
        extra.notes = await causes.notes(call, namespace, name, 0)
        try:
            revision = await call.server.storage.create(key, value, extra)
        except Claimed as taken:
            hooks.claim_lost(kind, given, taken)
            continue
        except Fenced:
            raise fence_lost(call, kind, name) from None
        obj["metadata"]["resourceVersion"] = str(revision)
        await hooks.after_create(call.server, kind, obj, revision)
        return obj
    raise conflict(kind.resource, name, "no free address could be taken, please try again")


# ---- changing ----


async def update_object(call: Call, namespace: str, name: str, update: Update) -> Object:
    """Change an object; the result, with its resourceVersion. A change that is none writes nothing. StatusError."""
    kind = call.of
    cache = await call.server.resources.loaded(kind)
    key = cache.key(namespace, name)
    cached = cache.get(namespace, name)
    state = Stored(key, cached.data, cached.revision) if cached is not None else None
    fresh = False
    for _ in range(ATTEMPTS):
        if state is None:
            state, fresh = await call.server.storage.get(key), True
            if state is None:
                raise not_found(kind.resource, name)
        try:
            return await _attempt(call, kind, state, update)
        except Changed as changed:
            state, fresh = changed.current, True
            if state is None:
                raise not_found(kind.resource, name) from None
        except StatusError:
            if fresh:
                raise
            live = await call.server.storage.get(key)
            if live is not None and live.revision == state.revision:
                raise
            state, fresh = live, True
    raise conflict(kind.resource, name)


async def _attempt(call: Call, kind: Kind, state: Stored, update: Update) -> Object:
    """The change on one state. Raises Changed when the store is not at it any more."""
    old = conversion.from_stored(kind, parse(state.value, state.revision))
    name = old["metadata"]["name"]
    check_preconditions(kind, old, update.expected, update.uid)
    new = await update.make(copy.deepcopy(old))
    identify(kind, new, namespace=old["metadata"].get("namespace", ""), name=name)
    _check_identity(kind, new, old)
    if update.raw:
        return await _store_changed(call, kind, state, old, managers.track(call, kind, old, new), update)
    new = _prepared(call, kind, new, old, update)
    hooks.prepare_update(kind, new, old)
    review = Review(
        *(call.user, call.info, kind, "UPDATE", new, old, update.options, update.dry_run, call.warnings),
        audit=call.annotations,
    )
    admission = call.server.security.admission if update.admit else None
    try:
        if admission is not None:
            await admission.mutate(review)
            new = review.object = apply_defaults(kind, review.object or new)
        check_update(kind, new, old, update.subresource)
        if admission is not None:
            await admission.validate(review)
        return await _store_changed(call, kind, state, old, new, update)
    except BaseException:
        await undo(review)
        raise


def _prepared(call: Call, kind: Kind, new: Object, old: Object, update: Update) -> Object:
    """The change as far as the client may make it, with its managers.

    They own what the client asked for, not what the server makes of it; of a status update they own what is left of it.
    """
    if update.applied:
        return prepare_update(kind, new, old, subresource=update.subresource)
    if update.subresource == "status":
        return managers.track(call, kind, old, prepare_update(kind, new, old, subresource="status"))
    tracked = managers.track(call, kind, old, apply_defaults(kind, new))
    return prepare_update(kind, tracked, old, subresource=update.subresource)


async def _store_changed(call: Call, kind: Kind, state: Stored, old: Object, new: Object, update: Update) -> Object:
    metadata, name = new["metadata"], new["metadata"]["name"]
    metadata["resourceVersion"] = str(state.revision)
    extra = Extra(fence=fence_of(call))
    given = copy.deepcopy(new) if kind.resource in hooks.HOOKS else new
    await hooks.before_update(call.server, kind, new, old, extra)
    call.warnings.extend(extra.warnings)
    done = is_finished(kind, new)
    if update.dry_run:
        return new
    if not done and is_same(new, old) and not extra.claims and not extra.releases:
        return await _unchanged(call, state, old)
    if kind.registry == EVENTS:
        extra.lease = await call.server.event_leases.current()
    extra.notes = await causes.notes(call, metadata.get("namespace", ""), name, state.revision)
    storage = call.server.storage
    try:
        if done:
            await hooks.before_delete(call.server, kind, new, extra)
            revision = await storage.delete(state.key, state.revision, extra)
        else:
            revision = await storage.update(state.key, to_value(conversion.to_stored(kind, new)), state.revision, extra)
    except Claimed as taken:
        hooks.claim_lost(kind, given, taken)
        raise Changed(state) from None
    except Fenced:
        raise fence_lost(call, kind, name) from None
    metadata["resourceVersion"] = str(revision)
    return new


async def _unchanged(call: Call, state: Stored, old: Object) -> Object:
    """Nothing to write: true only if the store is still at this state."""
    live = await call.server.storage.get(state.key)
    if live is None or live.revision != state.revision:
        raise Changed(live)
    return old


def check_preconditions(kind: Kind, old: Object, expected: int, uid: str) -> None:
    """StatusError 409 unless the object has the revision and the uid that the client insists on."""
    metadata = old["metadata"]
    if uid and uid != metadata.get("uid"):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata.get('uid')}"
        raise conflict(kind.resource, metadata["name"], why)
    if expected and str(expected) != metadata["resourceVersion"]:
        raise conflict(kind.resource, metadata["name"])


def _check_identity(kind: Kind, new: Object, old: Object) -> None:
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


# ---- what all writes share ----


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


_RV = "metadata.resourceVersion"


def fence_of(call: Call) -> Fence | None:
    """The leadership that the write depends on, from its header. StatusError 400: malformed."""
    text = call.headers.get("fluyt-fence", "")
    if not text:
        return None
    key, separator, revision = text.rpartition(";")
    if not separator or not key.startswith("/fluyt/leaders/") or not (revision.isascii() and revision.isdigit()):
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
