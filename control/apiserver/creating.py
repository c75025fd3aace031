"""How a new object gets into the store: prepared, admitted, validated, and written in one transaction."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from control.api.copying import copied
from control.api.defaults import apply_defaults
from control.api.kind import Kind
from control.api.prepare import ENTROPY_BYTES, identify, prepare_create
from control.api.schema import Object
from control.api.status import StatusError, already_exists, conflict, generate_name_conflict
from control.api.validate import check_create
from control.apiserver import causes, conversion, hooks, managers
from control.apiserver.call import Call
from control.apiserver.conditions import ATTEMPTS, fence_lost, fence_of, undo
from control.apiserver.denial import denied
from control.apiserver.request import Attributes, Review
from control.apiserver.splice import to_value
from control.apiserver.storage import Changed, Claimed, Extra, Fenced

NAME_ATTEMPTS: Final = 8
# They go by themselves after --event-ttl.
EVENTS: Final = "/registry/events/"


def require_creatable(call: Call, obj: Object, missing: StatusError) -> None:
    """Whether an update that found nothing may create the object instead.

    StatusError: `missing` itself when that is something else, 409 for a body that insists on an object that was there,
    403 for who may only change what is there.
    """
    info = call.info
    if missing.code != 404 or info.subresource or missing.details.get("name") != info.name:
        raise missing
    if obj["metadata"].get("uid"):
        raise conflict(call.of.resource, info.name, "Precondition failed: the object with that uid is gone")
    create = replace(info, verb="create")
    decision = call.server.security.authorizer.authorize(call.user, Attributes.of(create))
    if not decision.allowed:
        raise denied(call.user, create, decision.reason)


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
        # A webhook that moves the object would have it stored where nobody was asked.
        obj = identify(kind, review.object or obj, namespace=call.namespace, name=call.info.name)
        obj = review.object = prepare_create(kind, obj, now=datetime.now(UTC), entropy=os.urandom(ENTROPY_BYTES))
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
        obj = copied(given) if kind.resource in hooks.HOOKS else given
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
