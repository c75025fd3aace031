"""Watches: every change of a range of keys, in order, exactly once, however often the connection breaks.

Invariants: `next_revision` is the first revision not handed over yet; events below it are dropped, a new stream
starts at it. So nothing is lost or repeated, unless history was compacted meanwhile: then the watch ends with
Compacted. All events of one revision arrive together, or none. At most `_BUFFERED` responses wait for the reader;
behind them HTTP/2's flow control holds the store back.
Faults assumed: members die, hang (found by keepalive pings), lose their leader; streams break at any message.
Source: etcd's Watch API guarantees (ordered, unique, reliable, atomic, resumable).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Literal, Self, Unpack

from kvstore.backoff import delays
from kvstore.client import errors
from kvstore.client.channel import CallFailed, Metadata, Stream
from kvstore.client.errors import ClientError, Compacted, StoreError, Unreachable, WatchCanceled
from kvstore.client.requests import OPEN_END, Bytes, KeyOptions, key_range
from kvstore.client.rpcs import WATCH_PATH
from kvstore.client.transport import Endpoint, Transport
from kvstore.errors import Code
from kvstore.errors import error as known_error
from kvstore.pb import etcd_pb2 as pb

Ignore = Literal["put", "delete"]

# Responses that may wait for the reader.
_BUFFERED = 16
_FILTERS = {"put": pb.WatchCreateRequest.NOPUT, "delete": pb.WatchCreateRequest.NODELETE}
# A stream that ended with one of these is opened again; the rest are the store's last word.
_RECONNECT = {Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, Code.CANCELED}


class WatchOptions(KeyOptions, total=False):
    """What a watch tells, and from when on."""

    # The first revision to tell of; 0: the next one.
    start_revision: int
    # Put into each event what it replaced.
    prev_kv: bool
    # The store tells its revision now and then while nothing happens.
    progress_notify: bool
    # Leave out the events of these kinds.
    ignore: list[Ignore]
    # Let the store split responses that are too large for one message; they are put together again here.
    fragment: bool


class Watch:
    """One watch. `async with client.watch(key) as watch:` starts it before the body; `async for event in watch`.

    Leaving the block, or aclose(), ends it. One reader at a time.
    """

    def __init__(
        self, transport: Transport, key: Bytes, range_end: Bytes | None = None, **options: Unpack[WatchOptions]
    ) -> None:
        prefix, from_key = options.get("prefix", False), options.get("from_key", False)
        start, end = key_range(key, range_end, prefix=prefix, from_key=from_key)
        self._transport = transport
        self._create = pb.WatchCreateRequest(
            key=start or OPEN_END,
            range_end=end,
            prev_kv=options.get("prev_kv", False),
            progress_notify=options.get("progress_notify", False),
            filters=[_FILTERS[kind] for kind in options.get("ignore", ())],
            fragment=options.get("fragment", False),
        )
        # 0 until the store has said where a watch from "now" begins.
        self.next_revision = options.get("start_revision", 0)
        self._responses: asyncio.Queue[pb.WatchResponse | BaseException] = asyncio.Queue(_BUFFERED)
        self._events: deque[pb.Event] = deque()
        self._started: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._call: Stream | None = None
        self._fragments: list[pb.WatchResponse] = []
        self._ended: BaseException | None = None
        # Why the store has not taken the watch yet, though it may a moment later.
        self._refusal: StoreError | None = None

    async def start(self) -> Self:
        """Open it, unless that is done, and wait until the store has confirmed it.

        Nothing that happens after this is missed. Raises Unreachable or NoLeader within the client's timeout,
        Compacted, WatchCanceled, PermissionDenied.
        """
        if self._started is None:
            self._started = asyncio.get_running_loop().create_future()
            # Whoever awaits start() hears of a failure; nobody else has to.
            self._started.add_done_callback(lambda f: None if f.cancelled() else f.exception())
            self._task = asyncio.create_task(self._run())
        await asyncio.shield(self._started)
        return self

    async def aclose(self) -> None:
        """End the watch; a reader that waits gets StopAsyncIteration."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._end(StopAsyncIteration())

    async def request_progress(self) -> None:
        """Ask the store to tell its revision once this watch has all events up to it (see responses())."""
        await self.start()
        if self._call is not None:
            with contextlib.suppress(CallFailed):
                await self._call.write(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    async def responses(self) -> AsyncIterator[pb.WatchResponse]:
        """The store's responses with events, and its progress notices (those have none); ends with the watch."""
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield await self._next_response()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pb.Event:
        while not self._events:
            self._events.extend((await self._next_response()).events)
        return self._events.popleft()

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.aclose()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next_response(self) -> pb.WatchResponse:
        if self._responses.empty() and self._ended is not None:
            raise self._ended
        await self.start()
        item = await self._responses.get()
        if isinstance(item, BaseException):
            self._ended = item
            raise item
        return item

    def _end(self, reason: BaseException) -> None:
        """Wake a reader that waits, and let every later read end the same way."""
        if self._ended is None:
            self._ended = reason
        if self._responses.empty():
            self._responses.put_nowait(reason)
        if self._started is not None and not self._started.done():
            self._started.set_exception(reason if isinstance(reason, ClientError) else ClientError("watch closed"))

    # ---- the task that owns the stream ----

    async def _run(self) -> None:
        pause = delays()
        deadline: float | None = time.monotonic() + self._transport.settings.timeout
        try:
            while True:
                revision = self.next_revision
                with contextlib.suppress(_Broken):
                    await self._stream(deadline)
                if self._started is not None and self._started.done():
                    deadline = None
                if self.next_revision != revision:
                    pause = delays()
                left = math.inf if deadline is None else max(deadline - time.monotonic(), 0)
                await asyncio.sleep(min(next(pause), left))
        except Exception as final:
            # ClientError, or a mistake of ours, which must not leave the reader waiting for ever either.
            # It is told after the events that came before it.
            if self._started is not None and not self._started.done():
                self._started.set_exception(final)
            await self._responses.put(final)

    async def _stream(self, deadline: float | None) -> None:
        """One stream from its opening to its break (_Broken). Raises ClientError when the watch is over."""
        endpoint = await self._connected(deadline)
        metadata = await self._metadata(deadline)
        self._fragments.clear()
        call = endpoint.channel.stream(WATCH_PATH, pb.WatchResponse, metadata)
        try:
            self._create.start_revision = self.next_revision
            await call.write(pb.WatchRequest(create_request=self._create))
            while (response := await call.read()) is not None:
                await self._take(response, call)
            raise _Broken
        except CallFailed as failure:
            endpoint.failed()
            self._judge(failure.code, failure.message)
        finally:
            self._call = None
            call.cancel()

    async def _connected(self, deadline: float | None) -> Endpoint:
        """A member to ask; when there is no time for one, what the last one said is why."""
        try:
            return await self._transport.connected(deadline)
        except Unreachable as problem:
            if problem.reasons or self._refusal is None:
                raise
            raise self._refusal from None

    async def _metadata(self, deadline: float | None) -> Metadata:
        """Once the watch has started, a login that fails for a moment is no reason to end it."""
        try:
            return await self._transport.metadata(deadline=deadline)
        except ClientError as problem:
            if deadline is None and errors.passing(problem):
                raise _Broken from None
            raise

    def _judge(self, code: Code, message: str) -> None:
        """_Broken if another stream may do better, the store's error otherwise."""
        self._log_in_again(message)
        if self._no_leader(message) or code in _RECONNECT:
            raise _Broken
        raise errors.from_status(code, message)

    def _log_in_again(self, message: str) -> None:
        """_Broken if that is what the store wants: with another token, another stream may do better."""
        if errors.login_wanted(message) and self._transport.settings.user:
            self._transport.forget_token()
            raise _Broken

    def _no_leader(self, message: str) -> bool:
        """Whether that is why it was refused, which is kept: it says more than that the time was over."""
        known = known_error("NO_LEADER")
        if known.message not in message:
            return False
        self._refusal = errors.from_status(known.code, known.message)
        return True

    async def _take(self, response: pb.WatchResponse, call: Stream) -> None:
        if response.canceled:
            self._refused(response)
        if response.created:
            self._created(response, call)
            return
        whole = self._whole(response)
        if whole is None:
            return
        if whole.events:
            fresh = [event for event in whole.events if event.kv.mod_revision >= self.next_revision]
            if len(fresh) != len(whole.events):
                del whole.events[:]
                whole.events.extend(fresh)
            if not fresh:
                return
            await self._responses.put(whole)
            self.next_revision = fresh[-1].kv.mod_revision + 1
        else:
            await self._responses.put(whole)
            # Only the store's own notices move the mark: servers before etcd 3.5.8 answered a requested one
            # (watch_id -1) before they had sent all events up to its revision.
            if response.watch_id >= 0:
                self.next_revision = max(self.next_revision, whole.header.revision + 1)

    def _created(self, response: pb.WatchResponse, call: Stream) -> None:
        self._call = call
        if self.next_revision <= 0:
            self.next_revision = response.header.revision + 1
        if self._started is not None and not self._started.done():
            self._started.set_result(None)

    def _refused(self, response: pb.WatchResponse) -> None:
        """The store canceled the watch: raise what that means."""
        if response.compact_revision:
            raise Compacted.at(response.compact_revision, response)
        reason = response.cancel_reason
        self._log_in_again(reason)
        if self._no_leader(reason):
            raise _Broken
        if known_error("PERMISSION_DENIED").message in reason:
            known = known_error("PERMISSION_DENIED")
            raise errors.from_status(known.code, known.message)
        raise WatchCanceled(reason or "no reason given")

    def _whole(self, response: pb.WatchResponse) -> pb.WatchResponse | None:
        """The response, put together from its fragments; None while some are missing."""
        if not response.fragment and not self._fragments:
            return response
        self._fragments.append(response)
        if response.fragment:
            return None
        whole = self._fragments[0]
        for rest in self._fragments[1:]:
            whole.events.extend(rest.events)
        whole.fragment = False
        self._fragments = []
        return whole


class _Broken(Exception):
    """This stream is over, the watch is not."""


class Watches:
    """The watch call of a client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def watch(self, key: Bytes, range_end: Bytes | None = None, **options: Unpack[WatchOptions]) -> Watch:
        """A watch of one key, of [key, range_end), or as the options say. It starts when it is entered or read."""
        return Watch(self._transport, key, range_end, **options)
