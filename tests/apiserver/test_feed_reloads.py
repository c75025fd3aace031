"""The feed when the store's watch breaks: which reads count, reloads that fail, what is told in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from test_feed import FakeStore, FakeWatch, key, names, started, value

from control.api.fieldselectors import FieldSelector
from control.api.schema import Object
from control.api.selectors import EVERYTHING
from control.api.status import StatusError
from control.apiserver.cached import Selection
from control.apiserver.feed import Feed
from control.apiserver.watch_cache import WatchCache
from control.apiserver.watcher import Plain, Watcher
from kvstore.client import Compacted, Unreachable
from kvstore.pb import etcd_pb2 as pb

CONFIG_MAPS = b"/registry/configmaps/"
EVERYTHING_THERE = Selection("", EVERYTHING, FieldSelector())
SEED = int(os.environ.get("FLUYT_SEED", "0"))


class TroubledStore(FakeStore):
    """`failing`: this many reads of a resource are refused first; `gate`: answers wait for it on their way."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = self.refused = self.watch_refusals = 0
        self.gate: asyncio.Event | None = None

    def watch(self, *_: Any, **__: Any) -> FakeWatch:
        found = super().watch()
        if self.watch_refusals:
            self.watch_refusals -= 1
            self.watches.pop()
            found.start = refuse  # type: ignore[method-assign]
        return found

    async def range(self, key: bytes, range_end: bytes | None = None, **options: Any) -> pb.RangeResponse:
        if range_end is not None and self.failing:
            self.failing, self.refused = self.failing - 1, self.refused + 1
            await refuse()
        answer = await super().range(key, range_end, **options)
        if range_end is not None and self.gate is not None:
            await self.gate.wait()
        return answer

    def break_watch(self) -> None:
        self.watches[-1].queue.put_nowait(Compacted.at(self.revision))


async def refuse() -> Any:
    raise Unreachable({"m1": "connection failed"})


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


async def broken(store: TroubledStore, feed: Feed) -> None:
    """The watch of the store has ended and is not open again yet."""
    store.break_watch()
    await until(lambda: not feed.connected)


def watcher(feed: Feed, cache: WatchCache) -> Watcher:
    found = Watcher(EVERYTHING_THERE, Plain(), feed.revision_of(cache))
    cache.watch(found)
    return found


Scene = Callable[[TroubledStore, Feed, WatchCache], Awaitable[None]]


def run(scene: Scene) -> None:
    """A feed with one cache, in which there is "old"; and nothing of it is left running."""

    async def whole() -> None:
        store = TroubledStore()
        store.write(key("old"), value("old"))
        feed, cache = await started(store)
        try:
            await scene(store, feed, cache)
        finally:
            await feed.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


# ---- a load counts only if its read began after the present watch was open ----


def test_a_read_from_before_the_watch_was_open_again_does_not_count() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        gate = store.gate = asyncio.Event()
        await broken(store, feed)
        request = asyncio.create_task(feed.load(cache))
        await asyncio.sleep(0.005)
        store.write(key("between"), value("between"), seen=False)
        await until(lambda: feed.connected)
        store.gate = None
        gate.set()
        await request
        assert names(cache) == ["between", "old"]
        assert feed.revision_of(cache) == store.revision

    run(scene)


def test_a_load_while_the_watch_is_down_is_as_new_as_it_says() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        await broken(store, feed)
        request = asyncio.create_task(feed.load(cache))
        await asyncio.sleep(0.005)
        store.write(key("between"), value("between"), seen=False)
        await until(lambda: feed.connected or cache.loaded)
        await until(lambda: feed.connected)
        assert not cache.loaded or names(cache) == ["between", "old"]
        await request
        assert names(cache) == ["between", "old"]

    run(scene)


def test_what_is_shown_while_the_watch_is_down_is_not_called_newer_than_it_is() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        shown = feed.revision_of(cache)
        store.gate = asyncio.Event()
        await broken(store, feed)
        store.write(key("between"), value("between"), seen=False)
        await until(lambda: feed.connected)
        assert (names(cache), feed.revision_of(cache)) == (["old"], shown)

    run(scene)


def test_a_read_that_the_outage_swallowed_does_not_keep_the_reload_waiting() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        fresh = WatchCache(b"/registry/secrets/", True, ())
        store.gate = asyncio.Event()
        request = asyncio.create_task(feed.load(fresh))
        await asyncio.sleep(0.005)
        await broken(store, feed)
        store.gate = None
        await until(lambda: cache.loaded and fresh.loaded)
        await request

    run(scene)


