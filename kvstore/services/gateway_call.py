"""A gRPC call that came as JSON over HTTP: what the handlers of the gRPC services take for a Call.

Invariants: as of a Call: it ends once, and what is done to it afterwards is dropped. Answers leave in the order they
were given, though long ones are made into JSON in a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from kvstore.errors import Code, EtcdError
from kvstore.services.gateway_json import Failure, response, result
from kvstore.wire.http import HttpRequest, HttpResponse
from kvstore.wire.link import HIGH_WATER

if TYPE_CHECKING:
    import asyncio

    from kvstore.wire.grpc.methods import Method, ServerStream

log = logging.getLogger(__name__)

JSON = "application/json"
# Answers up to here are made into JSON on the loop: about a millisecond.
INLINE_BYTES = 16 * 1024


class GatewayCall:
    """One call. Public names are Call's."""

    timeout: float | None = None
    # A gateway has no certificate of its caller's: grpc-gateway stands between them in etcd, too.
    common_name = ""
    metadata_bin: Mapping[str, bytes] = {}
    # JSON is made of whole messages.
    streams_messages = False
    comes_in_frames = False

    def __init__(
        self,
        request: HttpRequest,
        method: Method,
        kind: type[Message],
        headers: tuple[tuple[str, str], ...],
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
    ) -> None:
        """kind: of the answers. headers: of the HTTP response."""
        self._request = request
        self._method = method
        self._kind = kind
        self._headers = headers
        self._loop = loop
        self._threads = threads
        self._stream: ServerStream | None = None
        # Bytes of answers that are being made into JSON.
        self._pending = 0
        self._started = False
        self._when_ended: Callable[[], None] | None = None
        self.path = method.path
        self.peer = request.peer
        self.metadata = _metadata(request.headers)
        self.user: Any = None
        self.closed = False
        self.on_closed: Callable[[], None] | None = None
        self.on_drain: Callable[[], None] | None = None
        method.started += 1
        request.on_closed = self._dropped
        request.on_drain = self._drained

    @property
    def buffered_on_connection(self) -> int:
        """Bytes that wait on all calls of this client's connection, and what is being made into JSON for this one."""
        return self._pending + self._request.buffered_on_connection

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client; 0 as long as `on_drain` would not be called for them."""
        unsent = self._request.buffered
        return self._pending + (unsent if unsent > HIGH_WATER else 0)

    # ---- what handlers do ----

    def reply(self, message: bytes) -> None:
        """The only, or the last, message."""
        if not self.closed:
            self._close(Code.OK)
            self._make(message, self._reply_made)

    def reply_parts(self, parts: list[bytes]) -> None:
        """reply() with the message in pieces."""
        self.reply(b"".join(parts))

    def send(self, message: bytes) -> None:
        """One message of a stream."""
        if not self.closed:
            self._make(message, self._write)

    def flush(self) -> None:
        """Nothing: a message leaves when its JSON is made."""

    def send_parts(self, parts: list[bytes]) -> None:
        """send() with the message in pieces."""
        self.send(b"".join(parts))

    def finish(self) -> None:
        """End a stream with OK."""
        if not self.closed:
            self._close(Code.OK)
            self._make(None, lambda _: self._end())

    def fail(self, code: int, message: str) -> None:
        """End with a status other than OK."""
        if not self.closed:
            self._close(code)
            self._make(None, lambda _: self._fail(Failure(code, message)))

    def fail_with(self, fault: Exception) -> None:
        """As of Call: an EtcdError is meant for the client, anything else is a bug of ours."""
        if isinstance(fault, EtcdError):
            self.fail(fault.code, fault.message)
            return
        log.error("handler of %s failed", self.path, exc_info=fault)
        self.fail(Code.UNKNOWN, f"{type(fault).__name__}: {fault}")

    # ---- what the gateway does ----

    def run(self, messages: list[Message]) -> None:
        """Give the handler what the client sent; it sends no more."""
        method: Any = self._method
        try:
            if method.unary is not None:
                method.unary(self, messages[0].SerializeToString())
                return
            stream: ServerStream = method.factory(self)
            if self.closed:
                stream.closed()
                return
            self._stream = stream
            for message in messages:
                if not self.closed:
                    stream.message(message.SerializeToString())
            if not self.closed:
                stream.half_close()
        except Exception as fault:
            self.fail_with(fault)

    def begin(self) -> None:
        """Let a stream's response begin before its first message, so that the client knows it was heard."""
        if not self._started and not self.closed:
            self._start(200)

    def when_ended(self, step: Callable[[], None]) -> None:
        """Called once the call is over, whoever ended it."""
        self._when_ended = step

    def expire(self) -> None:
        """The client's deadline has passed."""
        on_closed, self.on_closed = self.on_closed, None
        self.fail(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
        if on_closed is not None:
            self._guard(on_closed)

    # ---- making JSON ----

    def _make(self, message: bytes | None, then: Callable[[bytes], None]) -> None:
        """then(JSON of the message), in order. None takes its place in the order, and needs no making."""
        size = len(message) if message is not None else 0
        if not self._pending and size <= INLINE_BYTES:
            then(self._json(message))
            return
        # What waits for its turn counts at least one byte, so that nothing overtakes it.
        self._pending += size + 1

        def made(future: Future[bytes]) -> None:
            self._loop.call_soon_threadsafe(done, future)

        def done(future: Future[bytes]) -> None:
            self._pending -= size + 1
            try:
                then(future.result())
            except Exception:
                log.exception("answer of %s could not be made into JSON", self.path)
                self._request.respond(HttpResponse(500, b"Internal Server Error\n", headers=self._headers))
                self._request.end()
            if not self._pending:
                self._drained()

        self._threads.submit(self._json, message).add_done_callback(made)

    def _json(self, message: bytes | None) -> bytes:
        if message is None:
            return b""
        return response(self._kind, message) if self._method.unary is not None else result(self._kind, message)

    # ---- the HTTP response ----

    def _reply_made(self, body: bytes) -> None:
        if self._method.unary is None:
            # A stream that answers with one message.
            self._write(body)
            self._end()
        else:
            self._request.respond(HttpResponse(200, body, JSON, self._headers))

    def _write(self, body: bytes) -> None:
        if not self._started:
            self._start(200)
        self._request.write(body)

    def _end(self) -> None:
        if not self._started:
            self._start(200)
        self._request.end()

    def _fail(self, failure: Failure) -> None:
        if self._method.unary is not None:
            self._request.respond(HttpResponse(failure.http_status, failure.body(), JSON, self._headers))
            return
        if not self._started:
            self._start(failure.http_status)
        self._request.write(failure.chunk(HTTPStatus(failure.http_status).phrase))
        self._request.end()

    def _start(self, status: int) -> None:
        self._started = True
        self._request.start(status, JSON, self._headers)

    # ---- ending ----

    def _close(self, code: int) -> None:
        self.closed = True
        self.on_closed = self.on_drain = None
        self._method.handled[code if code < len(Code) else Code.UNKNOWN] += 1
        if self._when_ended is not None:
            self._when_ended()
        if self._stream is not None:
            stream, self._stream = self._stream, None
            self._guard(stream.closed)

    def _dropped(self) -> None:
        """The client has gone."""
        if self.closed:
            return
        on_closed, self.on_closed = self.on_closed, None
        self._close(Code.CANCELED)
        if on_closed is not None:
            self._guard(on_closed)

    def _drained(self) -> None:
        if self.on_drain is not None and not self.closed and not self.buffered:
            self._guard(self.on_drain)

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as fault:
            self.fail_with(fault)


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """What grpc-gateway passes on: Authorization, and Grpc-Metadata-NAME as NAME."""
    prefix = "grpc-metadata-"
    passed = {name.removeprefix(prefix): value for name, value in headers.items() if name.startswith(prefix)}
    if "authorization" in headers:
        passed["authorization"] = headers["authorization"]
    return passed
