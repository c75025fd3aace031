"""What a connection sends: frames in order, DATA within the windows and in turns, and how its streams end.

Invariants: `unsent` is the sum of all streams' queues; a stream with a queue is in `ready` unless its own window is
shut; once `failed` is set every stream has been aborted.
Faults assumed: the peer may stop reading, at any time and for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.wire.h2 import frames, settings
from kvstore.wire.h2.errors import ConnectionFault, ErrorCode
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.h2.settings import Setting
from kvstore.wire.h2.stream import Buffer, Stream
from kvstore.wire.limits import Limits

# Octets of queued DATA handed out in one turn, so that a large response holds neither the loop nor the other streams.
_TURN = 512 * 1024
# Streams that we reset: what the peer sent before it learned of that is dropped without a word.
_REMEMBERED_RESETS = 1024


def _nobody() -> None:
    """Woken for the output of a connection that has no transport (any more)."""


class Output:
    """The sending side. `wake()` is called when there is output and no `receive` is running that would end with it.

    flush: hands the output to the transport at once; whoever owns the transport sets it.
    """

    is_server = False
    # Of more ready streams than these the first is sent whole before the others.
    abreast: int = frames.MAX_STREAM_ID

    def __init__(self, limits: Limits, wake: Callable[[], None], now: float) -> None:
        self.limits = limits
        self.now = now
        self.streams: dict[int, Stream] = {}
        # Streams with something queued that only the connection's window, the turn or a slow peer holds back.
        self.ready: dict[int, Stream] = {}
        self.unsent = 0
        # When queued DATA last moved.
        self.last_progress = now
        # The transport cannot take more now.
        self.held = False
        # Hot paths must not write blocks or DATA by themselves: held, or the next block begins with a table update.
        self.careful = False
        self.send_window = frames.DEFAULT_WINDOW
        self.peer_window = frames.DEFAULT_WINDOW
        self.peer_max_frame = frames.DEFAULT_MAX_FRAME
        # The highest stream that was opened.
        self.last_stream = 0
        self.failed: ConnectionFault | None = None
        # After a graceful end: nothing is left to do here.
        self.finished = False
        # leave() was called; the peer is known to have heard of it.
        self._leaving = False
        self._told = False
        self._table_update = b""
        self._table_reduced = False
        self.flush: Callable[[], None] = _nobody
        self._wake = wake
        self._awake = False
        self._doom: ConnectionFault | None = None
        self._out: list[Buffer] = []
        self._turn_left = _TURN
        self._resets: dict[int, None] = {}

    def hush(self) -> None:
        """Wake nobody for what is queued now: the caller takes the output itself, before anything else happens."""
        self._awake = True

    def write(self, data: Buffer) -> None:
        """Queue whole frames for the transport."""
        self._out.append(data)
        if not self._awake:
            self._awake = True
            self._wake()

    def write_now(self, data: Buffer) -> None:
        """write(), and it leaves before whatever else this turn of the loop does."""
        self._awake = True
        self._out.append(data)
        self.flush()

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
            stream = ready[stream_id]
            sent = stream.pump(min(self.send_window, self._turn_left))
            self._turn_left -= sent
            self.unsent -= sent
            if sent:
                self.last_progress = self.now
                if len(ready) > self.abreast and stream.buffered:
                    continue
            del ready[stream_id]
            if not stream.buffered:
                stream.drained()
            elif sent:
                ready[stream_id] = stream

    @property
    def has_more(self) -> bool:
        """Queued data that only the turn held back: pump again in the next loop turn."""
        return bool(self.ready) and not self.held and self.send_window > 0 and self.failed is None

    def queued(self, stream: Stream, size: int) -> None:
        """A stream queued that many octets. What that says about the peer only time tells: see Control.tick."""
        before = self.unsent
        self.unsent = before + size
        # What a stream that nobody looks at has kept waiting is no reason to be short with the others.
        if not before or before <= self.limits.max_unsent < self.unsent:
            self.last_progress = self.now
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
        self.last_progress = self.now

    def release(self) -> None:
        """The transport takes data again."""
        self.held = False
        self.careful = bool(self._table_update)
        self.last_progress = self.now
        self.pump()

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
        if stream.on_drain is not None:
            stream.on_drain = None
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

    def abandon(self) -> None:
        """Nobody takes the output any more: forget it, and whoever was woken for it, who holds this connection."""
        self._wake = self.flush = _nobody
        self._out.clear()

    def reduce_table(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE. We use no table, but a smaller one must be acknowledged in the next
        block (RFC 7541 section 4.2); 0 suits any.
        """
        if size < settings.DEFAULTS[Setting.HEADER_TABLE_SIZE] and not self._table_reduced:
            self._table_reduced = self.careful = True
            self._table_update = b"\x20"
