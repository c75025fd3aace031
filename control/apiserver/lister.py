"""Lists: which objects, at which revision, from memory where that is as good as the store.

resourceVersion and resourceVersionMatch decide how old an answer may be:

    neither                what was written before the request: memory, once the store has confirmed its revision
    "0"                    anything: memory as it is
    N, NotOlderThan        memory, once it has come to N; 504 when that takes too long
    N, Exact               the state at N: memory if nothing changed since, else the store; 410 when it is compacted
    continue               the state the first page had, likewise

Invariant: all pages of one list show one revision. Source: "Resource versions" in the Kubernetes API concepts.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from dataclasses import dataclass
from typing import Final

import orjson

from control.api.kind import Kind
from control.api.status import StatusError, bad_request
from control.apiserver.cached import Cached, Selection
from control.apiserver.paths import number
from control.apiserver.request import RequestInfo
from control.apiserver.resources import Resources
from control.apiserver.splice import with_revision
from control.apiserver.storage import Stored
from control.apiserver.watch_cache import WatchCache

SLICE_SECONDS: Final = 0.004
_STORE_PAGE: Final = 500
_MATCHES: Final = ("", "Exact", "NotOlderThan")
_EXPIRED: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter."
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a list asks for. revision: -1 for "not older than now", 0 for any; after: the key to continue behind."""

    selection: Selection
    limit: int = 0
    revision: int = -1
    exact: bool = False
    after: bytes = b""


@dataclass(frozen=True, slots=True)
class Listed:
    """The objects, the revision they show, and how to get the rest. remaining: -1 when it is not known."""

    items: list[Cached]
    revision: int
    token: str = ""
    remaining: int = -1


def wish_of(kind: Kind, info: RequestInfo, selection: Selection) -> Wish:
    """The wish that a request's parameters are. StatusError 400, 410."""
    limit, version = number(info, "limit") or 0, info.parameter("resourceVersion")
    match, token = info.parameter("resourceVersionMatch"), info.parameter("continue")
    if match not in _MATCHES:
        raise bad_request(
            f'resourceVersionMatch: Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
        )
    if token:
        if match or version not in ("", "0"):
            raise bad_request("resourceVersion and resourceVersionMatch are forbidden together with continue")
        revision, after = _decode(token)
        return Wish(selection, limit, revision, exact=True, after=kind.registry.encode() + after)
    if match and not version:
        raise bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided")
    revision = parse_revision(version) if version else -1
    if match == "Exact" and revision == 0:
        raise bad_request('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
    exact = match == "Exact" or (not match and limit > 0 and revision > 0)
    return Wish(selection, limit, revision, exact)


def parse_revision(text: str) -> int:
    """A resourceVersion. StatusError 400: it is none of ours."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise bad_request(f"resourceVersion: Invalid value: {text!r}: must be a number")
    return int(text)


async def list_objects(resources: Resources, kind: Kind, wish: Wish) -> Listed:
    """Do it. StatusError 410, 503, 504."""
    cache, feed = await resources.loaded(kind), resources.feed
    if wish.revision < 0:
        await feed.confirm()
    elif wish.revision > 0:
        await feed.reach(wish.revision)
    if wish.revision:
        cache = await resources.loaded(kind)  # the store's watch may have broken meanwhile
    revision = feed.revision_of(cache)
    if wish.exact and cache.changed_at > wish.revision:
        return await _from_store(resources, cache, wish)
    return await _from_cache(cache, wish, wish.revision if wish.exact else revision)


async def _from_cache(cache: WatchCache, wish: Wish, revision: int) -> Listed:
    """From memory. The snapshot is taken before anything is awaited, so it is of one revision."""
    namespace, after = wish.selection.namespace, wish.after
    if wish.selection.simple:
        items = cache.snapshot(namespace, after, wish.limit)
        left = cache.count(namespace, after) - len(items)
        return _listed(cache, items, revision, left > 0, left)
    items, more = await _matching(cache.snapshot(namespace, after), wish)
    return _listed(cache, items, revision, more, -1)


async def _matching(snapshot: list[Cached], wish: Wish) -> tuple[list[Cached], bool]:
    """The matching objects up to the limit, and whether there may be more."""
    items: list[Cached] = []
    started = time.perf_counter()
    for number_seen, cached in enumerate(snapshot):
        if wish.selection.matches(cached):
            if wish.limit and len(items) == wish.limit:
                return items, True
            items.append(cached)
        if number_seen % 16 == 0 and time.perf_counter() - started > SLICE_SECONDS:
            await asyncio.sleep(0)
            started = time.perf_counter()
    return items, False


async def _from_store(resources: Resources, cache: WatchCache, wish: Wish) -> Listed:
    """From the store's history."""
    prefix = cache.prefix
    if wish.selection.namespace:
        prefix += f"{wish.selection.namespace}/".encode()
    items: list[Cached] = []
    after, more = wish.after, True
    while more and not (wish.limit and len(items) > wish.limit):
        page_size = wish.limit + 1 if wish.limit and wish.selection.simple else _STORE_PAGE
        try:
            page = await resources.storage.page(prefix, limit=page_size, revision=wish.revision, after=after)
        except StatusError as problem:
            raise _expired(problem) from None
        found = [_cached(cache, stored) for stored in page.items if stored.problem is None]
        items.extend(cached for cached in found if wish.selection.matches(cached))
        more = page.remaining > 0
        after = page.items[-1].key if page.items else after
        await asyncio.sleep(0)
    if wish.limit and len(items) > wish.limit:
        return _listed(cache, items[: wish.limit], wish.revision, True, -1)
    return _listed(cache, items, wish.revision, False, -1)


def _expired(problem: StatusError) -> StatusError:
    return StatusError(410, "Expired", _EXPIRED) if problem.code == 410 else problem


def _cached(cache: WatchCache, stored: Stored) -> Cached:
    namespace, name = cache.split(stored.key)
    data = with_revision(stored.value, stored.revision)
    return Cached(stored.key, namespace, name, data, stored.revision, cache.paths)


def _listed(cache: WatchCache, items: list[Cached], revision: int, more: bool, left: int) -> Listed:
    if not more:
        return Listed(items, revision)
    return Listed(items, revision, _encode(revision, items[-1].key[len(cache.prefix) :]), left)


def _encode(revision: int, after: bytes) -> str:
    """The continue token: where and at which revision the next page begins."""
    return base64.urlsafe_b64encode(
        orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": after.decode()})
    ).decode()


def _decode(token: str) -> tuple[int, bytes]:
    try:
        found = orjson.loads(base64.b64decode(token.encode() + b"==", altchars=b"-_", validate=False))
        revision, start = found["rv"], found["start"]
        if found["v"] != "meta.k8s.io/v1" or not isinstance(revision, int) or revision <= 0 or "\0" in start:
            raise ValueError
        return revision, start.encode()
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise bad_request("continue key is not valid: it is no token that this server gave") from None
