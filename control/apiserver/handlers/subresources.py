"""Subresources: which handler serves which, for the kinds that have them."""

from __future__ import annotations

from typing import Final

from control.api.kind import SUBRESOURCES
from control.api.status import method_not_allowed, no_such_path
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.router import VERBS, handler

_OBJECT: Final = {verb: VERBS[verb] for verb in ("get", "update", "patch")}
# subresource → verb → handler.
_HANDLERS: Final = {
    "status": _OBJECT,
    "ephemeralcontainers": _OBJECT,
    "resize": _OBJECT,
    "approval": _OBJECT,
    "finalize": {"update": VERBS["update"]},
    "scale": {"get": "scale:get", "update": "scale:update", "patch": "scale:patch"},
    "binding": {"create": "binding:create"},
    "eviction": {"create": "eviction:create"},
    "token": {"create": "token:create"},
    "log": {"get": "log:get"},
    "exec": {"get": "connect:stream", "create": "connect:stream"},
    "attach": {"get": "connect:stream", "create": "connect:stream"},
    "portforward": {"get": "connect:stream", "create": "connect:stream"},
    "proxy": dict.fromkeys(("get", "create", "update", "patch", "delete"), "proxy:proxy"),
}


async def serve(call: Call) -> Answer:
    """StatusError 404 for a subresource that the kind does not have, 405 for a verb that it does not have."""
    name = call.info.subresource
    if name not in call.of.subresources or not call.info.name:
        raise no_such_path()
    if call.info.rest and name != "proxy":
        raise no_such_path()
    place = _HANDLERS[name].get(call.info.verb)
    if place is None or name not in SUBRESOURCES:
        raise method_not_allowed(call.of.resource, call.info.verb)
    return await handler(place)(call)
