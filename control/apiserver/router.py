"""From what a request is about to the handler that serves it. Handlers are imported when they are first needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import Final

from control.api.kind import Kind
from control.api.status import method_not_allowed, no_such_path
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.resources import Resources

Handler = Callable[[Call], Awaitable[Answer]]

# Verbs on objects themselves.
VERBS: Final = {
    "get": "get:get",
    "list": "list:list_",
    "watch": "watch:watch",
    "create": "create:create",
    "update": "update:update",
    "patch": "patch:patch",
    "delete": "delete:delete",
    "deletecollection": "deletecollection:deletecollection",
}

_NAMED: Final = frozenset({"get", "update", "patch", "delete"})


class Router:
    """Finds kinds in the catalogue as it is now."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        # What writes the page of /metrics; set once the server is put together.
        self.figures: Callable[[], str] = str

    async def dispatch(self, call: Call) -> Answer:
        """Serve the request. StatusError 404 and 405 for what is not served."""
        info = call.info
        if not info.is_resource:
            return await handler("nonresource:serve")(call)
        kind = self.resources.catalogue.find(info.group, info.version, info.resource)
        if kind is None:
            # It may have been defined a moment ago, through another server.
            await self.resources.feed.confirm()
            kind = self.resources.catalogue.find(info.group, info.version, info.resource)
        if kind is None:
            raise no_such_path()
        call.kind = kind
        if kind.deprecated:
            call.warnings.append(kind.deprecated)
        _check_scope(call, kind)
        if info.subresource:
            return await handler("subresources:serve")(call)
        place = VERBS.get(info.verb)
        if info.verb in ("list", "watch"):
            # Their name is what a field selector asks for.
            return await handler(VERBS[info.verb] if kind.stored else "answered:serve")(call)
        if place is None or info.verb not in kind.verbs or bool(info.name) != (info.verb in _NAMED):
            raise method_not_allowed(kind.resource, info.verb)
        if not kind.stored:
            return await handler("answered:serve")(call)
        return await handler(place)(call)


def _check_scope(call: Call, kind: Kind) -> None:
    """Refuse paths whose scope does not fit the kind's: a namespace too many or too few."""
    info = call.info
    if not kind.namespaced:
        # A namespace's own path names it as the namespace, too; any other was asked for with rights in another place.
        if info.namespace and (kind.plural != "namespaces" or info.name != info.namespace):
            raise no_such_path()
    elif not info.namespace:
        if info.verb in ("create", "deletecollection") and not info.name:
            raise method_not_allowed()
        if info.name and info.verb not in ("list", "watch"):
            raise no_such_path()


@cache
def handler(place: str) -> Handler:
    """A handler by "module:function" within control.apiserver.handlers."""
    module, _, name = place.partition(":")
    found: Handler = getattr(import_module(f"control.apiserver.handlers.{module}"), name)
    return found


def preload() -> None:
    """Import the handlers that clients ask for first, so that nobody's request waits for it. For a thread."""
    for place in VERBS.values():
        handler(place)
    for module in ("nonresource", "subresources", "discovery", "openapi", "answered"):
        import_module(f"control.apiserver.handlers.{module}")
