"""PATCH of an object: JSON patch, merge patch, strategic merge patch, server-side apply.

Source: "Patches" in the Kubernetes API concepts; RFC 6902, RFC 7386.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from control.api.copying import copied
from control.api.decode import STRICT
from control.api.kind import Kind
from control.api.patches import apply as server_side
from control.api.patches import json_patch, merge, strategic
from control.api.schema import Json, Object
from control.api.status import StatusError, bad_request, conflict, unsupported_media_type
from control.apiserver import managers
from control.apiserver.answer import Answer
from control.apiserver.bodies import checked, parse_patch
from control.apiserver.call import Call
from control.apiserver.creating import create_object, require_creatable
from control.apiserver.negotiate import form_of
from control.apiserver.paths import flag
from control.apiserver.rendering import show
from control.apiserver.updating import Make, Update, update_object

JSON_PATCH: Final = "application/json-patch+json"
MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = server_side.CONTENT_TYPE
TYPES: Final = (JSON_PATCH, MERGE, STRATEGIC, APPLY)

Patched = Callable[[Object], Object]


async def patch(call: Call) -> Answer:
    """The object as it is stored afterwards; server-side apply creates what is not there. StatusError 404, 409, 422."""
    form = form_of(call.headers.get("accept", ""))
    dry_run, include = call.dry_run, call.info.parameter("includeObject") or "Metadata"
    value = await read_patch(call)
    if call.content_type == APPLY:
        return await _apply(call, value, dry_run)
    change = patcher(call.content_type, call.of, value)
    update = Update(_making(call, change), call.info.subresource, dry_run=dry_run)
    return show(call.of, await update_object(call, call.namespace, call.info.name, update), form, include=include)


async def read_patch(call: Call) -> Json:
    """The patch itself. StatusError 400, 415, 422."""
    if call.content_type not in TYPES:
        raise unsupported_media_type(TYPES)
    if call.content_type != APPLY and flag(call.info.query, "force"):
        raise bad_request("force is forbidden for patches that are no server-side apply")
    return await parse_patch(call, yaml=call.content_type == APPLY)


def patcher(content_type: str, kind: Kind, value: Json) -> Patched:
    """What the patch makes of an object (it may alter what it is given)."""
    if content_type == JSON_PATCH:
        return lambda obj: _object(json_patch.apply(obj, value))
    if content_type == MERGE:
        return lambda obj: merge.apply(obj, value)
    of = None if kind.custom else kind.object_type
    return lambda obj: strategic.apply(obj, value, of)


def _object(value: Json) -> Object:
    if not isinstance(value, dict):
        raise StatusError(422, "Invalid", "the patch leaves no object")
    return value


def _making(call: Call, change: Patched) -> Make:
    async def make(old: Object) -> Object:
        revision, name = old["metadata"]["resourceVersion"], old["metadata"]["name"]
        new = checked(call, call.of, change(old))
        given = new.get("metadata", {}).get("resourceVersion")
        if given not in (None, "", revision):
            raise conflict(call.of.resource, name)
        return new

    return make


async def _apply(call: Call, value: Json, dry_run: bool) -> Answer:
    """Server-side apply: an update, or a create when there is nothing yet."""
    form, include = form_of(call.headers.get("accept", "")), call.info.parameter("includeObject") or "Metadata"
    config = checked(call, call.of, value, validation=STRICT)
    _check_name(call, config)
    write = managers.write_of(
        call, call.of, subresource=call.info.subresource, force=flag(call.info.query, "force"), applying=True
    )

    async def make(old: Object) -> Object:
        expected = config["metadata"].get("resourceVersion")
        if expected and expected != old["metadata"]["resourceVersion"]:
            raise conflict(call.of.resource, old["metadata"]["name"])
        return server_side.apply(old, _without_identity(config), write)

    update = Update(make, call.info.subresource, applied=True, dry_run=dry_run)
    try:
        obj = await update_object(call, call.namespace, call.info.name, update)
        return show(call.of, obj, form, include=include)
    except StatusError as problem:
        require_creatable(call, config, problem)
    made = server_side.apply(None, copied(config), write)
    obj = await create_object(call, made, dry_run=dry_run, applied=True)
    return show(call.of, obj, form, code=201, include=include)


def _check_name(call: Call, config: Object) -> None:
    metadata = config.setdefault("metadata", {})
    if metadata.setdefault("name", call.info.name) != call.info.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.info.name})"
        )
    if call.of.namespaced:
        metadata.setdefault("namespace", call.namespace)


def _without_identity(config: Object) -> Object:
    metadata = {key: value for key, value in config["metadata"].items() if key not in ("resourceVersion", "uid")}
    return {**copied(config), "metadata": metadata}
