"""Plain HTTP requests over HTTP/2, which is what curl speaks to a TLS port: same handler, same answers as over
HTTP/1.1.

Invariant: a body that is not whole counts in its connection's `partial`, as unfinished messages do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvstore.wire.grpc.status import literal_block
from kvstore.wire.h2.errors import ErrorCode
from kvstore.wire.h2.stream import Stream
from kvstore.wire.http import Fields, HttpRequest, HttpResponse

if TYPE_CHECKING:
    from kvstore.wire.grpc.request import RequestHead
    from kvstore.wire.grpc.server_connection import ServerConnection


class HttpStream(Stream):
    """One such request: gathers the body, then lets the server's `http` answer."""

    connection: ServerConnection

    def __init__(self, connection: ServerConnection, stream_id: int, head: RequestHead) -> None:
        super().__init__(connection, stream_id)
        self._head = head
        self._body = bytearray()
        self._request: HttpRequest | None = None

    def on_data(self, data: bytes) -> None:
        """A piece of the body."""
        if self.local_closed:
            return
        connection = self.connection
        self._body += data
        connection.partial += len(data)
        if len(self._body) > connection.limits.max_http_body:
            self._refuse(b"request body is too long\n")
        elif connection.holds_too_much:
            self._refuse(b"too many unfinished requests on this connection\n")

    def _refuse(self, reason: bytes) -> None:
        self._take_body()
        self._make_request(b"").respond(HttpResponse(413, reason))

    def on_remote_end(self) -> None:
        """The whole request is here."""
        if not self.local_closed:
            self._make_request(self._take_body()).serve(self.connection.http)

    def _take_body(self) -> bytes:
        body, self._body = bytes(self._body), bytearray()
        self.connection.partial -= len(body)
        return body

    def _make_request(self, body: bytes) -> HttpRequest:
        head = self._head
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.fields}
        method = head.http_method.decode("latin-1")
        self._request = HttpRequest(self, method, head.path, headers, body, self.connection.peer)
        self.on_drain = self._drained
        return self._request

    def guard(self, step: Callable[[], None]) -> None:
        """HttpRequest looks after what its handler raises."""
        step()

    def _drained(self) -> None:
        if self._request is not None:
            self._request.drained()

    def on_abort(self, code: ErrorCode, reason: str) -> None:
        """The client has gone, or cancelled."""
        self._take_body()
        request, self._request = self._request, None
        if request is not None:
            request.drop()

    def on_sent(self) -> None:
        """The response has left. A client that is still sending is told to stop (RFC 9113 section 8.1)."""
        self._request = None
        if not self.remote_closed and not self.ended:
            self.connection.reset(self.stream_id, ErrorCode.NO_ERROR)

    # HttpWriter.

    @property
    def unsent(self) -> int:
        """Octets that the client has not taken yet."""
        return self.buffered

    @property
    def unsent_on_connection(self) -> int:
        """The same of all streams of the connection."""
        return self.connection.unsent

    def head(self, status: int, fields: Fields, *, length: int | None) -> None:
        """Status and fields."""
        if length is not None:
            fields = [*fields, ("content-length", str(length))]
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in fields]
        block = literal_block([(b":status", b"%d" % status), *encoded])
        self.connection.write_block(self.stream_id, block, end_stream=False)

    def body(self, data: bytes) -> None:
        """A piece of the body."""
        self.put_data([data], len(data))

    def end(self) -> None:
        """The response is complete."""
        self.put_tail(b"")
