"""HTTP requests and responses as their handler sees them, whichever version carries them.

Invariant: a request is answered once; what is done to it after `closed` is silently dropped, because a handler that
answers late cannot know that the client has gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

log = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"
Fields = list[tuple[str, str]]
# Statuses that have no body, by definition.
_BODILESS = (204, 304)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole response. Content-Length is added."""

    status: int = 200
    body: bytes = b""
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


class HttpWriter(Protocol):
    """Carries a response: HTTP/1.1 or HTTP/2."""

    @property
    def unsent(self) -> int:
        """Octets that the client has not taken yet."""

    @property
    def unsent_on_connection(self) -> int:
        """The same of all responses on its connection."""

    def head(self, status: int, fields: Fields, *, length: int | None) -> None:
        """Status and fields; length of the body, None if it is not known yet."""

    def body(self, data: bytes) -> None:
        """A piece of the body, not empty."""

    def end(self) -> None:
        """The response is complete."""


class HttpRequest:
    """One request. Answer it with respond(), or with start(), write() … end()."""

    def __init__(
        self, writer: HttpWriter, method: str, target: str, headers: dict[str, str], body: bytes, peer: str
    ) -> None:
        self._writer = writer
        self._started = False
        self.method = method
        self.target = target
        path, _, self.query = target.partition("?")
        self.path = unquote(path)
        # Names in lower case.
        self.headers = headers
        self.body = body
        # The client's address, host:port.
        self.peer = peer
        self.closed = False
        self.on_closed: Callable[[], None] | None = None
        self.on_drain: Callable[[], None] | None = None

    @property
    def buffered(self) -> int:
        """Octets that the client has not taken yet."""
        return 0 if self.closed else self._writer.unsent

    @property
    def buffered_on_connection(self) -> int:
        """The same of all responses on this client's connection."""
        return 0 if self.closed else self._writer.unsent_on_connection

    def respond(self, response: HttpResponse) -> None:
        """The whole response."""
        if self.closed or self._started:
            return
        bodiless = response.status in _BODILESS
        fields = [("content-type", response.content_type), *response.headers]
        self._writer.head(response.status, fields, length=0 if bodiless else len(response.body))
        self._started = True
        if not bodiless:
            self.write(response.body)
        self.end()

    def start(self, status: int = 200, content_type: str = TEXT, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Begin a response of unknown length."""
        if not self.closed and not self._started:
            self._started = True
            self._writer.head(status, [("content-type", content_type), *headers], length=None)

    def write(self, data: bytes) -> None:
        """A piece of a response that was started."""
        if not self.closed and self._started and data and self.method != "HEAD":
            self._writer.body(data)

    def end(self) -> None:
        """The end of a response that was started."""
        if not self.closed and self._started:
            self.closed = True
            self._forget()
            self._writer.end()

    def drop(self) -> None:
        """The client has gone."""
        if not self.closed:
            self.closed = True
            on_closed = self.on_closed
            self._forget()
            if on_closed is not None:
                self._call(on_closed)

    def _forget(self) -> None:
        """Whoever answers holds the request: what has ended does not hold them in turn."""
        self.on_closed = self.on_drain = None

    def drained(self) -> None:
        """What was written has left."""
        if self.on_drain is not None:
            self._call(self.on_drain)

    def _call(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            log.exception("HTTP request for %s failed", self.path)
            self.end()

    def serve(self, handler: HttpHandler | None) -> None:
        """Let the handler answer, now or later."""
        try:
            response = handler(self) if handler else HttpResponse(404, b"404 page not found\n")
        except Exception:
            log.exception("HTTP request for %s failed", self.path)
            response = HttpResponse(500, b"Internal Server Error\n")
            if self._started:
                self.end()
        if response is not None:
            self.respond(response)


HttpHandler = Callable[[HttpRequest], HttpResponse | None]
