"""The server's half: requests become calls. What nearly all of them look like is read by burst.py; everything else goes
the general way, through Connection and the methods here, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.errors import Code
from kvstore.wire.grpc import metadata
from kvstore.wire.grpc.burst import Burst
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.methods import Methods
from kvstore.wire.grpc.request import RequestHead
from kvstore.wire.h2 import frames, settings
from kvstore.wire.h2.errors import ConnectionFault, ErrorCode, StreamFault
from kvstore.wire.h2.fields import trailer_fault
from kvstore.wire.h2.frames import MAX_STREAM_ID, FrameType
from kvstore.wire.h2.settings import Setting
from kvstore.wire.h2.stream import Stream
from kvstore.wire.http import HttpHandler
from kvstore.wire.http2 import HttpStream
from kvstore.wire.limits import Limits


class ServerConnection(Burst):
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
        super().__init__(limits, wake, now, methods=methods, deadlines=deadlines, max_message=max_message)
        self.http = http
        self.peer = peer
        self.methods = methods
        self.max_message = max_message
        # Octets of unfinished messages and bodies, over all streams.
        self.partial = 0
        self._preface_done = False
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

    def _time(self, call: Call, value: bytes) -> None:
        try:
            call.timeout = metadata.parse_timeout(value)
        except ValueError:
            call.fail(Code.INTERNAL, "malformed grpc-timeout")
        else:
            self._timed.append(call)

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

    @property
    def holds_too_much(self) -> bool:
        """Whether all unfinished messages and bodies together are more than a connection may have."""
        return self.partial > max(self.limits.max_partial, self.max_message)

    def check_partial(self, call: Call) -> None:
        """A call holds an unfinished message: refuse it if all of them together are too much."""
        if self.holds_too_much:
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
