"""PUT of an object: replace it."""

from __future__ import annotations

from control.api.copying import copied
from control.api.schema import Object
from control.apiserver.answer import Answer
from control.apiserver.bodies import read_object
from control.apiserver.call import Call
from control.apiserver.conditions import expected_revision
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show
from control.apiserver.updating import Update, update_object


async def update(call: Call) -> Answer:
    """The object as it is stored afterwards. StatusError 404, 409 (a stale resourceVersion), 422."""
    form = form_of(call.headers.get("accept", ""))
    dry_run = call.dry_run
    body = await read_object(call, call.of)

    async def replace(_: Object) -> Object:
        return copied(body)

    change = Update(
        replace, call.info.subresource, expected_revision(call.of, body, call.info.subresource), dry_run=dry_run
    )
    obj = await update_object(call, call.namespace, call.info.name, change)
    return show(call.of, obj, form, include=call.info.parameter("includeObject") or "Metadata")
