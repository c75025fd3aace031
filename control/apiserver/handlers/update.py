"""PUT of an object: replace it; of some kinds (Kind.put_creates), create it when it is not there."""

from __future__ import annotations

from control.api.copying import copied
from control.api.prepare import identify
from control.api.schema import Object
from control.api.status import StatusError, conflict
from control.apiserver.answer import Answer
from control.apiserver.bodies import read_object
from control.apiserver.call import Call
from control.apiserver.conditions import expected_revision
from control.apiserver.creating import create_object, require_creatable
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show
from control.apiserver.updating import Update, update_object


async def update(call: Call) -> Answer:
    """The object as it is stored afterwards, 201 if it is new. StatusError 404, 409 (a stale resourceVersion), 422."""
    form, include = form_of(call.headers.get("accept", "")), call.info.parameter("includeObject") or "Metadata"
    dry_run = call.dry_run
    body = await read_object(call, call.of)

    async def replace(_: Object) -> Object:
        return copied(body)

    expected = expected_revision(call.of, body, call.info.subresource)
    change = Update(replace, call.info.subresource, expected, dry_run=dry_run)
    try:
        obj = await update_object(call, call.namespace, call.info.name, change)
        return show(call.of, obj, form, include=include)
    except StatusError as problem:
        if not call.of.put_creates:
            raise
        made = identify(call.of, copied(body), namespace=call.namespace, name=call.info.name)
        require_creatable(call, made, problem)
    if expected:
        # A holder whose lease has gone must learn of it.
        raise conflict(call.of.resource, call.info.name)
    obj = await create_object(call, made, dry_run=dry_run)
    return show(call.of, obj, form, code=201, include=include)
