"""One HTTP/2 stream: what it may still send, what waits for flow control, and how it ends (RFC 9113 section 5.1, 5.2).

Invariants: `unsent` is the sum of the queued buffers; `tail` is set only once the local side has nothing more to queue;
a stream is in its connection's `streams` exactly while `ended` is False.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvstore.wire.h2.errors import ErrorCode, StreamFault
from kvstore.wire.h2.frames import window_update

if TYPE_CHECKING:
    from kvstore.wire.h2.connection import Connection
    from kvstore.wire.h2.fields import Field

Buffer = bytes | memoryview
# More than this goes through the queue, where it takes turns with other streams.
_AT_ONCE = 64 * 1024


class Stream:
    """State both halves share. Rarely needed state is a class attribute until it is set: making a stream must cost
    nothing.
    """

    # Set from the first octet queued on.
    _queue: deque[Buffer] | None = None
    _unsent = 0
    # What ends the local side once the queue is empty: a block of trailers, or b"" for an empty DATA.
    _tail: bytes | None = None
    # What the peer may be sent: its INITIAL_WINDOW_SIZE plus this (updates received, less octets sent).
    window_delta = 0
    # Octets received and not yet given back with a WINDOW_UPDATE.
    _received = 0
    # Octets that content-length still promises; None if there was none.
    length_left: int | None = None
    # The peer has sent END_STREAM; we have (or have queued it).
    remote_closed = False
    local_closed = False
    # Nothing more happens: both sides closed, reset, or connection lost.
    ended = False
    # Everything is still to come, and one DATA frame may bring it all: see ServerConnection's hot path.
    fresh = False
    # Whoever waits for it often holds this stream in turn: forgotten when the stream ends, so that both go at once.
    on_drain: Callable[[], None] | None = None
    # pause() was called: the peer gets no more window on this stream.
    _paused = False

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id

    @property
    def buffered(self) -> int:
        """Octets that wait for flow control or for a slow peer."""
        return self._unsent

    @property
    def waits(self) -> bool:
        """Whether something is queued: what comes next must queue behind it."""
        return self._queue is not None

    @property
    def send_window(self) -> int:
        """Octets the peer allows on this stream now; negative after it lowered INITIAL_WINDOW_SIZE."""
        return self.connection.peer_window + self.window_delta

    # What a subclass learns.

    def on_fields(self, fields: list[Field]) -> None:
        """Trailers (or, for a client, response headers) came."""

    def on_data(self, data: bytes) -> None:
        """Octets of DATA came. They are given back to the peer's window when this returns."""

    def on_remote_end(self) -> None:
        """The peer will send no more on this stream."""

    def on_abort(self, code: ErrorCode, reason: str) -> None:
        """The stream ended before its time: reset by the peer, broken rules, or the connection went."""

    def on_sent(self) -> None:
        """The last of what was queued has left; called once, after the local side closed."""

    def hear(self, message: bytes, size: int) -> bool:
        """Take the message that a DATA frame of that size is, by a short way; False, and nothing done, if there is
        none now: see ServerConnection's hot path."""
        return False

    def take(self, payload: bytes, size: int, ends: bool) -> None:
        """DATA came: `payload` without padding, `size` with it."""
        self._received += size
        if self._received > self.connection.limits.stream_window:
            raise StreamFault(self.stream_id, ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
        self._count_length(len(payload), ends)
        if payload:
            self.on_data(payload)
        if self.ended:
            return
        if ends:
            self.end_remote()
        else:
            self._give_back()

    def _give_back(self) -> None:
        if not self._paused and self._received > self.connection.limits.stream_window // 2:
            self.connection.write(window_update(self.stream_id, self._received))
            self._received = 0

    def pause(self) -> None:
        """Let the peer send no more than one stream window, until resume(). What is on its way still comes."""
        self._paused = True

    def resume(self) -> None:
        """Undo pause()."""
        self._paused = False
        if not self.ended and not self.remote_closed:
            self._give_back()

    def _count_length(self, size: int, ends: bool) -> None:
        if self.length_left is not None:
            self.length_left -= size
            if self.length_left < 0 or (ends and self.length_left):
                raise StreamFault(self.stream_id, ErrorCode.PROTOCOL_ERROR, "content-length differs from the DATA")

    def end_remote(self) -> None:
        """The peer sent END_STREAM."""
        self.remote_closed = True
        if self.local_closed and self._queue is None:
            self.connection.forget(self)
        self.on_remote_end()

    def guard(self, step: Callable[[], None]) -> None:
        """Run a callback of the layer above, whose faults are its own and must not end the connection."""
        raise NotImplementedError

    # What a subclass does.

    def put_data(self, parts: list[Buffer], size: int) -> None:
        """Send these octets (size is their sum) as DATA, now or as windows allow."""
        connection = self.connection
        if (
            self._queue is None
            and size <= _AT_ONCE
            and not connection.held
            and size <= connection.send_window
            and size <= self.send_window
        ):
            self.window_delta -= size
            connection.write_data(self.stream_id, parts, size)
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.extend(parts)
        self._unsent += size
        connection.queued(self, size)

    def put_tail(self, trailers: bytes) -> None:
        """End the local side behind everything queued, with this header block, or with an empty DATA if it is empty."""
        self.local_closed = True
        if self._queue is None:
            self.connection.write_end(self.stream_id, trailers)
            self._sent_all()
        else:
            self._tail = trailers

    def _sent_all(self) -> None:
        self.on_sent()
        if self.remote_closed and not self.ended:
            self.connection.forget(self)

    def pump(self, budget: int) -> int:
        """Send one frame's worth of the queue, at most `budget` octets; the octets sent, 0 if the stream's own window
        is shut.
        """
        size = min(budget, self.send_window, self._unsent, self.connection.peer_max_frame)
        if size <= 0:
            return 0
        self.window_delta -= size
        self._unsent -= size
        self.connection.write_data(self.stream_id, self._take(size), size)
        return size

    def _take(self, size: int) -> list[Buffer]:
        queue = self._queue
        assert queue is not None
        taken: list[Buffer] = []
        while size:
            buffer = queue.popleft()
            if len(buffer) > size:
                view = memoryview(buffer)
                queue.appendleft(view[size:])
                buffer = view[:size]
            taken.append(buffer)
            size -= len(buffer)
        return taken

    def drained(self) -> None:
        """The queue is empty: send the tail if there is one, else tell whoever waits."""
        self._queue = None
        if self._tail is not None:
            tail, self._tail = self._tail, None
            self.connection.write_end(self.stream_id, tail)
            self._sent_all()
        elif self.on_drain is not None:
            self.guard(self.on_drain)

    def drop_queue(self) -> int:
        """Forget what waits; the octets dropped."""
        dropped, self._unsent, self._queue, self._tail = self._unsent, 0, None, None
        return dropped
