"""The feed against a store in memory: loading while changes come, confirming, nudging, starting over."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from control.api.status import StatusError
from control.apiserver import feed as feed_module
from control.apiserver.feed import Feed
from control.apiserver.splice import to_value
from control.apiserver.storage import Storage
from control.apiserver.watch_cache import WatchCache
from kvstore.client import Compacted, Unreachable
from kvstore.pb import etcd_pb2 as pb


class FakeWatch:
    """Hands over what the fake store puts into it."""

    def __init__(self, revision: int) -> None:
        self.next_revision = revision + 1
        self.queue: asyncio.Queue[pb.WatchResponse | Exception] = asyncio.Queue()

    async def start(self) -> FakeWatch:
        return self

    async def responses(self) -> AsyncIterator[pb.WatchResponse]:
        while True:
            item = await self.queue.get()
            if isinstance(item, Exception):
                raise item
            yield item

    async def aclose(self) -> None:
        return None


class FakeStore:
    """Keys with revisions; `held`: events are kept back until release()."""

    def __init__(self) -> None:
        self.revision = 1
        self.rows: dict[bytes, tuple[bytes, int]] = {}
        self.watches: list[FakeWatch] = []
        self.held: list[pb.WatchResponse] | None = None
        self.ranges = 0

    def watch(self, *_: Any, **__: Any) -> FakeWatch:
        self.watches.append(FakeWatch(self.revision))
        return self.watches[-1]

    async def range(self, key: bytes, range_end: bytes | None = None, **options: Any) -> pb.RangeResponse:
        self.ranges += 1
        await asyncio.sleep(0)
        found = [k for k in sorted(self.rows) if key <= k < range_end] if range_end else []
        kvs = [pb.KeyValue(key=k, value=self.rows[k][0], mod_revision=self.rows[k][1]) for k in found]
        return pb.RangeResponse(header=pb.ResponseHeader(revision=self.revision), kvs=kvs, count=len(kvs))

    async def put(self, key: bytes, value: bytes) -> None:
        self.write(key, value)

    def write(self, key: bytes, value: bytes | None, *, seen: bool = True) -> int:
        """Put, or delete with None. seen: it is in the watched range."""
        self.revision += 1
        if value is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = (value, self.revision)
        kind = pb.Event.DELETE if value is None else pb.Event.PUT
        event = pb.Event(type=kind, kv=pb.KeyValue(key=key, value=value or b"", mod_revision=self.revision))
        if seen:
            self.send(pb.WatchResponse(events=[event]))
        return self.revision

    def send(self, response: pb.WatchResponse) -> None:
        if self.held is not None:
            self.held.append(response)
        elif self.watches:
            self.watches[-1].queue.put_nowait(response)

    def release(self) -> None:
        waiting, self.held = self.held or [], None
        for response in waiting:
            self.send(response)


def key(name: str) -> bytes:
    return f"/registry/configmaps/ns/{name}".encode()


def value(name: str, text: str = "") -> bytes:
    return to_value({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"t": text}})


async def started(store: FakeStore) -> tuple[Feed, WatchCache]:
    feed = Feed(Storage(store), "test")  # type: ignore[arg-type]
    await feed.start()
    cache = WatchCache(b"/registry/configmaps/", True, ())
    await feed.load(cache)
    return feed, cache


class AbsentFirst(FakeStore):
    """Cannot be watched for a number of times; `asked` counts."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals, self.asked = refusals, 0

    def watch(self, *_: Any, **__: Any) -> FakeWatch:
        found = super().watch()
        self.asked += 1
        if self.asked <= self.refusals:
            found.start = self._refuse  # type: ignore[method-assign]
        return found

    async def _refuse(self) -> None:
        raise Unreachable({"m1": "connection failed"})


def test_a_store_that_starts_later_is_waited_for() -> None:
    async def scene() -> None:
        late = AbsentFirst(3)
        feed = Feed(Storage(late), "test")  # type: ignore[arg-type]
        await feed.start(patience=30)
        assert (late.asked, feed.connected) == (4, True)
        await feed.close()
        never = AbsentFirst(1_000_000)
        with pytest.raises(StatusError) as refusal:
            await Feed(Storage(never), "test").start(patience=0.1)  # type: ignore[arg-type]
        assert refusal.value.code == 503

    asyncio.run(scene())


