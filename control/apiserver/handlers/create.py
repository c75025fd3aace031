"""POST to a collection: a new object."""

from __future__ import annotations

from control.apiserver.answer import Answer
from control.apiserver.bodies import read_object
from control.apiserver.call import Call
from control.apiserver.creating import create_object
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show


async def create(call: Call) -> Answer:
    """The object as it was stored, 201. StatusError 409 AlreadyExists, 422, and what admission says."""
    form = form_of(call.headers.get("accept", ""))
    dry_run = call.dry_run
    body = await read_object(call, call.of)
    obj = await create_object(call, body, dry_run=dry_run)
    return show(call.of, obj, form, code=201, include=call.info.parameter("includeObject") or "Metadata")
