"""The store's watch that keeps every cache, and the answer to "is memory as new as the store?".

One watch of the range that holds all objects serves every resource: since nearly every revision of the control plane's
is an event in it, the feed knows exactly up to which revision it has seen everything, without progress requests (which
etcd before 3.5.8 answered too early). A read that must not be old asks the store for its revision (one cheap
linearizable read, shared by all who wait) and waits until the feed is there. When it is not there soon, because the
last write was to something else, a small key of ours is written: the feed must come past it.

Faults assumed: the watch breaks and resumes by itself (kvstore.client); history may have been compacted meanwhile:
then everything is loaded again.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import time

from control.api.status import StatusError
from control.apiserver.storage import ENCRYPTED, Storage, Stored
from control.apiserver.watch_cache import WatchCache
from kvstore.backoff import delays
from kvstore.client import ClientError
from kvstore.client.watch import Watch
from kvstore.pb import etcd_pb2 as pb

log = logging.getLogger(__name__)

FIRST, LAST = b"/registry/", b"/registry0"
LOAD_PAGE = 2000
SLICE_SECONDS = 0.005
PATIENCE, MOST = 0.02, 3.0


class Feed:
    """Keeps caches. `await start()`, then add(); close() at the end."""

    def __init__(self, storage: Storage, identity: str) -> None:
        self.storage = storage
        self.caches: dict[bytes, WatchCache] = {}
        # All events up to here have been applied to the caches.
        self.revision = 0
        self.connected = False
        # Grows whenever events may have been missed.
        self._epoch = 0
        self._barrier = f"/registry/barrier/{identity}".encode()
        self._pending: dict[bytes, list[pb.Event]] = {}
        self._loading: dict[bytes, asyncio.Task[None]] = {}
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._confirming: asyncio.Task[int] | None = None
        self._next_confirming: asyncio.Task[int] | None = None
        self._nudging: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, patience: float = 0.0) -> None:
        """Begin the watch. patience: seconds the store may need until it answers, as when both are started at once.

        Raises StatusError 503 when it does not.
        """
        watch = await self._open_within(patience)
        self._task = asyncio.create_task(self._run(watch), name="feed")

    async def close(self) -> None:
        tasks = [self._task, self._confirming, self._next_confirming, self._nudging, *self._loading.values()]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        for cache in self.caches.values():
            cache.watchers.end_all("the server is shutting down")

    async def load(self, cache: WatchCache) -> None:
        """Keep this cache from now on, and return once it is filled. Concurrent calls share the work."""
        if cache.loaded:
            return
        await asyncio.shield(self._begin(cache))

    def _begin(self, cache: WatchCache) -> asyncio.Task[None]:
        """The task that loads the cache, begun now if there is none."""
        task = self._loading.get(cache.prefix)
        if task is None:
            self.caches[cache.prefix] = cache
            task = self._loading[cache.prefix] = asyncio.create_task(self._load(cache))
            task.add_done_callback(lambda done: self._loaded(cache.prefix, done))
        return task

    def _loaded(self, prefix: bytes, task: asyncio.Task[None]) -> None:
        self._loading.pop(prefix, None)
        if not task.cancelled() and task.exception() is not None:
            log.warning("cannot load %s: %s", prefix.decode(), task.exception())

    def drop(self, prefix: bytes) -> None:
        """Forget a cache: its resource is no more."""
        cache = self.caches.pop(prefix, None)
        if cache is not None:
            cache.watchers.end_all("the resource is no longer served")

    # ---- is it new enough? ----

    def revision_of(self, cache: WatchCache) -> int:
        """The revision that the cache shows the store at."""
        return max(self.revision, cache.loaded_at)

    async def confirm(self) -> int:
        """Wait until the caches hold everything that was written before this call; the revision.

        Raises StatusError 503 or 504 when the store does not answer.
        """
        revision = await self._store_revision()
        await self.reach(revision)
        return revision

    async def reach(self, revision: int, patience: float = MOST) -> None:
        """Wait until everything up to the revision was applied. StatusError 504 after `patience` seconds."""
        if self.revision >= revision:
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (revision, next(self._order), future))
        done, _ = await asyncio.wait([future], timeout=min(PATIENCE, patience))
        if not done and revision <= self.storage.revision:
            self._nudge()
        if not done:
            done, _ = await asyncio.wait([future], timeout=patience)
        if not done:
            future.cancel()
            raise too_large(revision, self.revision)

    async def _store_revision(self) -> int:
        """The store's revision at some moment after the call: asked once for all who come while it is being asked."""
        if self._confirming is None or self._confirming.done():
            self._confirming = asyncio.create_task(self.storage.current_revision())
            return await asyncio.shield(self._confirming)
        if self._next_confirming is None or self._next_confirming.done():
            self._next_confirming = asyncio.create_task(self._after(self._confirming))
        return await asyncio.shield(self._next_confirming)

    async def _after(self, earlier: asyncio.Task[int]) -> int:
        await asyncio.wait([earlier])
        # From here on it is a question under way, which who comes now must not share.
        self._confirming, self._next_confirming = self._next_confirming, None
        return await self.storage.current_revision()

    def _nudge(self) -> None:
        if self._nudging is None or self._nudging.done():
            self._nudging = asyncio.create_task(self._write_barrier())

    async def _write_barrier(self) -> None:
        with contextlib.suppress(ClientError):
            await self.storage.client.put(self._barrier, b"")

    def _reached(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        while self._waiters and self._waiters[0][0] <= self.revision:
            future = heapq.heappop(self._waiters)[2]
            if not future.done():
                future.set_result(None)

    # ---- the watch ----

    async def _open_within(self, patience: float) -> Watch:
        deadline, pause = asyncio.get_running_loop().time() + patience, delays()
        while True:
            try:
                return await self._open()
            except StatusError as problem:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                log.info("waiting for the store: %s", problem.message)
                await asyncio.sleep(next(pause))

    async def _open(self) -> Watch:
        watch = self.storage.client.watch(FIRST, LAST, progress_notify=True, fragment=True)
        try:
            await watch.start()
        except ClientError as problem:
            await watch.aclose()
            raise StatusError(
                503, "ServiceUnavailable", f"the store cannot be watched: {problem}", {"retryAfterSeconds": 1}
            ) from problem
        self._reached(watch.next_revision - 1)
        self.connected = True
        return watch

    async def _run(self, watch: Watch) -> None:
        pause = delays()
        while True:
            try:
                async for response in watch.responses():
                    await self._take(response)
            except ClientError as problem:
                log.warning("the watch of the store ended (%s): everything is loaded again", problem)
            except Exception:
                log.exception("a change of the store could not be applied: everything is loaded again")
            self.connected = False
            self._epoch += 1
            for cache in self.caches.values():
                cache.loaded = False
            await watch.aclose()
            while not self.connected:
                await asyncio.sleep(next(pause))
                with contextlib.suppress(StatusError):
                    watch = await self._open()
            for cache in list(self.caches.values()):
                self._begin(cache)

    async def _take(self, response: pb.WatchResponse) -> None:
        started, last = time.perf_counter(), 0
        for event in response.events:
            if event.kv.mod_revision != last:
                self._reached(last)
                if time.perf_counter() - started > SLICE_SECONDS:
                    await asyncio.sleep(0)
                    started = time.perf_counter()
            last = event.kv.mod_revision
            self._apply(event)
        # Only notices that the store sends by itself (watch_id >= 0) mean that everything before was sent.
        if response.events:
            self._reached(last)
        elif response.watch_id >= 0:
            self._reached(response.header.revision)

    def _apply(self, event: pb.Event) -> None:
        prefix = prefix_of(event.kv.key)
        cache = self.caches.get(prefix)
        if cache is None:
            return
        waiting = self._pending.get(prefix)
        if waiting is not None:
            waiting.append(event)
            return
        self._apply_to(cache, event)

    def _apply_to(self, cache: WatchCache, event: pb.Event) -> None:
        kv = event.kv
        if event.type == pb.Event.DELETE:
            cache.apply(kv.key, None, kv.mod_revision)
            return
        plain = not kv.value.startswith(ENCRYPTED)
        stored = Stored(kv.key, kv.value, kv.mod_revision) if plain else self.storage.stored(kv)
        cache.apply(kv.key, stored, kv.mod_revision)

    async def _load(self, cache: WatchCache) -> None:
        """Read the whole resource at one revision; changes that come meanwhile are kept and applied afterwards."""
        pause = delays()
        self._pending[cache.prefix] = []
        try:
            while True:
                epoch = self._epoch
                try:
                    items, revision = await self._read_all(cache.prefix)
                except StatusError as problem:
                    if problem.code != 410:
                        raise
                    epoch = -1
                if epoch == self._epoch:
                    break
                await asyncio.sleep(next(pause))
            cache.reload(items, revision)
            for event in self._pending[cache.prefix]:
                if event.kv.mod_revision > revision:
                    self._apply_to(cache, event)
        finally:
            del self._pending[cache.prefix]

    async def _read_all(self, prefix: bytes) -> tuple[list[Stored], int]:
        page = await self.storage.page(prefix, limit=LOAD_PAGE)
        items, revision = page.items, page.revision
        while page.remaining:
            page = await self.storage.page(prefix, limit=LOAD_PAGE, revision=revision, after=items[-1].key)
            items.extend(page.items)
            await asyncio.sleep(0)
        return items, revision


def prefix_of(key: bytes) -> bytes:
    """The prefix of the cache a key belongs to: custom resources have their group between."""
    second = key.find(b"/", 10)
    if second < 0:
        return b""
    if b"." in key[10:second]:
        second = key.find(b"/", second + 1)
    return key[: second + 1]


def too_large(asked: int, current: int) -> StatusError:
    """504: a revision from the future, or one that this server has not reached in time."""
    message = f"Too large resource version: {asked}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return StatusError(504, "Timeout", f"Timeout: {message}", {"causes": causes, "retryAfterSeconds": 1})
