"""GET of one object."""

from __future__ import annotations

from control.api.status import not_found
from control.apiserver.answer import Answer
from control.apiserver.cached import Cached
from control.apiserver.call import Call
from control.apiserver.lister import parse_revision
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show_cached


async def get(call: Call) -> Answer:
    """The object as it was at some moment after the request; with resourceVersion, at least as new as that."""
    form = form_of(call.headers.get("accept", ""))
    cached = await find(call, call.namespace, call.info.name)
    return show_cached(call.of, cached, form, call.info.parameter("includeObject") or "Metadata")


async def find(call: Call, namespace: str, name: str) -> Cached:
    """The object from memory, once that is new enough. StatusError 404, 500 (it cannot be decrypted), 503, 504."""
    resources, version = call.server.resources, call.info.parameter("resourceVersion")
    await resources.loaded(call.of)
    revision = parse_revision(version) if version and call.info.verb == "get" else -1
    if revision < 0:
        await resources.feed.confirm()
    elif revision:
        await resources.feed.reach(revision)
    cache = await resources.loaded(call.of)
    cached = cache.get(namespace, name)
    if cached is None:
        cache.demand_readable(namespace, name)
        raise not_found(call.of.resource, name)
    return cached
