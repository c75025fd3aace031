"""The store's watch that keeps every cache, and the answer to "is memory as new as the store?".

One watch of the range that holds all objects serves every resource: since nearly every revision of the control plane's
is an event in it, the feed knows exactly up to which revision it has seen everything, without progress requests (which
etcd before 3.5.8 answered too early). A read that must not be old asks the store for its revision (one cheap
linearizable read, shared by all who wait) and waits until the feed is there. When it is not there soon, because the
last write was to something else, a small key of ours is written: the feed must come past it.

Invariants: a cache shows what it was loaded with and every event after that, or it is not `loaded` and hears none. A
load counts only if its read began while the present watch was open: what the read does not show comes as an event.
Faults assumed: the watch breaks and resumes by itself (kvstore.client); history may have been compacted meanwhile:
then everything is loaded again. Any read may fail: it is tried again until it succeeds, since who subscribed to a
cache does not ask for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from collections.abc import Iterator

from control.api.status import StatusError, no_such_path, service_unavailable
from control.apiserver.loads import Load
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
    """Keeps caches. `await start()`, then load(); close() at the end."""

    def __init__(self, storage: Storage, identity: str) -> None:
        self.storage = storage
        self.caches: dict[bytes, WatchCache] = {}
        # All events up to here have been applied to the caches.
        self.revision = 0
        self.connected = False
        self._barrier = f"/registry/barrier/{identity}".encode()
        # While the watch stands: of every cache that is not loaded.
        self._loads: dict[bytes, Load] = {}
        # Their tasks, and those that were stopped and have not ended yet.
        self._filling: set[asyncio.Task[None]] = set()
        self._closed = False
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
        self._closed = True
        tasks = [self._task, self._confirming, self._next_confirming, self._nudging, *self._filling]
        for load in self._loads.values():
            load.stop()
            load.tell(_stopping())
        self._loads.clear()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        for cache in self.caches.values():
            cache.watchers.end_all("the server is shutting down")

    async def load(self, cache: WatchCache) -> None:
        """Keep this cache from now on, and return once it is filled. Concurrent calls share the work.

        Raises StatusError 503 or 504 when the store does not answer; the cache is filled later then, also if nobody
        asks again.
        """
        # Again, if the watch broke before the caller's turn came.
        while not cache.loaded:
            await self._begin(cache).wait()

    def _begin(self, cache: WatchCache) -> Load:
        """The cache's load, begun now if there is none. While the watch is down it waits for the next one."""
        if self._closed:
            raise _stopping()
        load = self._loads.get(cache.prefix)
        if load is None:
            self.caches[cache.prefix] = cache
            load = self._loads[cache.prefix] = Load(cache)
        if load.task is None and self.connected:
            task = load.task = asyncio.create_task(self._fill(load))
            self._filling.add(task)
            task.add_done_callback(self._filling.discard)
        return load

    def drop(self, prefix: bytes) -> None:
        """Forget a cache: its resource is no more."""
        load = self._loads.pop(prefix, None)
        if load is not None:
            load.stop()
            load.tell(no_such_path())
        cache = self.caches.pop(prefix, None)
        if cache is not None:
            cache.watchers.end_all("the resource is no longer served")

    # ---- is it new enough? ----

    def revision_of(self, cache: WatchCache) -> int:
        """The revision that the cache shows the store at."""
        return max(self.revision, cache.loaded_at) if cache.loaded else cache.changed_at

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
            self._lost()
            await watch.aclose()
            watch = await self._open_again(pause)
            for cache in list(self.caches.values()):
                self._begin(cache)

    def _lost(self) -> None:
        """Events may be missed from now on: no cache is kept, and no read under way tells enough."""
        self.connected = False
        for cache in self.caches.values():
            if cache.loaded:
                cache.interrupt()
        for load in self._loads.values():
            load.stop()

    async def _open_again(self, pause: Iterator[float]) -> Watch:
        while True:
            await asyncio.sleep(next(pause))
            try:
                return await self._open()
            except StatusError as problem:
                for load in self._loads.values():
                    load.tell(problem)

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
        if cache.loaded:
            self._apply_to(cache, event)
        elif prefix in self._loads:
            # Nobody may see it yet: the cache lacks what came before it.
            self._loads[prefix].events.append(event)

    def _apply_to(self, cache: WatchCache, event: pb.Event) -> None:
        kv = event.kv
        if event.type == pb.Event.DELETE:
            cache.apply(kv.key, None, kv.mod_revision)
            return
        plain = not kv.value.startswith(ENCRYPTED)
        stored = Stored(kv.key, kv.value, kv.mod_revision) if plain else self.storage.stored(kv)
        cache.apply(kv.key, stored, kv.mod_revision)

    # ---- loads ----

    async def _fill(self, load: Load) -> None:
        """Try until the cache is filled. Each failure is told to who waits."""
        pause = delays()
        while True:
            try:
                await self._try(load)
            except StatusError as problem:
                # 410: it was compacted between two pages.
                if problem.code != 410:
                    self._failed(load, problem)
            except Exception as problem:
                log.exception("cannot load %s", load.cache.prefix.decode())
                self._failed(load, problem)
            else:
                return
            await asyncio.sleep(next(pause))

    async def _try(self, load: Load) -> None:
        """Read the whole resource at one revision; changes that come meanwhile are kept and applied afterwards."""
        # The read is linearizable: it shows what came before it.
        load.events.clear()
        items, revision = await self._read_all(load.cache.prefix)
        if load.task is asyncio.current_task():
            self._finish(load, items, revision)

    def _finish(self, load: Load, items: list[Stored], revision: int) -> None:
        cache = load.cache
        try:
            cache.reload(items, revision)
            for event in load.events:
                if event.kv.mod_revision > revision:
                    self._apply_to(cache, event)
        except Exception:
            # Some changes are not in it.
            cache.interrupt()
            raise
        del self._loads[cache.prefix]
        load.tell()

    def _failed(self, load: Load, problem: Exception) -> None:
        # An outage is a line in the log, not one for every try.
        if str(problem) != load.trouble:
            load.trouble = str(problem)
            log.warning("cannot load %s, it is tried again: %s", load.cache.prefix.decode(), problem)
        load.tell(problem)

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


def _stopping() -> StatusError:
    return service_unavailable("the server is shutting down")


def too_large(asked: int, current: int) -> StatusError:
    """504: a revision from the future, or one that this server has not reached in time."""
    message = f"Too large resource version: {asked}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return StatusError(504, "Timeout", f"Timeout: {message}", {"causes": causes, "retryAfterSeconds": 1})
