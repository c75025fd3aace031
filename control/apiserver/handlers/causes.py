"""GET /fluyt/causes/<resource>/<namespace or ->/<name>: why an object is as it is."""

from __future__ import annotations

from control.api.status import no_such_path
from control.apiserver import causes
from control.apiserver.answer import Answer, json_answer
from control.apiserver.call import Call
from control.apiserver.denial import denied
from control.apiserver.request import Attributes, RequestInfo


async def serve(call: Call) -> Answer:
    """The causes, oldest first. StatusError 403 for who may not get the object itself, 404 for an unknown resource."""
    parts = call.info.path.strip("/").split("/")
    if len(parts) != 5 or parts[1] != "causes":
        raise no_such_path()
    _, _, resource, namespace, name = parts
    kind = call.server.resources.catalogue.by_resource(resource)
    if kind is None:
        raise no_such_path()
    namespace = "" if namespace == "-" else namespace
    info = RequestInfo("get", call.info.path, "GET", kind.group, kind.version, kind.plural, "", namespace, name)
    decision = call.server.security.authorizer.authorize(call.user, Attributes.of(info))
    if not decision.allowed:
        raise denied(call.user, info, decision.reason)
    return json_answer(await causes.read(call.server.storage, resource, namespace, name))