def names(cache: WatchCache) -> list[str]:
    return [cached.name for cached in cache.snapshot()]


def test_reads_see_what_was_written_before() -> None:
    async def scene() -> None:
        store = FakeStore()
        feed, cache = await started(store)
        store.held = []
        revision = store.write(key("a"), value("a"))
        waiting = asyncio.create_task(feed.confirm())
        await asyncio.sleep(0.005)
        assert not waiting.done()
        store.release()
        assert await waiting == revision
        assert names(cache) == ["a"]
        await feed.close()

    asyncio.run(scene())


def test_one_question_serves_all_who_wait() -> None:
    async def scene() -> None:
        store = FakeStore()
        feed, _ = await started(store)
        store.write(key("a"), value("a"))
        before = store.ranges
        await asyncio.gather(*(feed.confirm() for _ in range(100)))
        assert store.ranges - before <= 2
        await feed.close()

    asyncio.run(scene())


def test_writes_elsewhere_do_not_keep_readers_waiting() -> None:
    async def scene() -> None:
        store = FakeStore()
        feed, _ = await started(store)
        foreign = store.write(b"/somebody/else", b"", seen=False)
        async with asyncio.timeout(2):
            assert await feed.confirm() == foreign
        assert feed.revision > foreign
        await feed.close()

    asyncio.run(scene())


def test_revisions_that_never_come_are_refused_in_time() -> None:
    async def scene() -> None:
        feed, _ = await started(FakeStore())
        with pytest.raises(StatusError) as refused:
            await feed.reach(10**6, patience=0.01)
        assert (refused.value.code, refused.value.reason) == (504, "Timeout")
        await feed.close()

    asyncio.run(scene())


def test_changes_during_a_load() -> None:
    async def scene() -> None:
        store = FakeStore()
        for name in "abc":
            store.write(key(name), value(name))
        feed = Feed(Storage(store), "test")  # type: ignore[arg-type]
        await feed.start()
        cache = WatchCache(b"/registry/configmaps/", True, ())
        store.held = []
        loading = asyncio.create_task(feed.load(cache))
        await asyncio.sleep(0)
        store.write(key("b"), None)
        store.write(key("d"), value("d"))
        await loading
        store.release()
        await feed.confirm()
        assert names(cache) == ["a", "c", "d"]
        assert feed.revision_of(cache) == store.revision
        await feed.close()

    asyncio.run(scene())


def test_after_a_gap_everything_is_loaded_again() -> None:
    async def scene() -> None:
        store = FakeStore()
        store.write(key("old"), value("old"))
        feed, cache = await started(store)
        assert names(cache) == ["old"]
        broken, store.held = store.watches[-1], []
        store.write(key("old"), None)
        store.write(key("new"), value("new"))
        store.held = None
        broken.queue.put_nowait(Compacted.at(store.revision))
        async with asyncio.timeout(5):
            while len(store.watches) < 2 or not cache.loaded:
                await asyncio.sleep(0.01)
        await feed.confirm()
        assert names(cache) == ["new"]
        store.write(key("newer"), value("newer"))
        await feed.confirm()
        assert names(cache) == ["new", "newer"]
        await feed.close()

    asyncio.run(scene())


def test_many_changes_at_once_leave_the_loop_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which every change takes a fifth of a slice, so that it does not matter how busy the machine is."""
    readings = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: next(readings) * feed_module.SLICE_SECONDS / 5)
    monkeypatch.setattr(feed_module, "time", clock)

    async def scene() -> None:
        store = FakeStore()
        feed, cache = await started(store)
        made = []
        for number in range(1000):
            store.revision += 1
            kv = pb.KeyValue(key=key(f"n{number}"), value=value("n"), mod_revision=store.revision)
            made.append(pb.Event(type=pb.Event.PUT, kv=kv))
        known, turns = [0], 0
        store.send(pb.WatchResponse(events=made))
        while feed.revision < store.revision:
            await asyncio.sleep(0)
            turns += 1
            known.append(len(cache.objects))
        assert known[-1] == 1000
        assert max(after - before for before, after in pairwise(known)) <= 6
        assert turns >= 1000 / 6
        await feed.close()

    asyncio.run(scene())
