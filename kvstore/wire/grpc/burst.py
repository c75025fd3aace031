"""The short way of what nearly all of a client's frames are.

A unary call is a header block that is known and one DATA frame that holds the whole message and ends the stream;
several that came in one read go to their handler together. A stream's message is one DATA frame, shorter still if it is
one that the client sends again and again (repeats.py). Frames that are like the one before are cut in one go.

Invariant: whatever is not of the plain shape is left to the general way, nothing of it done yet; what is, has the
result that it has there, and what goes to handlers keeps its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from struct import Struct

from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.messages import HEAD_AND_PREFIX, PREFIX_SIZE
from kvstore.wire.grpc.methods import Methods
from kvstore.wire.grpc.repeats import Repeat
from kvstore.wire.grpc.request import RequestHead
from kvstore.wire.grpc.timeouts import seconds
from kvstore.wire.h2.connection import Connection
from kvstore.wire.h2.frames import DEFAULT_MAX_FRAME, END_HEADERS, END_STREAM, HEAD_SIZE, MAX_STREAM_ID, FrameType
from kvstore.wire.h2.header_cache import HeaderDecoder
from kvstore.wire.limits import Limits

_unpack_both = HEAD_AND_PREFIX.unpack_from
_SKIPPED_RANGES = 64


class Burst(Connection):
    """The part of a ServerConnection (which any of these is) that reads bursts of such frames."""

    def __init__(
        self,
        limits: Limits,
        wake: Callable[[], None],
        now: float,
        *,
        methods: Methods,
        deadlines: Deadlines,
        max_message: int,
    ) -> None:
        super().__init__(limits, wake, now)
        self.deadlines = deadlines
        # The longest DATA payload that goes the short way.
        self._hot_size = min(DEFAULT_MAX_FRAME, max_message + PREFIX_SIZE)
        self.headers = HeaderDecoder(
            partial(RequestHead, methods=methods), max_list=limits.max_header_list, volatile=b"grpc-timeout"
        )
        # By their frames; and how much of a stream's window they may take, from where the general way gives it back.
        self.repeats: dict[bytes, Repeat] = {}
        self.repeat_window = limits.stream_window // 2
        # Calls of this burst that came with a grpc-timeout.
        self._timed: list[Call] = []
        # Streams above this are refused: the last one before our GOAWAY.
        self._accept_until = MAX_STREAM_ID
        # Stream numbers the client jumped over, as (first, last): they were never opened.
        self._skipped: list[tuple[int, int]] = []

    def receive(self, data: bytes, now: float) -> bool:
        """Bytes from the client, at time `now` (seconds, monotonic). False: nothing is to be sent yet."""
        speaks = True
        # Hot: mostly nothing was left over, and nothing will be.
        if self.settled and not self._rest and self._block is None and self.failed is None:
            self.now = self._last_heard = now
            self._awake = True
            end = len(data)
            done = self._burst(data, 0, end)
            if done < end:
                super().receive(data[done:], now)
            elif not (self._out or self.ready or self._doom or self._leaving):
                speaks = self._awake = False
        else:
            super().receive(data, now)
        if self._timed:
            timed, self._timed = self._timed, []
            self.deadlines.watch(timed, now)
        return speaks

    def _burst(self, data: bytes, at: int, end: int) -> int:
        # Hot: locals for everything, and HEADERS and DATA by themselves, because clients send the HEADERS of several
        # calls before their DATA. Whatever is not the plain shape is left to the general way, nothing of it done yet.
        known = self.headers.known
        cut = self.headers.cut
        streams: dict[int, Call] = self.streams  # type: ignore[assignment]  # cast() is a call
        most = self.limits.max_concurrent_streams
        repeats = self.repeats
        run: list[Repeat] = []
        calls: list[Call] = []
        messages: list[bytes] = []
        # Shorter frames than a head and a prefix are nothing that this knows.
        last = end - HEAD_AND_PREFIX.size
        while at <= last:
            word, flags, stream_id, packed, length = _unpack_both(data, at)
            size = word >> 8
            start = at + 9
            stop = start + size
            if stop > end:
                break
            kind = word & 0xFF
            if repeats:
                repeat = repeats.get(data[at:stop])
                if repeat is not None and size <= self.recv_left and repeat.call.hear_again(size):
                    if calls:
                        self._serve(calls, messages)
                        calls, messages = [], []
                    run.append(repeat)
                    at = stop
                    self.recv_left -= size
                    if self.recv_left < self._recv_low:
                        self.took(0)
                    continue
                if run:
                    run[0].serve(run)
                    run = []
            if not kind:
                # DATA; its length is checked against the prefix of the message in it.
                call = streams.get(stream_id)
                if (
                    call is None
                    or length != size - PREFIX_SIZE
                    or packed
                    or size > self._hot_size
                    or size > self.recv_left
                ):
                    break
                if flags == END_STREAM:
                    # It ends a unary call.
                    if not call.fresh or call.length_left not in (None, size):
                        break
                    call.fresh = False
                    call.remote_closed = call.whole = True
                    if calls and call.head is not calls[0].head:
                        self._serve(calls, messages)
                        calls, messages = [], []
                    calls.append(call)
                    messages.append(data[start + PREFIX_SIZE : stop])
                    if stop <= last and data[stop + 3] == 0:
                        stop += self._hear_alike(data, stop, size, calls, messages)
                else:
                    if calls:
                        self._serve(calls, messages)
                        calls, messages = [], []
                    # One message of an open stream: what watches, leases and peers send.
                    if flags or not call.hear(data[start + PREFIX_SIZE : stop], size):
                        break
                at = stop
                self.recv_left -= size
                if self.recv_left < self._recv_low:
                    self.took(0)
            elif kind == 1 and flags == END_HEADERS and stream_id & 1:
                if not self.last_stream < stream_id <= self._accept_until or len(streams) >= most:
                    break
                block = data[start:stop]
                timeout = None
                found = known.get(block)
                if found is None:
                    found = cut(block)
                    if found is None or (timeout := seconds(found[1])) is None:
                        break
                elif found[1] is not None:
                    break
                head = found[0]
                method = head.plain
                if method is None:
                    break
                if stream_id != self.last_stream + 2:
                    self._skip_to(stream_id)
                self.last_stream = stream_id
                at = stop
                streams[stream_id] = fresh = Call(self, stream_id, head, timeout)  # type: ignore[arg-type]
                if head.length >= 0:
                    fresh.length_left = head.length
                method.started += 1
                if timeout is not None:
                    self._timed.append(fresh)
                elif stop <= last and data[stop + 3] == 1:
                    at = self._open_alike(data, stop, head, block)
            else:
                break
        if run:
            run[0].serve(run)
        if calls:
            self._serve(calls, messages)
        return at

    def _open_alike(self, data: bytes, at: int, head: RequestHead, block: bytes) -> int:
        """Open calls for what stands at `at`: HEADERS like those just read, of one stream after the other, none with a
        deadline. The offset behind the last. Hot."""
        size = len(block)
        step = HEAD_SIZE + size
        streams, number = self.streams, self.last_stream
        room = min(self.limits.max_concurrent_streams - len(streams), (self._accept_until - number) // 2)
        until = at + step * min((len(data) - at) // step, room)
        word = size << 8 | FrameType.HEADERS
        length = head.length
        opened = 0
        for found, flags, stream_id, again in _alike(size)(memoryview(data)[at:until]):
            if stream_id != number + 2 or again != block or found != word or flags != END_HEADERS:
                break
            number = stream_id
            streams[number] = call = Call(self, number, head, None)  # type: ignore[arg-type]
            if length >= 0:
                call.length_left = length
            opened += 1
        self.last_stream = number
        head.plain.started += opened  # type: ignore[union-attr]
        return at + step * opened

    def _hear_alike(self, data: bytes, at: int, size: int, calls: list[Call], messages: list[bytes]) -> int:
        """Add the calls that what stands at `at` is all of: DATA like that just read, for calls with the same head (so
        with the same content-length). How many octets that is. Hot."""
        streams: dict[int, Call] = self.streams  # type: ignore[assignment]  # cast() is a call
        head = calls[0].head
        step = HEAD_SIZE + size
        # Not counted yet is the frame before. Whose turn it is to give the window back goes the longer way.
        room = (self.recv_left - self._recv_low) // size - 1
        until = at + step * min((len(data) - at) // step, room)
        word = size << 8
        before = len(calls)
        for found, flags, stream_id, packed, length, message in _alike_data(size)(memoryview(data)[at:until]):
            call = streams.get(stream_id)
            if (
                found != word
                or flags != END_STREAM
                or packed
                or length != size - PREFIX_SIZE
                or call is None
                or not call.fresh
                or call.head is not head
            ):
                break
            call.fresh = False
            call.remote_closed = call.whole = True
            calls.append(call)
            messages.append(message)
        self.recv_left -= size * (len(calls) - before)
        return step * (len(calls) - before)

    def _serve(self, calls: list[Call], messages: list[bytes]) -> None:
        """Unary calls of one method that came in one read: together if its handler can, else one after the other."""
        if len(calls) == 1:
            calls[0].run(messages[0])
            return
        together = calls[0].head.plain.together  # type: ignore[union-attr]
        if together is not None:
            try:
                if together(calls, messages):
                    return
            except Exception as fault:
                for call in calls:
                    call.fail_with(fault)
                return
        for call, message in zip(calls, messages, strict=True):
            call.run(message)

    def _skip_to(self, stream_id: int) -> None:
        first = self.last_stream + 2 if self.last_stream else 1
        if first < stream_id and len(self._skipped) < _SKIPPED_RANGES:
            self._skipped.append((first, stream_id - 2))


@lru_cache(64)
def _alike(size: int) -> Callable[[memoryview], Iterator[tuple[int, int, int, bytes]]]:
    """Cuts frames with payloads of that size: (length and type, flags, stream, payload) of each."""
    return Struct(f">IBI{size}s").iter_unpack


@lru_cache(64)
def _alike_data(size: int) -> Callable[[memoryview], Iterator[tuple[int, int, int, int, int, bytes]]]:
    """The same with a message's prefix: (length and type, flags, stream, packed, length, message) of each."""
    return Struct(f">IBIBI{size - PREFIX_SIZE}s").iter_unpack
