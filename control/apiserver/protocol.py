"""HTTP/1.1 connections: uvicorn's protocol over httptools, with what a Kubernetes API server needs besides.

The peer's certificate goes into every request's scope; an upgrade (exec, attach, port-forward) is handed to the
application as a plain request that may take the connection over; headers are bounded in bytes and in time; a request
that is no HTTP gets a Status.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from control.api.status import StatusError, bad_request
from control.apiserver.answer import Header
from control.apiserver.request import PeerCertificate

HEADER_BYTES: Final = 64 << 10
HEADER_SECONDS: Final = 30.0
# Unsent bytes of one connection above which its writers wait.
WRITE_BUFFER: Final = 256 << 10


class Protocol(HttpToolsProtocol):
    """One connection. Extensions in the scope: fluyt.peer (PeerCertificate or None), fluyt.connection (this)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.access_log = False
        self._extensions: Any = {}
        self._header_bytes = 0
        self._in_headers = False
        self._patience: asyncio.TimerHandle | None = None
        self._upgraded: bytes | None = None
        self.sink: ChunkSink | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self._on_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(WRITE_BUFFER)
        peer = peer_of(transport.get_extra_info("ssl_object"))
        self._extensions = {"fluyt.peer": peer, "fluyt.connection": self}
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_patience()
        if self._on_lost is not None:
            self._on_lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._on_data is not None:
            self._on_data(data)
            return
        if self._upgraded is not None:
            self._upgraded += data
            if len(self._upgraded) > WRITE_BUFFER:
                self.transport.close()
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = bytes(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("the request is no HTTP/1.1 request that can be understood")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        self.scope["extensions"] = self._extensions

    def on_header(self, name: bytes, value: bytes) -> None:
        # With the colon, the blank and the line break.
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > HEADER_BYTES:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_patience()
        super().on_headers_complete()
        cycle = self.cycle
        self.scope["fluyt.whole"] = lambda: not cycle.more_body  # type: ignore[typeddict-unknown-key]
        self.scope["fluyt.respond"] = partial(self._respond, cycle)  # type: ignore[typeddict-unknown-key]

        self.scope["fluyt.sink"] = partial(ChunkSink, self, cycle)  # type: ignore[typeddict-unknown-key]

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.sink is not None and self.sink.on_room is not None:
            self.sink.on_room()

    async def _respond(self, cycle: RequestResponseCycle, code: int, headers: list[Header], body: bytes) -> None:
        """A whole answer in one write: half the system calls and TLS records of the way through `send`.

        headers: made by this server, without line breaks.
        """
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected or cycle.response_started:
            return
        cycle.response_started = cycle.response_complete = True
        parts = [STATUS_LINE[code]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if code not in (204, 304):
            parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if cycle.scope["method"] != "HEAD":
            parts.append(body)
        self.transport.write(b"".join(parts))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            # A client that does not answer TLS's goodbye must not hold up the server's end.
            self.connections.discard(self)
        if self._upgraded is not None and self._on_data is None:
            # An upgrade that nobody took over: the parser has stopped for good.
            self.transport.close()
        if not self.pipeline and not self.transport.is_closing():
            self._expect_headers()

    def shutdown(self) -> None:
        """The server ends: idle connections at once, others after their answer."""
        super().shutdown()
        if self.transport.is_closing():
            self.connections.discard(self)

    def _should_upgrade(self) -> bool:
        return False

    def _expect_headers(self) -> None:
        """The next request's headers must be there in time; an idle connection is the keep-alive timer's."""
        self._stop_patience()
        self._patience = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _too_slow(self) -> None:
        if self._in_headers or self.scope is None:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """A Status, then the end of the connection."""
        self.transport.write(whole_response(bad_request(msg)))
        self.transport.close()

    # ---- connections that are no HTTP any more ----

    def take_over(self, on_data: Callable[[bytes], None], on_lost: Callable[[], None]) -> bytes:
        """From now on bytes go to `on_data`; what came after the request's headers already is returned."""
        self._on_data, self._on_lost = on_data, on_lost
        self._unset_keepalive_if_required()
        rest, self._upgraded = self._upgraded or b"", b""
        self.flow.resume_reading()
        return rest


class ChunkSink:
    """Chunks of a response that is under way, written without waiting (see watcher.Sink)."""

    def __init__(self, connection: Protocol, cycle: RequestResponseCycle) -> None:
        self._connection, self._cycle = connection, cycle
        self.on_room: Callable[[], None] | None = None
        connection.sink = self

    def write(self, data: bytes) -> bool:
        """See watcher.Sink."""
        if self._connection.flow.write_paused:
            return False
        if not self._cycle.disconnected and not self._cycle.response_complete:
            self._connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def abort(self) -> None:
        """See watcher.Sink."""
        self._connection.transport.abort()


def peer_of(connection: ssl.SSLObject | None) -> PeerCertificate | None:
    """The verified certificate of the other side, None without one."""
    if connection is None:
        return None
    found: dict[str, Any] | None = connection.getpeercert()
    if not found:
        return None
    names: dict[str, list[str]] = {}
    for part in found.get("subject", ()):
        for name, value in part:
            names.setdefault(str(name), []).append(str(value))
    der = connection.getpeercert(binary_form=True) or b""
    user, groups = "".join(names.get("commonName", [])[-1:]), tuple(names.get("organizationName", ()))
    return PeerCertificate(user, groups, der, ssl.cert_time_to_seconds(found["notAfter"]))


def whole_response(problem: StatusError) -> bytes:
    """A refusal as the bytes of a response that ends the connection."""
    body = orjson.dumps(problem.to_status())
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return STATUS_LINE[problem.code] + head + body
