"""The client's half: calls become streams, as many at once as the server allows; the others wait in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from kvstore.errors import Code, EtcdError
from kvstore.wire.grpc import metadata as grpc_metadata
from kvstore.wire.grpc.client_call import CallListener, ClientCall
from kvstore.wire.grpc.metadata import Field, MetadataValue
from kvstore.wire.grpc.response import ResponseHead
from kvstore.wire.grpc.status import literal, literal_block
from kvstore.wire.h2 import frames, settings
from kvstore.wire.h2.connection import Connection
from kvstore.wire.h2.errors import ConnectionFault, ErrorCode, StreamFault
from kvstore.wire.h2.frames import MAX_STREAM_ID, FrameType
from kvstore.wire.h2.header_cache import HeaderDecoder
from kvstore.wire.h2.settings import Setting
from kvstore.wire.limits import Limits

# Static table: 3 is ":method: POST", 6 ":scheme: http", 7 ":scheme: https".
_POST = b"\x83"
_SCHEME = {"http": b"\x86", "https": b"\x87"}
_CONTENT = literal_block([(b"content-type", b"application/grpc"), (b"te", b"trailers")])


class ClientConnection(Connection):
    """One connection to a server. authority: host:port, as the server is to see it; scheme: http or https."""

    # The server keeps what has come of every message: of hundreds of long ones, not all are to be begun at once.
    abreast = 32

    def __init__(
        self,
        limits: Limits,
        wake: Callable[[], None],
        now: float,
        *,
        authority: str,
        scheme: str = "http",
        max_message: int = 0x7FFF_FFFF,
    ) -> None:
        super().__init__(limits, wake, now)
        self.max_message = max_message
        self.headers = HeaderDecoder(ResponseHead, max_list=limits.max_header_list)
        self._fixed = _POST + _SCHEME[scheme] + literal(b":authority", authority.encode())
        self._next = 1
        self._waiting: deque[ClientCall] = deque()
        # The server said GOAWAY: no new calls.
        self.going = ""
        self._blocks: dict[str, bytes] = {}
        self._greet()

    def _greet(self) -> None:
        limits = self.limits
        values: dict[int, int] = {
            # A wish only: without a table, blocks repeat byte for byte. gRPC's core acknowledges it and still sends
            # the next block without having shrunk its table, so what it may hold is not checked.
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
            Setting.MAX_FRAME_SIZE: limits.max_frame,
            Setting.MAX_HEADER_LIST_SIZE: limits.max_header_list,
        }
        self.write(frames.PREFACE + frames.frame(FrameType.SETTINGS, 0, 0, settings.encode(values)))
        self.write(frames.window_update(0, limits.connection_window - frames.DEFAULT_WINDOW))

    def is_idle(self, stream_id: int) -> bool:
        """We open the odd ones; the server may not push."""
        return stream_id >= self._next or not stream_id & 1

    def is_over(self, stream_id: int) -> bool:
        """We cancel as many calls as our callers like, and the server may have answered them all by then."""
        return True

    # Calls.

    def open(
        self,
        path: str,
        metadata: Iterable[tuple[str, MetadataValue]],
        listener: CallListener,
        timeout: float | None,
    ) -> ClientCall:
        """A new call. EtcdError UNAVAILABLE if the connection takes none; ValueError for impossible metadata."""
        if self.failed is not None or self.going or self._next > MAX_STREAM_ID:
            reason = self.failed.reason if self.failed else self.going or "stream numbers are used up"
            raise EtcdError(Code.UNAVAILABLE, f"connection takes no calls: {reason}")
        call = ClientCall(self, listener, self._request_block(path, grpc_metadata.encode(metadata), timeout))
        self._waiting.append(call)
        self._start_waiting()
        return call

    def _request_block(self, path: str, fields: list[Field], timeout: float | None) -> bytes:
        block = self._blocks.get(path)
        if block is None:
            block = self._blocks[path] = self._fixed + literal(b":path", path.encode()) + _CONTENT
        if timeout is not None:
            block += literal(b"grpc-timeout", grpc_metadata.format_timeout(timeout))
        return block + literal_block(fields)

    def _start_waiting(self) -> None:
        while self._waiting and self.settled and len(self.streams) < self.peer_max_streams and not self.going:
            call = self._waiting.popleft()
            if not call.closed:
                self.last_stream = stream_id = self._next
                self._next += 2
                self.streams[stream_id] = call
                call.start(stream_id)

    def call_ended(self, call: ClientCall) -> None:
        """A stream may have become free."""
        if not call.stream_id and call in self._waiting:
            self._waiting.remove(call)
        self._start_waiting()
        if self.going and not self.streams:
            self.doom(ErrorCode.NO_ERROR, self.going)

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        super()._settings(flags, stream_id, payload)
        self._start_waiting()

    def _apply(self, identifier: int, value: int) -> None:
        if identifier == Setting.ENABLE_PUSH and value:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "server enables push")
        super()._apply(identifier, value)

    def _fields(self, stream_id: int, block: bytes, ends: bool, fault: str) -> None:
        head, _ = self.headers.decode(block)
        self._not_idle(stream_id, "HEADERS")
        call = self.streams.get(stream_id)
        if call is None:
            return
        if call.remote_closed:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
        assert isinstance(call, ClientCall)
        fault = fault or call.head_fault(head, ends)
        if fault:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, fault)
        call.remote_closed = ends
        call.on_head(head, ends)

    def on_goaway(self, last: int, code: int, debug: bytes) -> None:
        """The server leaves: calls it will not handle fail now, the others go on."""
        self.going = f"server is going away: {debug.decode('utf-8', 'replace')}" if debug else "server is going away"
        for stream_id, stream in list(self.streams.items()):
            if stream_id > last:
                self.forget(stream)
                stream.on_abort(ErrorCode.REFUSED_STREAM, self.going)
        self._refuse_waiting(self.going)
        if not self.streams:
            self.doom(ErrorCode.NO_ERROR, self.going)

    def _refuse_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.finish(Code.UNAVAILABLE, reason)

    def lost(self, reason: str) -> None:
        """The connection has gone: every call ends with UNAVAILABLE."""
        super().lost(reason)
        self._refuse_waiting(reason)
