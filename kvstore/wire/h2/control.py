"""Frames about the connection and the state of its streams, receive windows, and what time does to a connection.

Each handler takes (flags, stream id, payload) of a frame whose size and place have been checked by Connection's rules.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from kvstore.wire.h2 import frames, settings
from kvstore.wire.h2.budget import Budget
from kvstore.wire.h2.errors import ConnectionFault, ErrorCode, StreamFault
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.h2.output import Output
from kvstore.wire.h2.settings import Setting
from kvstore.wire.limits import Limits

_MASK = frames.MAX_STREAM_ID
# An unknown code of the peer's is INTERNAL_ERROR (RFC 9113 section 7).
_CODES = {int(code): code for code in ErrorCode}
# A peer that has more than max_unsent to read, and takes nothing of it for so many seconds, is cut off.
_PATIENCE = 5.0
_BUDGETS = ("resets", "settings", "pings", "priorities", "empty_data", "stream_errors")


class Control(Output):
    """Invariant: 0 <= recv_left <= connection_window."""

    def __init__(self, limits: Limits, wake: Callable[[], None], now: float) -> None:
        super().__init__(limits, wake, now)
        self.peer_max_streams = frames.MAX_WINDOW
        self.recv_left = limits.connection_window
        # The peer's SETTINGS are here.
        self.settled = False
        self._recv_low = limits.connection_window // 2
        self._born = now
        self._last_heard = now
        self._last_busy = now
        self._seen_stream = 0
        self._ping_sent: float | None = None
        self._budgets = {kind: Budget(getattr(limits, kind)) for kind in _BUDGETS}

    def _spend(self, kind: str) -> None:
        if not self._budgets[kind].spend(self.now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {kind.replace('_', ' ')}")

    def is_idle(self, stream_id: int) -> bool:
        """Whether nobody has opened that stream yet."""
        raise NotImplementedError

    def is_over(self, stream_id: int) -> bool:
        """Whether what still comes on that stream, which is in `streams` no more, is no fault of the peer's."""
        return stream_id in self._resets

    def _not_idle(self, stream_id: int, kind: str) -> None:
        if self.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{kind} on idle stream {stream_id}")

    def took(self, size: int) -> None:
        """Octets of DATA came: count them, and give the window back in large pieces."""
        self.recv_left -= size
        if self.recv_left < self._recv_low:
            if self.recv_left < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
            self.write(frames.window_update(0, self.limits.connection_window - self.recv_left))
            self.recv_left = self.limits.connection_window

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
        elif identifier == Setting.HEADER_TABLE_SIZE:
            self.reduce_table(value)
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
        if not self.settled and limits.handshake_timeout and now - self._born > limits.handshake_timeout:
            self.doom(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS in time")
        elif now - self.last_progress > self._patience() and self._stalled():
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

    def _patience(self) -> float:
        """Seconds that what is sent may stand still. What a client has to say is its caller's memory, and its own."""
        longest = self.limits.stall_timeout or inf
        return min(longest, _PATIENCE) if self.is_server and self.unsent > self.limits.max_unsent else longest

    def _stalled(self) -> bool:
        # A stream whose own window is shut may wait for ever (a watcher that looks away); a finished answer may not.
        finished = (stream.local_closed for stream in self.streams.values() if stream.buffered)
        return self.held or (self.unsent > 0 and any(finished))
