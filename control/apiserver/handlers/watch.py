"""GET of a collection with watch: its changes, one JSON object a line, until the client leaves or its time is over.

Source: "Efficient detection of changes", "Watch bookmarks" and "Streaming lists" in the Kubernetes API concepts.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import orjson

from control.api.kind import Kind
from control.api.status import StatusError, bad_request
from control.apiserver.answer import Answer
from control.apiserver.cached import Cached, Change, Selection, event_line
from control.apiserver.call import Call
from control.apiserver.lister import SLICE_SECONDS, Wish, list_objects, parse_revision
from control.apiserver.negotiate import form_of
from control.apiserver.paths import flag, number
from control.apiserver.rendering import PIECE, renderer_of
from control.apiserver.selection import selection_of
from control.apiserver.watch_cache import WatchCache
from control.apiserver.watcher import Renderer, Watcher

BOOKMARK_SECONDS: Final = 60.0
# Without timeoutSeconds a watch lives for a while drawn from this range, so that not all come back at once.
_LIFE: Final = (1800.0, 3600.0)
_INITIAL_END: Final = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a watch asks for. initial: what exists comes first, as ADDED; marked: a bookmark says where that ends."""

    kind: Kind
    selection: Selection
    renderer: Renderer
    revision: int
    initial: bool
    marked: bool
    bookmarks: bool
    seconds: float


async def watch(call: Call) -> Answer:
    """Begin it: refusals of the parameters are plain answers, what happens later is told in the stream."""
    request = _request_of(call)
    if call.info.method == "HEAD":
        return Answer()
    cache = await call.server.resources.loaded(call.of)
    stream = _stream(call, request, cache)
    return Answer(stream=stream, headers=[(b"x-accel-buffering", b"no")])


def _request_of(call: Call) -> Request:
    info, kind = call.info, call.of
    form = form_of(call.headers.get("accept", ""), watch=True)
    version, match = info.parameter("resourceVersion"), info.parameter("resourceVersionMatch")
    streaming = flag(info.query, "sendInitialEvents") if "sendInitialEvents" in info.query else None
    bookmarks = flag(info.query, "allowWatchBookmarks")
    _check(streaming, match, bookmarks)
    revision = parse_revision(version) if version else -1
    if streaming is False and revision <= 0:
        revision = 0 if revision == 0 else -1
    initial = streaming if streaming is not None else revision <= 0
    seconds = number(info, "timeoutSeconds")
    return Request(
        kind,
        selection_of(kind, info),
        renderer_of(kind, form, info.parameter("includeObject") or "Metadata"),
        revision,
        initial,
        bool(streaming and bookmarks),
        bookmarks,
        float(seconds) if seconds else random.uniform(*_LIFE),
    )


def _check(streaming: bool | None, match: str, bookmarks: bool) -> None:
    if streaming is None and match:
        raise bad_request("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    if streaming is not None and match != "NotOlderThan":
        raise bad_request('sendInitialEvents requires setting resourceVersionMatch to "NotOlderThan"')


async def _stream(call: Call, request: Request, cache: WatchCache) -> AsyncIterator[bytes]:
    deadline = time.monotonic() + request.seconds
    gone = asyncio.ensure_future(_disconnected(call))
    remove = None
    try:
        since = request.revision
        if request.initial:
            listed = await list_objects(call.server.resources, request.kind, _initial_wish(request))
            async for piece in _added(request, listed.items):
                yield piece
            since = listed.revision
            if request.marked:
                yield _bookmark(request.kind, since, _INITIAL_END)
        elif since <= 0:
            since = call.server.feed.revision_of(cache)
        watcher = Watcher(request.selection, request.renderer, since)
        gone.add_done_callback(lambda _: watcher.end("the client went away"))
        cache = await call.server.resources.loaded(request.kind)
        while (remove := cache.watch(watcher)) is None:
            # A piece waits until the connection has room for it, and no other is made meanwhile.
            if watcher.waiting:
                yield watcher.take()
            await asyncio.sleep(0)
            if watcher.cut or time.monotonic() >= deadline:
                return
            # The resource may be dropped meanwhile, and come back: the old cache would tell nothing.
            cache = await call.server.resources.loaded(request.kind)
        async for piece in _changes(call, request, cache, watcher, deadline):
            yield piece
    except StatusError as problem:
        yield event_line("ERROR", orjson.dumps(problem.to_status()))
    finally:
        gone.cancel()
        if remove is not None:
            remove()


def _initial_wish(request: Request) -> Wish:
    return Wish(request.selection, revision=request.revision)


async def _disconnected(call: Call) -> None:
    """Until the client has closed the connection."""
    while (await call.receive())["type"] != "http.disconnect":
        pass


async def _added(request: Request, items: list[Cached]) -> AsyncIterator[bytes]:
    """What exists, as ADDED events, in pieces."""
    parts: list[bytes] = []
    size, started = 0, time.perf_counter()
    for cached in items:
        line = request.renderer.render("ADDED", Change(None, cached, cached.revision))
        parts.append(line)
        size += len(line)
        if size >= PIECE or time.perf_counter() - started > SLICE_SECONDS:
            yield b"".join(parts)
            parts, size = [], 0
            await asyncio.sleep(0)
            started = time.perf_counter()
    if parts:
        yield b"".join(parts)


async def _changes(
    call: Call, request: Request, cache: WatchCache, watcher: Watcher, deadline: float
) -> AsyncIterator[bytes]:
    """Changes go to the connection by themselves; here are bookmarks, and what is left at the end."""
    feed = call.server.feed
    marked = watcher.since
    watcher.attach(call.scope["fluyt.sink"]())
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or await watcher.ended(min(left, BOOKMARK_SECONDS)):
                break
            watcher.flush()
            if request.bookmarks and cache.loaded and feed.revision > marked and not watcher.waiting:
                marked = feed.revision
                yield _bookmark(request.kind, marked)
    finally:
        watcher.detach()
    if watcher.overflown:
        call.server.metrics.cut_watches += 1
    elif watcher.waiting:
        yield watcher.take()


def _bookmark(kind: Kind, revision: int, annotations: dict[str, str] | None = None) -> bytes:
    metadata: dict[str, object] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    return event_line(
        "BOOKMARK", orjson.dumps({"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata})
    )
