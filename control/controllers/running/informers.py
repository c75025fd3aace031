"""The informers that all controllers of this process share, and the view over them.

One informer a resource, started when the first controller needs it and kept while this process stands by, so that a
fail-over finds a warm view. Resources of custom kinds come and go with their definitions; whoever asked for everything
hears of them too. Invariant: a handler is called once for a change, after every store has it. Faults assumed: servers
that lag behind each other, so that one serves a resource which the next one asked does not know yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from control.api.kind import Kind
from control.api.schema import Object
from control.api.status import StatusError
from control.client.client import Client
from control.client.errors import Unreachable
from control.client.informer import Informer
from control.client.objects import slim
from control.controllers.reconcilers.nodes.heartbeats import LEASES, hear
from control.controllers.values.actions import Answer, Read
from control.controllers.values.objects import uid_of
from control.controllers.values.observed import KnownKind, Observed, indexes_of
from kvstore.backoff import delays

log = logging.getLogger(__name__)

Handler = Callable[[str, Object | None, Object | None], None]
DEFINITIONS: Final = "customresourcedefinitions.apiextensions.k8s.io"
# Not worth following: nobody owns or counts them, and there are many.
NOT_FOLLOWED: Final = frozenset({"events", "events.events.k8s.io", "componentstatuses"})
_NEEDED_VERBS: Final = frozenset({"list", "watch", "delete"})
# Seconds after which is asked again what there is, though nothing is known to have changed.
_AGAIN: Final = 30.0
_GONE_KEPT: Final = 20_000


class Informers:
    """Start with start(); stop() ends them all."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, monotonic, for when heartbeats were heard.

        It should stand still while the machine sleeps, as Linux's CLOCK_MONOTONIC does and CLOCK_BOOTTIME does not: who
        sleeps hears nobody, and that is held against no node.
        """
        self._client = client
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._informers: dict[str, Informer] = {}
        self._kinds: dict[tuple[str, str], KnownKind] = {}
        self._handlers: list[Handler] = []
        self._asked: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self._look = asyncio.Event()
        # The view as it is now. It is live: later changes show in it, too, but the passing of time.
        self.observed = Observed(self._informers, self._kinds, heard=self._heard, gone=self._gone)

    def look(self, answers: Mapping[Read, Answer], failure: str) -> Observed:
        """The view for a reconciler, which wants to know how late it is, too. Arguments as Observed.after has them."""
        return replace(self.observed.after(answers, failure), uptime=self._clock())

    def subscribe(self, handler: Handler) -> None:
        """Call handler(resource, old, new) with every change from now on. To be called before start()."""
        self._handlers.append(handler)

    async def start(self, resources: Iterable[str], *, everything: bool) -> None:
        """Follow these resources, with `everything` all that the server has; returns when all first lists are in."""
        self._asked.update(resources)
        if everything:
            await self._discover_first()
        await self._follow_asked()
        look = self._discover if everything else self._follow_asked
        self._looking = asyncio.create_task(self._keep_looking(look), name="kinds")

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*(informer.stop() for informer in self._informers.values()))

    async def _follow_asked(self) -> None:
        await asyncio.gather(*(self._follow(resource) for resource in sorted(self._asked)))

    async def _follow(self, resource: str) -> None:
        """Follow it unless it is followed. When the server refuses, the next look tries again."""
        if resource in self._informers:
            return
        informer = Informer(self._client, resource, indexes=indexes_of(resource), transform=slim)
        # In its place before it is started: the first list is told object by object.
        self._informers[resource] = informer
        informer.subscribe(lambda old, new: self._take(resource, old, new))
        try:
            await informer.start()
        except StatusError as refused:
            del self._informers[resource]
            log.warning("%s cannot be followed: %s", resource, refused)

    def _take(self, resource: str, old: Object | None, new: Object | None) -> None:
        """What the server said."""
        if old is not None and new is None:
            self._gone[uid_of(old)] = None
            if len(self._gone) > _GONE_KEPT:
                self._gone.popitem(last=False)
        self._tell(resource, old, new)

    def _tell(self, resource: str, old: Object | None, new: Object | None) -> None:
        if resource == DEFINITIONS:
            self._look.set()
        elif resource in ("nodes", LEASES):
            hear(self._heard, resource, old, new, self._clock())
        for handler in self._handlers:
            handler(resource, old, new)

    async def _keep_looking(self, look: Callable[[], Awaitable[None]]) -> None:
        """Look again when definitions change, and from time to time: the server that was asked may have lagged."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), _AGAIN)
            self._look.clear()
            try:
                await look()
            except (StatusError, Unreachable) as problem:
                log.warning("cannot learn which resources there are: %s", problem)

    async def _discover_first(self) -> None:
        """As _discover, however long the servers take to answer."""
        pauses = delays()
        while True:
            try:
                return await self._discover()
            except (StatusError, Unreachable) as problem:
                log.warning("cannot learn which resources there are: %s", problem)
                await asyncio.sleep(next(pauses))

    async def _discover(self) -> None:
        kinds = [kind for kind in await self._client.directory.all() if _is_followed(kind)]
        known = {(kind.api_version, kind.name): KnownKind(kind.resource, kind.namespaced) for kind in kinds}
        self._kinds.clear()
        self._kinds.update(known)
        wanted = {kind.resource for kind in kinds} | self._asked
        await asyncio.gather(*(self._follow(resource) for resource in sorted(wanted)))
        for resource in [name for name in self._informers if name not in wanted]:
            log.info("%s is no longer served", resource)
            await self._forget(resource)

    async def _forget(self, resource: str) -> None:
        informer = self._informers.pop(resource)
        await informer.stop()
        for obj in list(informer.objects.values()):
            self._tell(resource, obj, None)


def _is_followed(kind: Kind) -> bool:
    return set(kind.verbs) >= _NEEDED_VERBS and kind.resource not in NOT_FOLLOWED
