"""How a change of an object gets into the store.

It is made to what memory holds, and again when that is not the newest (attempts.py), unless the client insisted on a
resourceVersion.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from control.api.copying import copied
from control.api.defaults import apply_defaults
from control.api.kind import Kind
from control.api.prepare import identify, is_same, prepare_update
from control.api.schema import Object
from control.api.validate import check_update
from control.apiserver import causes, conversion, hooks, managers
from control.apiserver.attempts import on_present_state
from control.apiserver.call import Call
from control.apiserver.conditions import (
    check_identity,
    check_preconditions,
    fence_lost,
    fence_of,
    is_finished,
    undo,
)
from control.apiserver.creating import EVENTS
from control.apiserver.request import Review
from control.apiserver.splice import parse, to_value
from control.apiserver.storage import Changed, Claimed, Extra, Fenced, Stored

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


async def update_object(call: Call, namespace: str, name: str, update: Update) -> Object:
    """Change an object; the result, with its resourceVersion. A change that is none writes nothing. StatusError."""
    return await on_present_state(call, namespace, name, lambda state: _attempt(call, call.of, state, update))


async def _attempt(call: Call, kind: Kind, state: Stored, update: Update) -> Object:
    """The change on one state. Raises Changed when the store is not at it any more."""
    old = conversion.from_stored(kind, parse(state.value, state.revision))
    name = old["metadata"]["name"]
    check_preconditions(kind, old, update.expected, update.uid)
    new = await update.make(copied(old))
    identify(kind, new, namespace=old["metadata"].get("namespace", ""), name=name)
    check_identity(kind, new, old)
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
            new = review.object = _kept(kind, review.object or new, new, old, update)
        check_update(kind, new, old, update.subresource)
        if admission is not None:
            await admission.validate(review)
        return await _store_changed(call, kind, state, old, new, update)
    except BaseException:
        await undo(review)
        raise


def _kept(kind: Kind, made: Object, asked: Object, old: Object, update: Update) -> Object:
    """What admission made of the change; what a webhook put into its place may change no more than the request may."""
    if made is asked:
        return apply_defaults(kind, made)
    metadata = old["metadata"]
    identify(kind, made, namespace=metadata.get("namespace", ""), name=metadata["name"])
    made = prepare_update(kind, made, old, subresource=update.subresource)
    hooks.prepare_update(kind, made, old)
    return made


def _prepared(call: Call, kind: Kind, new: Object, old: Object, update: Update) -> Object:
    """The change as far as the client may make it, with its managers.

    They own what the client asked for, not what the server makes of it; of an update of one part they own what is left
    of it.
    """
    if update.applied:
        return prepare_update(kind, new, old, subresource=update.subresource)
    if update.subresource in ("status", "ephemeralcontainers"):
        return managers.track(call, kind, old, prepare_update(kind, new, old, subresource=update.subresource))
    tracked = managers.track(call, kind, old, apply_defaults(kind, new))
    return prepare_update(kind, tracked, old, subresource=update.subresource)


async def _store_changed(call: Call, kind: Kind, state: Stored, old: Object, new: Object, update: Update) -> Object:
    metadata, name = new["metadata"], new["metadata"]["name"]
    metadata["resourceVersion"] = str(state.revision)
    extra = Extra(fence=fence_of(call))
    given = copied(new) if kind.resource in hooks.HOOKS else new
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
