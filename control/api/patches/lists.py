"""Lists in strategic merge patches: merged as sets or by a key, and the order of what comes out.

Order: elements that the order list names stand as there (without $setElementOrder the patch is the order list);
elements that only the server has keep their order and go before the first named element that followed them there.

Every function is linear in its lists: they come from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final

from control.api import status
from control.api.patches.values import token
from control.api.schema import Field

Json = Any
Map = dict[str, Json]

DIRECTIVE: Final = "$patch"


def union(current: list[Json], more: list[Json]) -> list[Json]:
    """All values of both, each once."""
    return list({token(value): value for value in [*more, *current]}.values()) if more else list(current)


def merge_by_key(current: list[Json], patch: list[Map], field: Field, merge: Callable[[Map, Map], Map]) -> list[Json]:
    """Each element of the patch merged into the one with its key, or added at the end."""
    result = list(current)
    places = {
        identity(e, field): n for n, e in reversed(list(enumerate(result))) if field.merge_key in element(e, field)
    }
    for new in patch:
        key = identity(new, field)
        if key in places:
            result[places[key]] = merge(result[places[key]], new)
        else:
            places[key] = len(result)
            result.append(merge({}, new))
    return result


def ordered(merged: list[Json], order: list[Hashable], server: list[Json], field: Field) -> list[Json]:
    """The elements of `merged` in their final order. order: identities; server: the list as it was."""
    ranks = {key: rank for rank, key in reversed(list(enumerate(order)))}
    before = {_soft(e, field): place for place, e in enumerate(server)}
    named = deque(sorted((e for e in merged if _soft(e, field) in ranks), key=lambda e: ranks[_soft(e, field)]))
    rest = deque(e for e in merged if _soft(e, field) not in ranks)
    result: list[Json] = []
    while rest and named:
        own, other = before.get(_soft(rest[0], field)), before.get(_soft(named[0], field))
        rest_first = own is not None and other is not None and own < other
        result.append((rest if rest_first else named).popleft())
    return [*result, *rest, *named]


def order_of(order: Json, patch: list[Json], field: Field) -> list[Hashable]:
    """The identities a $setElementOrder list names. StatusError 400: it contradicts the patch's own list."""
    what = f"$setElementOrder/{field.name}"
    if not isinstance(order, list):
        raise status.bad_request(f"invalid patch format of setElementOrder list: {what} must be a list")
    wanted = [identity(entry, field) for entry in order]
    ranks = {key: rank for rank, key in enumerate(wanted)}
    named = [ranks.get(key, -1) for key in identities(patch, field)] if wanted else []
    if -1 in named or named != sorted(named):
        raise status.bad_request(f"the order in the patch list {field.name} does not match {what}")
    return wanted


def identities(patch: list[Json], field: Field) -> list[Hashable]:
    """The identities of a patch list's elements, without those that are directives."""
    return [identity(e, field) for e in patch if not (isinstance(e, dict) and DIRECTIVE in e)]


def identity(value: Json, field: Field) -> Hashable:
    """What makes an element itself: its merge key, or the value. StatusError 422: it has no merge key."""
    if not field.merge_key:
        return token(value)
    if field.merge_key not in element(value, field):
        raise status.unprocessable(f"an element of {field.name} does not contain declared merge key: {field.merge_key}")
    return token(value[field.merge_key])


def element(value: Json, field: Field) -> Map:
    """An element of a list of objects. StatusError 400: it is none."""
    if not isinstance(value, dict):
        raise status.bad_request(f"{field.name}: expected a list of objects, found {type(value).__name__}")
    return value


def _soft(value: Json, field: Field) -> Hashable:
    """Like identity, for what is stored: an element without its key is only itself."""
    if not field.merge_key:
        return token(value)
    if not isinstance(value, dict) or field.merge_key not in value:
        return (id(value),)
    return token(value[field.merge_key])
