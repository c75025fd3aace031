"""DELETE of a collection: every object that the selectors select, each on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.answer import Answer, json_answer
from control.apiserver.bodies import read_options
from control.apiserver.cached import Cached
from control.apiserver.call import Call
from control.apiserver.deletion import Wish, delete_object, wish_of
from control.apiserver.lister import Listed, list_objects
from control.apiserver.lister import wish_of as list_wish_of
from control.apiserver.rendering import list_metadata
from control.apiserver.selection import selection_of
from control.apiserver.unsafe_deletion import refuse_unsafe

_AT_ONCE: Final = 16


async def deletecollection(call: Call) -> Answer:
    """The list of what was deleted. Objects that others delete meanwhile are passed over."""
    options = await read_options(call, "DeleteOptions")
    refuse_unsafe(options)
    wish = wish_of(call, options)
    listed = await list_objects(
        call.server.resources, call.of, list_wish_of(call.of, call.info, selection_of(call.of, call.info))
    )
    for problem in call.server.resources.cache_of(call.of).unreadable_in(call.namespace):
        # Or a namespace would end while something is in it.
        raise problem
    names = iter(listed.items)
    found: list[Object] = []
    workers = [_worker(call, names, wish, found) for _ in range(min(_AT_ONCE, len(listed.items)))]
    for result in await asyncio.gather(*workers, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
    return json_answer(_list(call, listed, found))


async def _worker(call: Call, names: Iterator[Cached], wish: Wish, found: list[Object]) -> None:
    for cached in names:
        obj = await _delete(call, cached, wish)
        if obj is not None:
            found.append(obj)


async def _delete(call: Call, cached: Cached, wish: Wish) -> Object | None:
    """Each object is its own request to admission and authorization's eyes: it carries the object's name."""
    one = replace(call, info=replace(call.info, name=cached.name, namespace=cached.namespace or call.info.namespace))
    try:
        return (await delete_object(one, cached.namespace, cached.name, wish))[0]
    except StatusError as problem:
        if problem.code == 404:
            return None
        raise


def _list(call: Call, listed: Listed, found: list[Object]) -> Object:
    kind = call.of
    return {
        "kind": kind.list_kind,
        "apiVersion": kind.api_version,
        "metadata": list_metadata(listed),
        "items": found,
    }
