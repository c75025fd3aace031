"""One call as its handler sees it.

Invariants: a call ends once: by reply, finish or fail here, or by the peer, its deadline or the loss of the
connection; then `closed` is True and everything done to it is silently dropped, because a handler that answers late
cannot know. `Method.handled` counts each call once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kvstore.errors import Code, EtcdError
from kvstore.wire.grpc import status
from kvstore.wire.grpc.answer import ANSWER, ANSWER_HEAD, LAST, OK, OK_HEAD
from kvstore.wire.grpc.messages import PREFIX, PREFIX_SIZE, MessageReader
from kvstore.wire.grpc.repeats import forget
from kvstore.wire.grpc.sending import put_message
from kvstore.wire.grpc.status import ONLY_IDENTITY, RESPONSE, TRAILERS_OK
from kvstore.wire.h2.errors import ErrorCode
from kvstore.wire.h2.frames import END_HEADERS
from kvstore.wire.h2.stream import Buffer, Stream

if TYPE_CHECKING:
    from kvstore.wire.grpc.methods import ServerStream
    from kvstore.wire.grpc.request import RequestHead
    from kvstore.wire.grpc.server_connection import ServerConnection

log = logging.getLogger(__name__)

# How clients may compress their messages; ours are never compressed.
ENCODINGS = (b"identity", b"gzip")


class Call(Stream):
    """One request. Handlers use the public names; those with an underscore belong to the connection."""

    connection: ServerConnection

    # begin_message() is there.
    streams_messages = True
    # Its messages come in frames by which they can be known again (repeats.py).
    comes_in_frames = True
    closed = False
    # Left to the layer above: whom it found the call to come from.
    user: Any = None
    # A unary call of which no DATA came yet.
    fresh = True
    # A unary call that came in one DATA frame by the short way, and nothing was done to it since.
    whole = False
    on_closed: Callable[[], None] | None = None
    deadline_bucket: dict[Call, None] | None = None
    # The frames of those of its messages that take the short way: see repeats.py.
    repeats: list[bytes] | None = None
    _headers_sent = False
    _stream: ServerStream | None = None
    _reader: MessageReader | None = None
    _message: bytes | None = None

    def __init__(self, connection: ServerConnection, stream_id: int, head: RequestHead, timeout: float | None) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.head = head
        self.timeout = timeout

    @property
    def path(self) -> str:
        """The method's path, such as /etcdserverpb.KV/Put."""
        return self.head.path

    @property
    def peer(self) -> str:
        """The client's address, host:port."""
        return self.connection.peer

    @property
    def common_name(self) -> str:
        """The common name in the client's verified certificate; empty without one."""
        return self.connection.common_name

    @property
    def buffered_on_connection(self) -> int:
        """Bytes that wait on all calls of this client's connection."""
        return self.connection.unsent

    @property
    def metadata(self) -> Mapping[str, str]:
        """The client's metadata; `-bin` values as base64 (see metadata_bin)."""
        return self.head.metadata

    @property
    def metadata_bin(self) -> Mapping[str, bytes]:
        """The client's `-bin` metadata, decoded."""
        return self.head.metadata_bin

    # Answering.

    def reply(self, message: bytes) -> None:
        """Send the only (or last) message and end the call with OK."""
        if self.closed:
            return
        connection = self.connection
        size = len(message) + PREFIX_SIZE
        # The hot path: everything fits, nothing waits, and the client has said all it will. Three frames, two packs.
        if (
            self.remote_closed
            and not self._headers_sent
            and size <= connection.send_window
            and size <= connection.peer_window + self.window_delta
            and size <= connection.peer_max_frame
            and not connection.careful
        ):
            connection.send_window -= size
            stream_id = self.stream_id
            connection.write(
                ANSWER(ANSWER_HEAD, END_HEADERS, stream_id, RESPONSE, size << 8, 0, stream_id, 0, size - PREFIX_SIZE)
                + message
                + OK(OK_HEAD, LAST, stream_id, TRAILERS_OK)
            )
            self.ended = self.local_closed = True
            del connection.streams[stream_id]
            if self.whole and self.deadline_bucket is None:
                # Nothing else that _close would have to undo.
                self.whole = False
                self.closed = True
                self.head.method.handled[0] += 1  # type: ignore[union-attr]
            else:
                self._close(0)
            return
        self.send(message)
        self.finish()

    def reply_parts(self, parts: list[bytes]) -> None:
        """reply() with the message in pieces, which are not joined."""
        if not self.closed:
            self.send_parts(parts)
            self.finish()

    def send(self, message: bytes) -> None:
        """Send one message; it waits in `buffered` if the client may not be sent it yet."""
        if self.closed:
            return
        if not self._headers_sent:
            self._send_headers()
        put_message(self, message)

    def flush(self) -> None:
        """What was sent, as far as windows allow, leaves before whatever else this turn of the loop does."""
        self.connection.flush()

    def send_parts(self, parts: list[bytes]) -> None:
        """send() with the message in pieces, which are not joined."""
        if self.closed:
            return
        if not self._headers_sent:
            self._send_headers()
        size = sum(map(len, parts))
        buffers: list[Buffer] = [PREFIX.pack(0, size), *parts]
        self.put_data(buffers, size + PREFIX_SIZE)

    def begin_message(self, size: int) -> None:
        """Begin a message of so many octets, all of which continue_message() must send."""
        if self.closed:
            return
        if not self._headers_sent:
            self._send_headers()
        self.put_data([PREFIX.pack(0, size)], PREFIX_SIZE)

    def continue_message(self, parts: list[bytes]) -> None:
        """More of the message that was begun; it waits in `buffered` if the client may not be sent it yet."""
        if not self.closed:
            pieces: list[Buffer] = [*parts]
            self.put_data(pieces, sum(map(len, parts)))

    def finish(self) -> None:
        """End the call with OK, behind all that was sent."""
        if not self.closed:
            self._end(Code.OK, TRAILERS_OK)

    def fail(self, code: int, message: str) -> None:
        """End the call with a status other than OK; `message` is the text that clients match."""
        if not self.closed:
            self._end(code, status.trailers(int(code), message))

    def refuse_http(self, code: bytes) -> None:
        """This is no gRPC request: an HTTP status and nothing else."""
        self._headers_sent = True
        self.put_tail(status.literal_block([(b":status", code)]))
        self._close(Code.UNIMPLEMENTED)

    def _send_headers(self) -> None:
        self._headers_sent = True
        self.whole = False
        self.connection.write_block(self.stream_id, RESPONSE, end_stream=False)

    def _end(self, code: int, block: bytes) -> None:
        if not self._headers_sent:
            self._headers_sent = True
            block = RESPONSE + block
        self.put_tail(block)
        self._close(code)

    def on_sent(self) -> None:
        """Our side is closed. A client that is still sending is told to stop (RFC 9113 section 8.1)."""
        if not self.remote_closed and not self.ended:
            self.connection.reset(self.stream_id, ErrorCode.NO_ERROR)

    def _close(self, code: int) -> None:
        self.closed = True
        self.whole = False
        if self.on_drain is not None:
            self.on_drain = None
        if self.on_closed is not None:
            self.on_closed = None
        if self.repeats is not None:
            forget(self)
        method = self.head.method
        if method is not None:
            method.handled[code if code < 17 else Code.UNKNOWN] += 1
        if self.deadline_bucket is not None:
            self.deadline_bucket.pop(self, None)
            self.deadline_bucket = None
        if self._reader is not None:
            self.connection.partial -= self._reader.held
            self._reader = None
        if self._stream is not None:
            self.guard(self._stream.closed)
            self._stream = None

    # Hearing.

    def start(self) -> None:
        """The headers have come: refuse what cannot be read, make the stream's object."""
        if self.head.encoding not in ENCODINGS:
            text = f'grpc: Decompressor is not installed for grpc-encoding "{self.head.encoding.decode("latin-1")}"'
            self._end(Code.UNIMPLEMENTED, ONLY_IDENTITY + status.trailers(Code.UNIMPLEMENTED, text))
            return
        method = self.head.method
        if method is not None and method.factory is not None:
            factory = method.factory
            self.fresh = False
            self.guard(lambda: self._adopt(factory(self)))

    def _adopt(self, stream: ServerStream) -> None:
        if self.closed:
            stream.closed()
        else:
            self._stream = stream

    def on_data(self, data: bytes) -> None:
        """DATA: complete messages go to the stream; a unary call waits for the end."""
        if self.closed:
            return
        reader = self._reader
        if reader is None:
            reader = self._reader = MessageReader(self.connection.max_message, self.head.encoding == b"gzip")
            self.fresh = False
        before = reader.held
        try:
            messages = reader.feed(data)
        except EtcdError as fault:
            reader.held = before
            self.fail(fault.code, fault.message)
            return
        self.connection.partial += reader.held - before
        self.connection.check_partial(self)
        for message in messages:
            self._heard(message)

    def hear(self, message: bytes, size: int) -> bool:
        """A whole message of the stream in one DATA frame of that size. Hot: what on_data does with it, in one step.

        False, and nothing done, if anything unusual is going on.
        """
        stream, reader = self._stream, self._reader
        received = self._received + size
        window = self.connection.limits.stream_window
        if (
            stream is None
            or self.remote_closed
            or self.length_left is not None
            or (reader is not None and reader.held)
            or received > window
        ):
            return False
        self._received = received
        try:
            stream.message(message)
        except Exception as fault:
            self.fail_with(fault)
        if received > window // 2 and not self.ended:
            self._give_back()
        return True

    def hear_again(self, size: int) -> bool:
        """A message that is remembered came, in a DATA frame of that size. Hot. False, and nothing done, unless it may
        take the short way: see repeats.py.
        """
        received = self._received + size
        reader = self._reader
        if (
            received > self.connection.repeat_window
            or self._queue is not None
            or (reader is not None and reader.held)
            or self.connection.held
        ):
            return False
        self._received = received
        return True

    def serve_again(self, message: bytes) -> None:
        """Let the stream have a message that took the short way, as if it had not."""
        if not self.closed:
            self._heard(message)

    def _heard(self, message: bytes) -> None:
        if self._stream is not None:
            stream = self._stream
            self.guard(lambda: stream.message(message))
        elif self._message is None:
            self._message = message
        else:
            self.fail(Code.INTERNAL, "grpc: received multiple messages for a unary method")

    def on_remote_end(self) -> None:
        """END_STREAM: the unary handler runs now, a stream hears half_close."""
        forget(self)
        if self.closed:
            return
        if self._reader is not None and self._reader.held:
            self.fail(Code.INTERNAL, "unexpected EOF")
        elif self._stream is not None:
            self.guard(self._stream.half_close)
        elif self._message is None:
            self.fail(Code.INTERNAL, "grpc: received no message for a unary method")
        else:
            self.run(self._message)

    def run(self, message: bytes) -> None:
        """Give the message to the unary handler."""
        method = self.head.method
        try:
            method.unary(self, message)  # type: ignore[union-attr,misc]  # _start asked
        except Exception as fault:
            self.fail_with(fault)

    def guard(self, step: Callable[[], None]) -> None:
        """Run a callback of the handler's; what it raises ends the call."""
        try:
            step()
        except Exception as fault:
            self.fail_with(fault)

    def fail_with(self, fault: Exception) -> None:
        """A handler raised: an EtcdError is meant for the client, anything else is a bug of ours."""
        if isinstance(fault, EtcdError):
            self.fail(fault.code, fault.message)
            return
        log.error("handler of %s failed", self.path, exc_info=fault)
        self.fail(Code.UNKNOWN, f"{type(fault).__name__}: {fault}")

    def on_abort(self, code: ErrorCode, reason: str) -> None:
        """The stream ended from outside."""
        if not self.closed:
            self._drop(Code.CANCELED)

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline_bucket = None
        if not self.closed:
            on_closed, self.on_closed = self.on_closed, None
            self.fail(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            if on_closed is not None:
                self.guard(on_closed)

    def _drop(self, code: Code) -> None:
        on_closed, self.on_closed = self.on_closed, None
        self._close(code)
        if on_closed is not None:
            self.guard(on_closed)
