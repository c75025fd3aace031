"""The server's half: requests become calls.

The hot path is `_burst`: a known header block, then one DATA frame that holds the whole message and ends the stream,
which is what every unary call of every client looks like; and one DATA frame that holds one message of a stream that is
open, shorter still if it is one that the client sends again and again (repeats.py). Everything else goes the general
way through Connection, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from kvstore.errors import Code
from kvstore.wire.grpc import metadata
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.messages import HEAD_AND_PREFIX, PREFIX_SIZE
from kvstore.wire.grpc.methods import Methods
from kvstore.wire.grpc.repeats import Repeat
from kvstore.wire.grpc.request import RequestHead
from kvstore.wire.grpc.timeouts import seconds
from kvstore.wire.h2 import frames, settings
from kvstore.wire.h2.connection import Connection
from kvstore.wire.h2.errors import ConnectionFault, ErrorCode, StreamFault
from kvstore.wire.h2.fields import trailer_fault
from kvstore.wire.h2.frames import DEFAULT_MAX_FRAME, END_HEADERS, END_STREAM, MAX_STREAM_ID, FrameType
from kvstore.wire.h2.header_cache import HeaderDecoder
from kvstore.wire.h2.settings import Setting
from kvstore.wire.h2.stream import Stream
from kvstore.wire.http import HttpHandler
from kvstore.wire.http2 import HttpStream
from kvstore.wire.limits import Limits

_unpack_both = HEAD_AND_PREFIX.unpack_from
_SKIPPED_RANGES = 64


class ServerConnection(Connection):
    """One client's connection.

    peer: the client's address; methods: what may be called; deadlines: shared by the server's connections;
    http: answers what is not gRPC; without it that is refused.
    """

    is_server = True
    # The common name in the client's certificate, once it was verified.
    common_name = ""

    def __init__(
        self,
        limits: Limits,
        wake: Callable[[], None],
        now: float,
        *,
        methods: Methods,
        deadlines: Deadlines,
        peer: str = "",
        max_message: int = 2 * 1024 * 1024,
        http: HttpHandler | None = None,
    ) -> None:
        super().__init__(limits, wake, now)
        self.http = http
        self.peer = peer
        self.methods = methods
        self.deadlines = deadlines
        self.max_message = max_message
        # The longest DATA payload that the hot path takes.
        self._hot_size = min(DEFAULT_MAX_FRAME, max_message + PREFIX_SIZE)
        # Octets of unfinished messages, over all calls.
        self.partial = 0
        self.headers = HeaderDecoder(
            partial(RequestHead, methods=methods), max_list=limits.max_header_list, volatile=b"grpc-timeout"
        )
        # By their frames; and how much of a stream's window they may take, from where the general way gives it back.
        self.repeats: dict[bytes, Repeat] = {}
        self.repeat_window = limits.stream_window // 2
        self._preface_done = False
        # Calls of this burst that came with a grpc-timeout.
        self._timed: list[Call] = []
        # Streams above this are refused: the last one before our GOAWAY.
        self._accept_until = MAX_STREAM_ID
        # Stream numbers the client jumped over, as (first, last): they were never opened.
        self._skipped: list[tuple[int, int]] = []
        self._send_settings()

    def _send_settings(self) -> None:
        limits = self.limits
        values: dict[int, int] = {
            # No table on the client's side: see header_cache.
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
            Setting.MAX_FRAME_SIZE: limits.max_frame,
            Setting.MAX_HEADER_LIST_SIZE: limits.max_header_list,
        }
        self.write(frames.frame(FrameType.SETTINGS, 0, 0, settings.encode(values)))
        self.write(frames.window_update(0, limits.connection_window - frames.DEFAULT_WINDOW))

    def _settings_acknowledged(self) -> None:
        self.headers.allow_table(0)

    def is_idle(self, stream_id: int) -> bool:
        """We open none; the client opens odd ones, upwards."""
        return stream_id > self.last_stream or not stream_id & 1

    def _skip_preface(self, data: bytes) -> int:
        if self._preface_done:
            return 0
        if len(data) < len(frames.PREFACE):
            if not frames.PREFACE.startswith(data):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 preface")
            return 0
        if not data.startswith(frames.PREFACE):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 preface")
        self._preface_done = True
        return len(frames.PREFACE)

    def _frames(self, data: bytes, at: int) -> int:
        return super()._frames(data, at) if self._preface_done else at

    def _burst(self, data: bytes, at: int, end: int) -> int:
        # Hot: locals for everything, and one frame at a time, because clients send the HEADERS of several calls
        # before their DATA. Whatever is not the plain shape is left to the general way, nothing of it done yet.
        known = self.headers.known
        cut = self.headers.cut
        streams = cast("dict[int, Call]", self.streams)
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
                streams[stream_id] = fresh = Call(self, stream_id, head, timeout)
                if head.length >= 0:
                    fresh.length_left = head.length
                method.started += 1
                if timeout is not None:
                    self._timed.append(fresh)
            else:
                break
        if run:
            run[0].serve(run)
        if calls:
            self._serve(calls, messages)
        return at

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

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the client, at time `now` (seconds, monotonic)."""
        # Hot: mostly nothing was left over, and nothing will be.
        if self.settled and not self._rest and self._block is None and self.failed is None:
            self.now = self._last_heard = now
            self._awake = True
            end = len(data)
            done = self._burst(data, 0, end)
            if done < end:
                super().receive(data[done:], now)
        else:
            super().receive(data, now)
        if self._timed:
            timed, self._timed = self._timed, []
            self.deadlines.watch(timed, now)

    def _time(self, call: Call, value: bytes) -> None:
        try:
            call.timeout = metadata.parse_timeout(value)
        except ValueError:
            call.fail(Code.INTERNAL, "malformed grpc-timeout")
        else:
            self._timed.append(call)

    def _skip_to(self, stream_id: int) -> None:
        first = self.last_stream + 2 if self.last_stream else 1
        if first < stream_id and len(self._skipped) < _SKIPPED_RANGES:
            self._skipped.append((first, stream_id - 2))

    def _fields(self, stream_id: int, block: bytes, ends: bool, fault: str) -> None:
        head, late = self.headers.decode(block)
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"client opened stream {stream_id}")
        if stream_id <= self.last_stream:
            self._trailers(stream_id, head, ends)
            return
        self._skip_to(stream_id)
        self.last_stream = stream_id
        if stream_id > self._accept_until:
            self._resets[stream_id] = None
            return
        if fault or head.fault:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, fault or head.fault)
        if len(self.streams) >= self.limits.max_concurrent_streams:
            raise StreamFault(stream_id, ErrorCode.REFUSED_STREAM, "too many concurrent streams")
        self._open(stream_id, head, late, ends)

    def _trailers(self, stream_id: int, head: RequestHead, ends: bool) -> None:
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            if stream_id in self._resets:
                return
            if any(first <= stream_id <= last for first, last in self._skipped):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that was jumped over")
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
        if not ends or trailer_fault(head.fields):
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "malformed trailers")
        stream.take(b"", 0, True)

    def _open(self, stream_id: int, head: RequestHead, late: bytes | None, ends: bool) -> None:
        if self.http is not None and not head.is_grpc:
            stream: Stream = HttpStream(self, stream_id, head)
            self.streams[stream_id] = stream
        else:
            stream = self._open_call(stream_id, head, late)
        if stream.ended:
            return
        if head.length >= 0:
            stream.length_left = head.length
        if ends:
            stream.take(b"", 0, True)

    def _open_call(self, stream_id: int, head: RequestHead, late: bytes | None) -> Call:
        call = Call(self, stream_id, head, None)
        self.streams[stream_id] = call
        if head.method is not None:
            head.method.started += 1
        if late is not None:
            self._time(call, late)
        if call.closed:
            return call
        if head.method is not None:
            call.start()
        elif head.http_method != b"POST":
            call.refuse_http(b"405")
        elif not head.is_grpc:
            call.refuse_http(b"415")
        else:
            call.fail(Code.UNIMPLEMENTED, self.methods.refusal(head.path))
        return call

    def check_partial(self, call: Call) -> None:
        """A call holds an unfinished message: refuse it if all of them together are too much."""
        if self.partial > max(self.limits.max_partial, self.max_message):
            call.fail(Code.RESOURCE_EXHAUSTED, "grpc: too many unfinished messages on this connection")

    # Leaving.

    def leave(self) -> None:
        """Take no new calls; those that run may finish. The client hears of it twice, a round trip apart (RFC 9113
        section 6.8).
        """
        if not self._leaving and self.failed is None:
            self._leaving = True
            self.write(frames.goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR))
            self.write(frames.ping(b"fluyt-go"))

    def _pong(self, payload: bytes) -> None:
        if payload == b"fluyt-go" and self._leaving:
            self._told = True
            self._accept_until = self.last_stream
            self.write(frames.goaway(self.last_stream, ErrorCode.NO_ERROR))
