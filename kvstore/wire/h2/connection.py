"""The frame loop that both halves of an HTTP/2 connection share: what may come when, DATA and header blocks (RFC 9113).

Purpose: bytes come in through `receive`, bytes leave through `take_output`; streams learn what concerns them by method
calls. Output knows what is sent, Control the frames about the connection itself.
Invariants: at most one unfinished frame and one unfinished header block are kept; once `failed` is set nothing more is
read.
Faults assumed: the peer may send anything at all, in any pieces and at any speed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kvstore.wire.h2 import frames
from kvstore.wire.h2.control import Control
from kvstore.wire.h2.errors import ConnectionFault, ErrorCode, StreamFault
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.limits import Limits

_MASK = frames.MAX_STREAM_ID
_unpack_head = frames.HEAD.unpack_from


class _Rule(NamedTuple):
    """What a frame type requires: on a stream or on the connection (None: either), and its payload's length."""

    method: str
    on_stream: bool | None
    shortest: int = 0
    exact: bool = False


_RULES: dict[int, _Rule] = {
    FrameType.DATA: _Rule("_data", True),
    FrameType.HEADERS: _Rule("_headers", True),
    FrameType.PRIORITY: _Rule("_priority", True),
    FrameType.RST_STREAM: _Rule("_rst_stream", True, 4, exact=True),
    FrameType.SETTINGS: _Rule("_settings", False),
    FrameType.PUSH_PROMISE: _Rule("_push_promise", True),
    FrameType.PING: _Rule("_ping", False, 8, exact=True),
    FrameType.GOAWAY: _Rule("_goaway", False, 8),
    FrameType.WINDOW_UPDATE: _Rule("_window_update", None, 4, exact=True),
    FrameType.CONTINUATION: _Rule("_continuation", True),
}


class _Block:
    """A header block of which frames are still to come."""

    __slots__ = ("data", "end_stream", "fault", "pieces", "stream_id")

    def __init__(self, stream_id: int, end_stream: bool, data: bytes, fault: str) -> None:
        self.stream_id = stream_id
        self.end_stream = end_stream
        self.data = bytearray(data)
        self.pieces = 0
        self.fault = fault


class Connection(Control):
    """One end of a connection; see Output for `wake`."""

    def __init__(self, limits: Limits, wake: Callable[[], None], now: float) -> None:
        super().__init__(limits, wake, now)
        # Of a frame that is not complete: at most one frame's octets.
        self._rest = b""
        self._block: _Block | None = None

    def receive(self, data: bytes, now: float) -> bool:
        """Bytes from the peer, at time `now` (seconds, monotonic). False if they led to nothing that is to be sent."""
        if self.failed is not None:
            return True
        self.now = self._last_heard = now
        # No wake while we read: whoever called us takes the output afterwards.
        self._awake = True
        if self._rest:
            data = self._rest + data
            self._rest = b""
        try:
            done = self._frames(data, self._skip_preface(data))
        except ConnectionFault as fault:
            self._fail(fault)
            return True
        if done < len(data):
            self._rest = data[done:]
        return True

    def _skip_preface(self, data: bytes) -> int:
        return 0

    def _burst(self, data: bytes, at: int, end: int) -> int:
        """Handle as many frames of the half's hot shape as stand at `at`; the offset behind them."""
        return at

    def _frames(self, data: bytes, at: int) -> int:
        end = len(data)
        while self.failed is None and end - at >= frames.HEAD_SIZE:
            if self.settled and self._block is None:
                at = self._burst(data, at, end)
                if end - at < frames.HEAD_SIZE:
                    break
            word, flags, stream_id = _unpack_head(data, at)
            stop = at + frames.HEAD_SIZE + (word >> 8)
            if word >> 8 > self.limits.max_frame:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame is larger than SETTINGS_MAX_FRAME_SIZE")
            if stop > end:
                break
            payload = data[at + frames.HEAD_SIZE : stop]
            at = stop
            try:
                self._frame(word & 0xFF, flags, stream_id & _MASK, payload)
            except StreamFault as fault:
                self._stream_fault(fault)
        return at

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != FrameType.CONTINUATION or stream_id != self._block.stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "header block was interrupted")
        if not self.settled and kind != FrameType.SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        rule = _RULES.get(kind)
        if rule is None:
            return
        if rule.on_stream is not None and rule.on_stream != bool(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{FrameType(kind).name} on stream {stream_id}")
        if len(payload) < rule.shortest or (rule.exact and len(payload) != rule.shortest):
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{FrameType(kind).name} of {len(payload)} octets")
        getattr(self, rule.method)(flags, stream_id, payload)

    # Failure.

    def _stream_fault(self, fault: StreamFault) -> None:
        self._spend("stream_errors")
        stream = self.streams.get(fault.stream_id)
        self.reset(fault.stream_id, fault.code)
        if stream is not None:
            stream.on_abort(fault.code, fault.reason)

    # Frames, by name in _RULES.

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._not_idle(stream_id, "DATA")
        size = len(payload)
        self.took(size)
        if flags & frames.PADDED:
            payload = _unpad(payload)
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            if stream is None and self.is_over(stream_id):
                return
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "DATA on a closed stream")
        ends = bool(flags & frames.END_STREAM)
        if not payload and not ends:
            self._spend("empty_data")
        stream.take(payload, size, ends)

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = _unpad(payload)
        fault = ""
        if flags & frames.PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without room for its priority")
            if frames.UINT32.unpack_from(payload)[0] & _MASK == stream_id:
                fault = "stream depends on itself"
            payload = payload[5:]
        block = _Block(stream_id, bool(flags & frames.END_STREAM), payload, fault)
        self._add_to_block(block, flags)

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        block.data += payload
        block.pieces += 1
        self._add_to_block(block, flags)

    def _add_to_block(self, block: _Block, flags: int) -> None:
        limits = self.limits
        if len(block.data) > limits.max_header_block or block.pieces > limits.max_continuations:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block is too long")
        if not flags & frames.END_HEADERS:
            self._block = block
            return
        self._block = None
        self._fields(block.stream_id, bytes(block.data), block.end_stream, block.fault)

    def _fields(self, stream_id: int, block: bytes, ends: bool, fault: str) -> None:
        """A whole header block came. It must be decoded, whatever is wrong with the stream."""
        raise NotImplementedError


def _unpad(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]
