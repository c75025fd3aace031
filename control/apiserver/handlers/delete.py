"""DELETE of one object."""

from __future__ import annotations

from typing import Final

from control.api.schema import Object
from control.api.status import success
from control.apiserver.answer import Answer, json_answer
from control.apiserver.bodies import read_options
from control.apiserver.call import Call
from control.apiserver.deletion import delete_object, wish_of
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show
from control.apiserver.unsafe_deletion import delete_unreadable, is_unsafe

# Kinds whose deletion is answered with the object even when it is gone at once.
_SHOWN: Final = frozenset(
    {"pods", "podtemplates", "services", "serviceaccounts", "resourcequotas", "persistentvolumes"}
    | {"persistentvolumeclaims"}
)


async def delete(call: Call) -> Answer:
    """A Status when it is gone, the object while something keeps it. StatusError 404, 409."""
    form = form_of(call.headers.get("accept", ""))
    options = await read_options(call, "DeleteOptions")
    if is_unsafe(call, options) and await delete_unreadable(call, call.namespace, call.info.name):
        return json_answer(success(details={"name": call.info.name, "group": call.of.group, "kind": call.of.plural}))
    wish = wish_of(call, options)
    obj, gone = await delete_object(call, call.namespace, call.info.name, wish)
    if gone and call.of.resource not in _SHOWN:
        return json_answer(deleted(call, obj))
    return show(call.of, obj, form, include=call.info.parameter("includeObject") or "Metadata")


def deleted(call: Call, obj: Object) -> Object:
    """The Status that says what was deleted."""
    kind, metadata = call.of, obj["metadata"]
    details = {"name": metadata["name"], "group": kind.group, "kind": kind.plural, "uid": metadata.get("uid", "")}
    return success(details={key: value for key, value in details.items() if value})
