"""Events on their way to the API server: recorded at once, counted and merged (event_series.py), sent by one task.

Events are news, not state: when the server cannot take them for long, or they come too fast, the oldest waiting ones
are dropped. Faults assumed: servers are away; an event's object expired meanwhile (then it is made again).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from control.api import meta
from control.api.schema import Object
from control.api.status import StatusError
from control.client.errors import Unreachable
from control.client.event_series import EventSeries, Write
from kvstore.backoff import delays

log = logging.getLogger(__name__)

_WAITING: Final = 1000
_ATTEMPTS: Final = 8


class Sink(Protocol):
    """What a recorder needs of a client."""

    async def create(self, resource: str, obj: Object, *, namespace: str = "") -> Object:
        """See control.client.client.Client."""

    async def patch(self, resource: str, name: str, patch: Object, *, namespace: str = "") -> Object:
        """See control.client.client.Client."""


class EventRecorder:
    """`async with EventRecorder(client, "scheduler") as events:`, or start() and close()."""

    def __init__(self, client: Sink, component: str, host: str = "", *, clock: Callable[[], float] = time.time) -> None:
        """component, host: who says it. clock: Unix time in seconds."""
        self._client = client
        self._clock = clock
        self._series = EventSeries(component, host)
        self._waiting: deque[Write] = deque(maxlen=_WAITING)
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sending = False

    def record(self, about: Object, kind: str, reason: str, message: str) -> None:
        """Take note of an event and return at once.

        about: the object, or an ObjectReference. kind: Normal or Warning. reason: a CamelCase word.
        """
        reference = meta.reference(about) if "metadata" in about else about
        write = self._series.take(reference, kind, reason, message, self._clock())
        if write is not None:
            self._waiting.append(write)
            self._news.set()

    async def start(self) -> Self:
        """Begin to send."""
        if self._task is None:
            self._task = asyncio.create_task(self._send_for_ever())
        return self

    async def close(self, patience: float = 1.0) -> None:
        """Send what waits, for at most `patience` seconds, and stop."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._waiting or self._sending:
                    await asyncio.sleep(0.01)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def _send_for_ever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                write = self._waiting.popleft()
                self._sending = True
                try:
                    await self._send(write)
                except Exception:
                    log.exception("a mistake in sending an event")
                finally:
                    self._sending = False

    async def _send(self, write: Write) -> None:
        pauses = delays(0.1, 10.0)
        for _ in range(_ATTEMPTS):
            try:
                await self._once(write)
                return
            except Unreachable:
                await asyncio.sleep(next(pauses))
            except StatusError as refused:
                if refused.code < 500 and refused.code != 429:
                    # A namespace that is being deleted, no permission: trying again changes nothing.
                    log.info("an event was refused: %s", refused)
                    break
                await asyncio.sleep(next(pauses))
        self._series.forget(write.key)

    async def _once(self, write: Write) -> None:
        if write.patch is not None:
            try:
                await self._client.patch("events", write.name, write.patch, namespace=write.namespace)
                return
            except StatusError as refused:
                if refused.code != 404:
                    raise
        try:
            await self._client.create("events", write.event, namespace=write.namespace)
        except StatusError as refused:
            if refused.reason != "AlreadyExists":
                raise

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
