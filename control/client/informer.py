"""A local copy of a resource that follows the server: list, then watch, and again when the watch cannot go on.

Invariants: `objects` is a state that the server had, and never goes back in time for one object as long as the server's
watch does not; subscribers hear of every change of it, in order, on the loop, one at a time. After an outage the watch
goes on from where it was; where history is gone (410) the next list tells what was missed as changes, deletions too.
Faults assumed: servers die, hang, forget history; all of them come back at once, to all of us at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Final, Protocol, Self

from control.api.schema import Object
from control.api.status import StatusError
from control.client.bodies import WatchEvent
from control.client.errors import Unreachable
from control.client.objects import Change, IndexFunction, Key, ObjectStore, version_of
from kvstore.invariant import invariant

log = logging.getLogger(__name__)

Handler = Callable[[Object | None, Object | None], None]

_PAGE: Final = 500
# Seconds before the first and the longest wait after failures in a row.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
# The longest while no server can be reached at all: the client has asked around for seconds before it says so, with
# pauses of up to a second, each drawn by itself. So those who come back are as spread as after a short outage.
_LONGEST_AWAY: Final = 1.0
# Answers to a first list that trying again will not change.
_FINAL: Final = frozenset({400, 404, 405, 422})


class Source(Protocol):
    """What an informer needs of a client."""

    async def list(
        self,
        resource: str,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        resource_version: str = "",
        continue_: str = "",
    ) -> Object:
        """See control.client.client.Client."""

    def watch(
        self,
        resource: str,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        bookmarks: bool = True,
    ) -> AsyncIterator[WatchEvent]:
        """See control.client.client.Client."""


class Informer:
    """`async with Informer(client, "pods") as pods:`, or start() and stop()."""

    def __init__(
        self,
        client: Source,
        resource: str,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        indexes: Mapping[str, IndexFunction] | None = None,
        resync: float = 0.0,
        transform: Callable[[Object], Object] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """indexes: name → function(object) → keys. transform: applied to each object before it is kept.

        resync: seconds after which subscribers hear of every object again as (object, object), 0 for never.
        jitter: draws from [0, 1), for the pauses after failures.
        """
        self.resource = resource
        self._client = client
        self._namespace = namespace
        self._labels, self._fields = label_selector, field_selector
        self._store = ObjectStore(indexes)
        self._resync, self._transform, self._jitter = resync, transform, jitter
        self._handlers: list[Handler] = []
        self._first: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._kind: tuple[str, str] = ("", "")
        # When the last list came in, by the loop's clock.
        self._listed_at: float | None = None
        # The revision that `objects` is at.
        self.resource_version = ""

    @property
    def objects(self) -> Mapping[Key, Object]:
        """(namespace, name) → object. Not to be changed by readers, nor are the objects."""
        return self._store.objects

    @property
    def has_synced(self) -> bool:
        """Whether the first list is in."""
        first = self._first
        return first is not None and first.done() and not first.cancelled() and first.exception() is None

    def get(self, name: str, namespace: str = "") -> Object | None:
        """One object, None if it is not there."""
        return self._store.objects.get((namespace, name))

    def by_index(self, index: str, key: str) -> list[Object]:
        """The objects that an index lists under a key."""
        return self._store.by_index(index, key)

    def index_keys(self, index: str) -> list[str]:
        """The keys under which an index lists something."""
        return self._store.keys_of(index)

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Call handler(old | None, new | None) with every change from now on, what is here already first.

        It must neither block nor change the objects; what it raises is logged. Returns the way to end that.
        """
        self._handlers.append(handler)
        for obj in list(self._store.objects.values()):
            self._call(handler, None, obj)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._handlers.remove(handler)

        return end

    async def start(self) -> Self:
        """Begin to follow, and return when the first list is in, however long the servers take to answer.

        Raises StatusError when the first list is refused for good (no such resource, a malformed selector).
        """
        invariant(self._first is None, "an informer is started once")
        self._first = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._run(), name=f"informer {self.resource}")]
        if self._resync:
            self._tasks.append(asyncio.create_task(self._resync_for_ever()))
        try:
            await asyncio.shield(self._first)
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Follow no longer; what is here stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # ---- the task that follows ----

    async def _run(self) -> None:
        pause, resume = _FIRST_PAUSE, False
        first = self._first
        while True:
            version, self._listed_at = self.resource_version, None
            resume, resumed, longest = False, resume, _LONGEST_PAUSE
            try:
                await self._watch() if resumed else await self._list_and_watch()
            except StatusError as refused:
                if first is not None and not first.done() and refused.code in _FINAL:
                    first.set_exception(refused)
                    return
                if refused.code != 410:
                    log.warning("%s: cannot be followed: %s", self.resource, refused)
            except Unreachable as outage:
                log.warning("%s: %s", self.resource, outage)
                longest = _LONGEST_AWAY
                resume = resumed or (self._listed_at is not None and self.resource_version not in ("", "0"))
            except Exception:
                log.exception("%s: a mistake in the informer; listing again", self.resource)
            if self.resource_version != version or self._followed_long():
                pause = _FIRST_PAUSE
            pause = min(pause, longest)
            await asyncio.sleep(pause * (0.5 + self._jitter() / 2))
            pause *= 2

    def _followed_long(self) -> bool:
        """Whether the last attempt was a success, though nothing happened: the list came in, and the watch lasted."""
        now = asyncio.get_running_loop().time()
        return self._listed_at is not None and now - self._listed_at > _LONGEST_PAUSE

    async def _list_and_watch(self) -> None:
        objects, version = await self._list_all()
        self._listed_at = asyncio.get_running_loop().time()
        for change in self._store.replace(objects):
            self._tell(*change)
        self.resource_version = version
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
        await self._watch()

    async def _watch(self) -> None:
        """Follow from the revision that `objects` is at."""
        events = self._client.watch(
            self.resource,
            self._namespace,
            resource_version=self.resource_version,
            label_selector=self._labels,
            field_selector=self._fields,
        )
        async with contextlib.aclosing(events) as open_events:  # type: ignore[type-var]
            async for event in open_events:
                self._take(event)

    async def _list_all(self) -> tuple[list[Object], str]:
        """Every object, and the revision of the list. Pages that expired meanwhile are fetched as one."""
        try:
            return await self._pages(_PAGE)
        except StatusError as refused:
            if refused.code != 410:
                raise
            return await self._pages(0)

    async def _pages(self, limit: int) -> tuple[list[Object], str]:
        objects: list[Object] = []
        token = ""
        while True:
            answer = await self._client.list(
                self.resource,
                self._namespace,
                label_selector=self._labels,
                field_selector=self._fields,
                limit=limit,
                continue_=token,
            )
            self._kind = answer.get("apiVersion", ""), str(answer.get("kind", "")).removesuffix("List")
            objects += [self._whole(item) for item in answer.get("items") or ()]
            token = (answer.get("metadata") or {}).get("continue", "")
            if not token:
                return objects, version_of(answer)

    def _whole(self, obj: Object) -> Object:
        """Servers leave apiVersion and kind out of lists' items."""
        api_version, kind = self._kind
        obj.setdefault("apiVersion", api_version)
        obj.setdefault("kind", kind)
        return self._transform(obj) if self._transform else obj

    def _take(self, event: WatchEvent) -> None:
        change: Change | None = None
        if event.type in ("ADDED", "MODIFIED"):
            change = self._store.put(self._whole(event.object))
        elif event.type == "DELETED":
            change = self._store.remove(self._whole(event.object))
        self.resource_version = event.resource_version or self.resource_version
        if change is not None:
            self._tell(*change)

    def _tell(self, old: Object | None, new: Object | None) -> None:
        for handler in list(self._handlers):
            self._call(handler, old, new)

    def _call(self, handler: Handler, old: Object | None, new: Object | None) -> None:
        try:
            handler(old, new)
        except Exception:
            log.exception("%s: a subscriber failed", self.resource)

    async def _resync_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._resync)
            for obj in list(self._store.objects.values()):
                self._tell(obj, obj)
