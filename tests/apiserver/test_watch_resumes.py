"""Watches that resume: what they missed reaches them in pieces, however much it is, or they hear that it is too old."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from harness.api_site import ADMIN, Api, Site, config_map

from control.api.fieldselectors import FieldSelector
from control.api.selectors import EVERYTHING, parse_label_selector
from control.api.status import StatusError
from control.apiserver import watch_cache
from control.apiserver.cached import Selection
from control.apiserver.splice import to_value
from control.apiserver.storage import Stored
from control.apiserver.watch_cache import WatchCache
from control.apiserver.watcher import BUFFER_BYTES, Plain, Watcher
from control.client.client import Client
from control.client.config import Config

PREFIX = b"/registry/configmaps/"
ALL = Selection("", EVERYTHING, FieldSelector())
SIZE = 8000


def put(cache: WatchCache, revision: int, name: str = "a", size: int = SIZE) -> None:
    value = to_value(config_map(name, x="y" * size))
    key = PREFIX + f"ns/{name}".encode()
    cache.apply(key, Stored(key, value, revision), revision)


def cache_with_changes(count: int, size: int = SIZE) -> WatchCache:
    """Loaded at revision 10, then changed that often."""
    cache = WatchCache(PREFIX, True, ())
    cache.reload([], 10)
    for revision in range(11, 11 + count):
        put(cache, revision, size=size)
    return cache


def revisions(data: bytes) -> list[int]:
    return [int(json.loads(line)["object"]["metadata"]["resourceVersion"]) for line in data.splitlines()]


def pieces(cache: WatchCache, watcher: Watcher, between: Callable[[], None] = lambda: None) -> list[bytes]:
    """What it takes until it is told of changes as they happen. between: called after each piece but the last."""
    found = []
    while cache.watch(watcher) is None:
        found.append(watcher.take())
        between()
    return [*found, watcher.take()]


def test_all_that_is_remembered_reaches_who_resumes() -> None:
    count = BUFFER_BYTES // SIZE + 100
    cache = cache_with_changes(count)
    watcher = Watcher(ALL, Plain(), 10)
    found = pieces(cache, watcher)
    assert revisions(b"".join(found)) == list(range(11, 11 + count))
    assert watcher.cut == ""
    assert max(map(len, found)) < watch_cache.PIECE_BYTES + 2 * SIZE, "memory holds one piece of it at a time"
    put(cache, 11 + count)
    assert revisions(watcher.take()) == [11 + count]


def test_who_was_cut_for_being_slow_resumes_from_where_it_was() -> None:
    cache = cache_with_changes(1)
    slow = Watcher(ALL, Plain(), 10)
    cache.watch(slow)
    seen = revisions(slow.take())[-1]
    last = seen
    while not slow.overflown:
        last += 1
        put(cache, last)
    assert revisions(b"".join(pieces(cache, Watcher(ALL, Plain(), seen)))) == list(range(seen + 1, last + 1))


def test_what_happens_between_the_pieces_is_told_after_them() -> None:
    cache = cache_with_changes(100)
    later = iter(range(111, 131))

    def change() -> None:
        revision = next(later, 0)
        if revision:
            put(cache, revision)

    watcher = Watcher(ALL, Plain(), 10)
    assert revisions(b"".join(pieces(cache, watcher, change))) == list(range(11, cache.changed_at + 1))
    assert cache.changed_at > 111


def test_a_piece_holds_whole_revisions() -> None:
    cache = cache_with_changes(0)
    for revision in (11, 12):
        for name in "abcdefghijklmnopqrstuvwxyz":
            put(cache, revision, name)
    found = [revisions(piece) for piece in pieces(cache, Watcher(ALL, Plain(), 10))]
    assert found == [[11] * 26, [12] * 26]


def test_the_rest_of_a_revision_is_told_to_who_came_in_between() -> None:
    cache = cache_with_changes(0)
    put(cache, 11, "a")
    watcher = Watcher(ALL, Plain(), 10)
    cache.watch(watcher)
    put(cache, 11, "b")
    assert revisions(watcher.take()) == [11, 11]


def test_changes_of_no_interest_are_passed_over_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_cache, "PIECE_CHANGES", 10)
    cache = cache_with_changes(35, size=1)
    watcher = Watcher(Selection("", parse_label_selector("app=web"), FieldSelector()), Plain(), 10)
    assert pieces(cache, watcher) == [b""] * 4


def test_what_is_forgotten_between_the_pieces_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_with_changes(200)
    watcher = Watcher(ALL, Plain(), 10)
    assert cache.watch(watcher) is None
    reached = revisions(watcher.take())[-1]
    monkeypatch.setattr(watch_cache, "RECENT_CHANGES", 50)
    put(cache, 211)
    with pytest.raises(StatusError, match=f"too old resource version: {reached}") as refused:
        cache.watch(watcher)
    assert (refused.value.code, refused.value.reason) == (410, "Expired")


def large_changes(api: Api, namespace: str) -> tuple[str, list[str]]:
    """More than a watcher may have unsent: the revision before them, and their names."""
    start = api.get(f"{namespace}/configmaps")["metadata"]["resourceVersion"]
    names = [f"large-{number}" for number in range(BUFFER_BYTES // 400_000 + 2)]
    for name in names:
        api.create(f"{namespace}/configmaps", config_map(name, x="y" * 400_000))
    return start, names


def test_over_http(api: Api, namespace: str) -> None:
    start, names = large_changes(api, namespace)
    with api.watch(f"{namespace}/configmaps", resourceVersion=start) as events:
        assert [next(events)["object"]["metadata"]["name"] for _ in names] == names
        api.create(f"{namespace}/configmaps", config_map("live"))
        assert next(events)["object"]["metadata"]["name"] == "live"


def test_a_slow_reader_gets_all_of_it(api: Api, namespace: str) -> None:
    start, names = large_changes(api, namespace)
    found = []
    with api.watch(f"{namespace}/configmaps", resourceVersion=start) as events:
        for number, name in enumerate(names):
            api.create(f"{namespace}/configmaps", config_map(f"small-{number}"))
            found.append(next(events)["object"]["metadata"]["name"])
            assert found[-1] == name
        assert [next(events)["object"]["metadata"]["name"] for _ in names] == [f"small-{n}" for n in range(len(names))]


def test_pieces_without_anything_to_tell(api: Api, namespace: str) -> None:
    path = f"{namespace}/configmaps"
    start = api.create(path, config_map("a"))["metadata"]["resourceVersion"]
    for number in range(watch_cache.PIECE_CHANGES + 5):
        api.patch(f"{path}/a", {"data": {"k": str(number)}})
    api.create(path, config_map("b"))
    with api.watch(path, resourceVersion=start, fieldSelector="metadata.name=b") as events:
        assert next(events)["object"]["metadata"]["name"] == "b"


def test_our_client_goes_on(site: Site, api: Api, namespace: str) -> None:
    start, names = large_changes(api, namespace)
    authority = (site.folder / "pki" / "ca.crt").read_bytes()
    config = Config(servers=(f"https://127.0.0.1:{api.port}",), ca=authority, token=ADMIN)

    async def body() -> list[Any]:
        found: list[Any] = []
        async with Client(config) as client:
            async for event in client.watch("configmaps", namespace.rpartition("/")[2], resource_version=start):
                found.append(event.object["metadata"]["name"])
                if len(found) == len(names):
                    break
        return found

    assert asyncio.run(asyncio.wait_for(body(), 30)) == names