def test_who_waits_for_a_load_hears_that_the_store_cannot_be_watched() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        store.watch_refusals = 1
        await broken(store, feed)
        with pytest.raises(StatusError) as refusal:
            await feed.load(cache)
        assert refusal.value.code == 503
        await feed.load(cache)
        assert names(cache) == ["old"]

    run(scene)


def test_a_watch_that_breaks_before_the_caller_has_its_turn_makes_it_wait_again() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        store.write(key("old"), None, seen=False)
        await broken(store, feed)
        # While it is loaded the watch breaks once more.
        cache.subscribe(lambda old, new: store.break_watch() if new is None else None)
        await feed.load(cache)
        assert (cache.loaded, len(store.watches)) == (True, 3)

    run(scene)


# ---- a reload is tried until it succeeds ----


def test_a_reload_that_fails_is_tried_again_without_a_request() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        heard: list[tuple[bool, bool]] = []
        cache.subscribe(lambda old, new: heard.append((old is not None, new is not None)))
        store.write(key("old"), None, seen=False)
        store.failing = 3
        await broken(store, feed)
        await until(lambda: cache.loaded)
        assert (names(cache), store.refused) == ([], 3)
        assert heard == [(False, True), (True, False)]

    run(scene)


def test_nothing_is_told_between_the_break_and_the_reload() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        earlier = watcher(feed, cache)
        subscribed: list[Object | None] = []
        cache.subscribe(lambda old, new: subscribed.append(new))
        store.write(key("seen"), value("seen"))
        await until(lambda: len(cache.changes) == 1)
        seen = earlier.take()
        store.write(key("old"), None, seen=False)
        store.failing = 1_000_000
        await broken(store, feed)
        assert (bool(earlier.cut), bool(seen), len(cache.changes)) == (True, True, 0)
        await until(lambda: store.refused > 0)
        store.write(key("new"), value("new"))
        last = store.refused
        await until(lambda: store.refused > last + 1)
        assert (earlier.take(), len(subscribed), names(cache)) == (b"", 2, ["old", "seen"])
        store.failing = 0
        await until(lambda: cache.loaded)
        assert names(cache) == ["new", "seen"]
        with pytest.raises(StatusError) as refusal:
            cache.watch(earlier)
        assert refusal.value.code == 410

    run(scene)


def test_a_request_hears_why_the_load_failed_and_the_load_goes_on() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        fresh = WatchCache(b"/registry/secrets/", True, ())
        store.failing = 2
        with pytest.raises(StatusError) as refusal:
            await feed.load(fresh)
        assert refusal.value.code == 503
        await until(lambda: fresh.loaded)

    run(scene)


def test_a_request_that_is_given_up_does_not_end_the_load() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        fresh = WatchCache(b"/registry/secrets/", True, ())
        gate = store.gate = asyncio.Event()
        requests = [asyncio.create_task(feed.load(fresh)) for _ in range(2)]
        await asyncio.sleep(0.005)
        requests[0].cancel()
        gate.set()
        await requests[1]
        assert fresh.loaded

    run(scene)


def test_a_subscriber_that_fails_during_a_reload_loses_nobody_a_change() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        failures = [ValueError("a subscriber's mistake")]

        def changed(old: Object | None, new: Object | None) -> None:
            if old is not None and failures:
                raise failures.pop()

        heard: list[str] = []
        cache.subscribe(changed)
        cache.subscribe(lambda old, new: heard.append(new["metadata"]["name"]) if new is not None else None)
        heard.clear()  # what there was
        store.write(key("old"), value("old", "changed"), seen=False)
        gate = store.gate = asyncio.Event()
        await broken(store, feed)
        before = store.ranges
        await until(lambda: store.ranges > before)
        await asyncio.sleep(0.005)
        store.write(key("new"), value("new"))
        await asyncio.sleep(0.005)
        gate.set()
        await until(lambda: not failures and cache.loaded)
        assert names(cache) == ["new", "old"]
        assert sorted(heard) == ["new", "old"], "another one's mistake is not theirs"

    run(scene)


# ---- ends ----


def test_a_closed_feed_loads_nothing_more() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        store.failing = 1_000_000
        await broken(store, feed)
        await until(lambda: store.refused > 0)
        request = asyncio.create_task(feed.load(cache))
        await asyncio.sleep(0)
        await feed.close()
        with pytest.raises(StatusError) as refusal:
            await request
        assert refusal.value.code == 503
        with pytest.raises(StatusError):
            await feed.load(cache)
        last = store.refused
        await asyncio.sleep(0.1)
        assert store.refused == last

    run(scene)


