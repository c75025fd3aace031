"""What both halves of an HTTP/2 connection share: the frame loop, control frames, flow control, limits (RFC 9113).

Purpose: bytes come in through `receive`, bytes leave through `take_output`; streams learn what concerns them by
method calls.
Invariants: 0 <= recv_left <= connection_window; `unsent` is the sum of all streams' queues; a stream with a queue is
in `ready` unless its own window is shut; once `failed` is set nothing more is read, and every stream has been
aborted.
Faults assumed: the peer may send anything at all, at any speed, and may stop reading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kvstore.wire.h2 import frames, settings
from kvstore.wire.h2.budget import Budget
from kvstore.wire.h2.errors import ConnectionFault, ErrorCode, StreamFault
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.h2.settings import Setting
from kvstore.wire.h2.stream import Buffer, Stream
from kvstore.wire.limits import Limits

_MASK = frames.MAX_STREAM_ID
_unpack_head = frames.HEAD.unpack_from
# Octets of queued DATA handed out in one turn, so that a large response holds neither the loop nor the other streams.
_TURN = 512 * 1024
_DEFAULT_TABLE = settings.DEFAULTS[Setting.HEADER_TABLE_SIZE]
# Streams that we reset: what the peer sent before it learned of that is dropped without a word.
_REMEMBERED_RESETS = 1024


# An unknown code of the peer's is INTERNAL_ERROR (RFC 9113 section 7).
_CODES = {int(code): code for code in ErrorCode}


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


class Connection:
    """One end of a connection. `wake()` is called when there is output and no `receive` is running that would end with
    it.
    """

    is_server = False

    def __init__(self, limits: Limits, wake: Callable[[], None], now: float) -> None:
        self.limits = limits
        self.born = self.now = now
        self.streams: dict[int, Stream] = {}
        # Streams with something queued that only the connection's window, the turn or a slow peer holds back.
        self.ready: dict[int, Stream] = {}
        self.unsent = 0
        # The transport cannot take more now.
        self.held = False
        # Hot paths must not write blocks or DATA by themselves: held, or the next block begins with a table update.
        self.careful = False
        self._table_update = b""
        self.send_window = frames.DEFAULT_WINDOW
        self.peer_window = frames.DEFAULT_WINDOW
        self.peer_max_frame = frames.DEFAULT_MAX_FRAME
        self.peer_max_streams = frames.MAX_WINDOW
        self.recv_left = limits.connection_window
        self.failed: ConnectionFault | None = None
        self.settled = False
        # After a graceful end: nothing is left to do here.
        self.finished = False
        self.last_progress = now
        # The highest stream opened.
        self.last_stream = 0
        self._seen_stream = 0
        self._last_busy = now
        self._recv_low = limits.connection_window // 2
        self._wake = wake
        # leave() was called; the peer is known to have heard of it.
        self._leaving = False
        self._told = False
        self._awake = False
        self._doom: ConnectionFault | None = None
        self._out: list[Buffer] = []
        self._rest = b""
        self._turn_left = _TURN
        self._block: _Block | None = None
        self._resets: dict[int, None] = {}
        self._last_heard = now
        self._table_reduced = False
        self._ping_sent: float | None = None
        self._budgets = {
            kind: Budget(getattr(limits, kind))
            for kind in ("resets", "settings", "pings", "priorities", "empty_data", "stream_errors")
        }

    # Output.

    def write(self, data: Buffer) -> None:
        """Queue whole frames for the transport."""
        self._out.append(data)
        if not self._awake:
            self._awake = True
            self._wake()

    def write_data(self, stream_id: int, parts: list[Buffer], size: int) -> None:
        """Queue DATA frames with these octets; the windows have been asked."""
        self.send_window -= size
        limit = self.peer_max_frame
        if size <= limit:
            self.write(frames.head(size, FrameType.DATA, 0, stream_id))
            self._out.extend(parts)
            return
        # Longer than a frame: cut without copying.
        whole = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))
        for at in range(0, size, limit):
            piece = whole[at : at + limit]
            self.write(frames.head(len(piece), FrameType.DATA, 0, stream_id))
            self._out.append(piece)

    def write_block(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        """Queue a header block, which must not use the dynamic table."""
        if self._table_update:
            block, self._table_update = self._table_update + block, b""
            self.careful = self.held
        self.write(frames.headers(stream_id, block, self.peer_max_frame, end_stream=end_stream))

    def write_end(self, stream_id: int, trailers: bytes) -> None:
        """Queue the end of a stream: these trailers, or an empty DATA if there are none."""
        if trailers:
            self.write_block(stream_id, trailers, end_stream=True)
        else:
            self.write(frames.frame(FrameType.DATA, frames.END_STREAM, stream_id, b""))

    def take_output(self) -> list[Buffer]:
        """What is to be written now; afterwards `wake` will be called again for new output."""
        if self._doom is not None and self.failed is None:
            self._fail(self._doom)
        self._turn_left = _TURN
        out, self._out = self._out, []
        self._awake = False
        if self._leaving and not self.streams and self._told:
            self.finished = True
        return out

    def pump(self) -> None:
        """Send what windows, transport and turn allow, one frame a stream in rotation."""
        ready = self.ready
        while ready and not self.held and self.send_window > 0 and self._turn_left > 0:
            stream_id = next(iter(ready))
            stream = ready.pop(stream_id)
            sent = stream.pump(min(self.send_window, self._turn_left))
            self._turn_left -= sent
            self.unsent -= sent
            if sent:
                self.last_progress = self.now
            if not stream.buffered:
                stream.drained()
            elif sent:
                ready[stream_id] = stream

    @property
    def has_more(self) -> bool:
        """Queued data that only the turn held back: pump again in the next loop turn."""
        return bool(self.ready) and not self.held and self.send_window > 0 and self.failed is None

    def queued(self, stream: Stream, size: int) -> None:
        """A stream queued that many octets."""
        if self.unsent > self.limits.max_unsent:
            self.doom(ErrorCode.ENHANCE_YOUR_CALM, "peer does not read what it asked for")
        if not self.unsent:
            self.last_progress = self.now
        self.unsent += size
        self.ready[stream.stream_id] = stream
        self.pump()

    def doom(self, code: ErrorCode, reason: str) -> None:
        """Fail the connection, but not inside the call that found the reason: at the next output."""
        if self._doom is None:
            self._doom = ConnectionFault(code, reason)
            if not self._awake:
                self._awake = True
                self._wake()

    def hold(self) -> None:
        """The transport's buffer is full."""
        self.held = self.careful = True

    def release(self) -> None:
        """The transport takes data again."""
        self.held = False
        self.careful = bool(self._table_update)
        self.last_progress = self.now
        self.pump()

    # Input.

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the peer, at time `now` (seconds, monotonic)."""
        if self.failed is not None:
            return
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
            return
        if done < len(data):
            self._rest = data[done:]

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

    def _spend(self, kind: str) -> None:
        if not self._budgets[kind].spend(self.now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {kind.replace('_', ' ')}")

    # Failure.

    def _stream_fault(self, fault: StreamFault) -> None:
        self._spend("stream_errors")
        stream = self.streams.get(fault.stream_id)
        self.reset(fault.stream_id, fault.code)
        if stream is not None:
            stream.on_abort(fault.code, fault.reason)

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """Send RST_STREAM and forget the stream, without telling it."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.forget(stream)
        self._resets[stream_id] = None
        if len(self._resets) > _REMEMBERED_RESETS:
            del self._resets[next(iter(self._resets))]
        self.write(frames.rst_stream(stream_id, code))

    def forget(self, stream: Stream) -> None:
        """The stream has ended."""
        stream.ended = True
        self.streams.pop(stream.stream_id, None)
        if stream.buffered:
            self.ready.pop(stream.stream_id, None)
            self.unsent -= stream.drop_queue()

    def _fail(self, fault: ConnectionFault) -> None:
        self.failed = fault
        self.write(frames.goaway(self.last_stream if self.is_server else 0, fault.code, fault.reason.encode()))
        self.lost(fault.reason)

    def lost(self, reason: str) -> None:
        """The connection has gone: every stream ends."""
        if self.failed is None:
            self.failed = ConnectionFault(ErrorCode.NO_ERROR, reason)
        for stream in list(self.streams.values()):
            self.forget(stream)
            stream.on_abort(ErrorCode.CANCEL, reason)

    def is_idle(self, stream_id: int) -> bool:
        """Whether nobody has opened that stream yet."""
        raise NotImplementedError

    def _not_idle(self, stream_id: int, kind: str) -> None:
        if self.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{kind} on idle stream {stream_id}")

    # Frames, by name in _RULES.

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._not_idle(stream_id, "DATA")
        size = len(payload)
        self.took(size)
        if flags & frames.PADDED:
            payload = _unpad(payload)
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            if stream_id in self._resets:
                return
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "DATA on a closed stream")
        ends = bool(flags & frames.END_STREAM)
        if not payload and not ends:
            self._spend("empty_data")
        stream.take(payload, size, ends)

    def took(self, size: int) -> None:
        """Octets of DATA came: count them, and give the window back in large pieces."""
        self.recv_left -= size
        if self.recv_left < self._recv_low:
            if self.recv_left < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
            self.write(frames.window_update(0, self.limits.connection_window - self.recv_left))
            self.recv_left = self.limits.connection_window

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

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._spend("priorities")
        if len(payload) != 5:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY is not 5 octets")
        if frames.UINT32.unpack_from(payload)[0] & _MASK == stream_id:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "stream depends on itself")

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._not_idle(stream_id, "RST_STREAM")
        self._spend("resets")
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.forget(stream)
            code = _CODES.get(frames.UINT32.unpack(payload)[0], ErrorCode.INTERNAL_ERROR)
            stream.on_abort(code, "reset by the peer")

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._spend("settings")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload")
            if not self.settled:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame acknowledges SETTINGS")
            self._settings_acknowledged()
            return
        for identifier, value in settings.decode(payload):
            self._apply(identifier, value)
        self.settled = True
        self.write(frames.frame(FrameType.SETTINGS, frames.ACK, 0, b""))
        self.pump()

    def _settings_acknowledged(self) -> None:
        """The peer has our settings."""

    def _apply(self, identifier: int, value: int) -> None:
        if identifier == Setting.INITIAL_WINDOW_SIZE:
            self.peer_window = value
            if any(stream.send_window > frames.MAX_WINDOW for stream in self.streams.values()):
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE overflows a stream's window")
            self.ready.update((number, stream) for number, stream in self.streams.items() if stream.buffered)
        elif identifier == Setting.HEADER_TABLE_SIZE and value < _DEFAULT_TABLE and not self._table_reduced:
            # We use no table, but a smaller one must be acknowledged in the next block (RFC 7541 section 4.2); 0
            # suits any.
            self._table_reduced = self.careful = True
            self._table_update = b"\x20"
        elif identifier == Setting.MAX_FRAME_SIZE:
            self.peer_max_frame = value
        elif identifier == Setting.MAX_CONCURRENT_STREAMS:
            self.peer_max_streams = value

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE")

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & frames.ACK:
            self._ping_sent = None
            self._pong(payload)
            return
        self._spend("pings")
        self.write(frames.ping(payload, ack=True))

    def _pong(self, payload: bytes) -> None:
        """The peer answered a PING of ours."""

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        last, code = frames.UINT32.unpack_from(payload)[0] & _MASK, frames.UINT32.unpack_from(payload, 4)[0]
        self.on_goaway(last, code, payload[8:])

    def on_goaway(self, last: int, code: int, debug: bytes) -> None:
        """The peer will not handle streams of ours above `last`."""

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        increment = frames.UINT32.unpack(payload)[0] & _MASK
        if not stream_id:
            self._widen(increment)
            return
        self._not_idle(stream_id, "WINDOW_UPDATE")
        stream = self.streams.get(stream_id)
        if not increment:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        if stream is None:
            return
        stream.window_delta += increment
        if stream.send_window > frames.MAX_WINDOW:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE overflows the window")
        if stream.buffered:
            self.ready[stream_id] = stream
            self.pump()

    def _widen(self, increment: int) -> None:
        self.send_window += increment
        if not increment:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        if self.send_window > frames.MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE overflows the window")
        self.pump()

    # Time.

    def tick(self, now: float) -> None:
        """Called about once a second: handshake, keepalive and stalls. `failed` tells whether the connection ended."""
        self.now = now
        limits = self.limits
        if not self.settled and limits.handshake_timeout and now - self.born > limits.handshake_timeout:
            self.doom(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS in time")
        elif (
            self.unsent and limits.stall_timeout and self._stalled() and now - self.last_progress > limits.stall_timeout
        ):
            self.doom(ErrorCode.ENHANCE_YOUR_CALM, "peer does not read what it asked for")
        elif self._idle(now):
            self.doom(ErrorCode.NO_ERROR, "idle")
        elif self._ping_sent is not None and now - self._ping_sent > limits.keepalive_timeout:
            self.doom(ErrorCode.NO_ERROR, "keepalive ping was not answered")
        elif (
            self._ping_sent is None and limits.keepalive_interval and now - self._last_heard > limits.keepalive_interval
        ):
            self._ping_sent = now
            self.write(frames.ping(b"fluyt-ka"))

    def _idle(self, now: float) -> bool:
        """No call for idle_timeout. Streams may come and go between two ticks, so their numbers are looked at too."""
        if self.streams or self.last_stream != self._seen_stream:
            self._last_busy = now
            self._seen_stream = self.last_stream
        return bool(self.limits.idle_timeout) and now - self._last_busy > self.limits.idle_timeout

    def _stalled(self) -> bool:
        # A stream whose own window is shut may wait for ever (a watcher that looks away); a finished answer may not.
        return self.held or any(stream.local_closed for stream in self.streams.values() if stream.buffered)


def _unpad(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]