def test_a_dropped_cache_is_not_loaded_any_more_and_its_successor_is() -> None:
    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        store.failing = 1_000_000
        await broken(store, feed)
        await until(lambda: store.refused > 0)
        request = asyncio.create_task(feed.load(cache))
        await asyncio.sleep(0)
        feed.drop(CONFIG_MAPS)
        with pytest.raises(StatusError) as refusal:
            await request
        assert refusal.value.code == 404
        last = store.refused
        await asyncio.sleep(0.1)
        assert store.refused == last
        store.failing = 0
        successor = WatchCache(CONFIG_MAPS, True, ())
        await feed.load(successor)
        assert (names(successor), cache.loaded) == (["old"], False)

    run(scene)


# ---- all of it by chance ----


class Informer:
    """What a client knows: it lists, watches from there, resumes when the watch ends, and lists again after a 410."""

    def __init__(self, feed: Feed, cache: WatchCache) -> None:
        self._feed, self._cache = feed, cache
        self.known: set[str] = set()
        self.since = -1

    async def run(self) -> None:
        while True:
            with contextlib.suppress(StatusError):
                await self._follow()
            await asyncio.sleep(0)

    async def _follow(self) -> None:
        await self._feed.load(self._cache)
        if self.since < 0:
            self.known, self.since = set(names(self._cache)), self._feed.revision_of(self._cache)
        watcher = Watcher(EVERYTHING_THERE, Plain(), self.since)
        try:
            remove = self._cache.watch(watcher)
        except StatusError:
            self.since = -1
            raise
        if remove is None:
            # It missed more than is told at once.
            self._hear(watcher.take())
            return
        while not watcher.cut:
            self._hear(watcher.take())
            await asyncio.sleep(0)
        self._hear(watcher.take())
        remove()

    def _hear(self, lines: bytes) -> None:
        for line in lines.splitlines():
            event = json.loads(line)
            metadata = event["object"]["metadata"]
            self.since = int(metadata["resourceVersion"])
            if event["type"] == "DELETED":
                self.known.remove(metadata["name"])
            else:
                self.known.add(metadata["name"])


@pytest.mark.parametrize("number", range(40))
def test_caches_and_subscribers_follow_the_store_through_breaks_and_failures(number: int) -> None:
    chance = random.Random(SEED * 1000 + number)

    async def scene(store: TroubledStore, feed: Feed, cache: WatchCache) -> None:
        history = {store.revision: ["old"]}
        mirror: set[str] = set()

        def changed(old: Object | None, new: Object | None) -> None:
            if old is not None:
                mirror.discard(old["metadata"]["name"])
            if new is not None:
                mirror.add(new["metadata"]["name"])

        def look() -> None:
            if cache.loaded:
                assert names(cache) == history[feed.revision_of(cache)]

        async def request() -> None:
            with contextlib.suppress(StatusError):
                await feed.load(cache)
                look()

        def write() -> None:
            name = chance.choice("abcdef")
            gone = key(name) in store.rows and chance.random() < 0.5
            store.write(key(name), None if gone else value(name), seen=feed.connected)
            history[store.revision] = sorted(found.decode().rpartition("/")[2] for found in store.rows)

        cache.subscribe(changed)
        informer = Informer(feed, cache)
        informing = asyncio.create_task(informer.run())
        requests = []
        for _ in range(300):
            draw = chance.random()
            if draw < 0.3:
                write()
            elif draw < 0.35 and feed.connected:
                store.break_watch()
            elif draw < 0.4:
                store.failing = chance.randrange(3)
            elif draw < 0.45 and store.gate is None:  # who waits at one is let through by that one
                store.gate = asyncio.Event()
            elif draw < 0.55 and store.gate is not None:
                store.gate.set()
                store.gate = None
            elif draw < 0.65:
                requests.append(asyncio.create_task(request()))
            await asyncio.sleep(chance.choice((0, 0, 0, 0.002)))
            look()
        store.failing = 0
        if store.gate is not None:
            store.gate.set()
            store.gate = None
        await until(lambda: feed.connected and cache.loaded)
        await asyncio.gather(*requests)
        await until(lambda: feed.revision_of(cache) == store.revision)
        assert names(cache) == sorted(mirror) == history[store.revision]
        await until(lambda: sorted(informer.known) == names(cache))
        informing.cancel()
        await asyncio.wait([informing])

    run(scene)
