"""HTTP/1.1 requests from bytes, without I/O (RFC 9112). Strict, because what two parsers read differently can be
smuggled.

Faults assumed: the client may send anything. What is refused raises BadRequest with the status to answer; then the
connection ends.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from kvstore.wire.limits import Limits

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(%s) ([\x21-\x7e]+) HTTP/1\.([01])" % _TOKEN)
_FIELD = re.compile(rb"(%s):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*" % _TOKEN)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_LONGEST_CHUNK_LINE = 256


class BadRequest(Exception):
    """The request cannot be served; status and one line for the client."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Head(NamedTuple):
    """A request's head. Field names are lower case; repeated fields are joined with a comma."""

    method: str
    target: str
    headers: dict[str, str]
    http11: bool
    keep_alive: bool
    expects_continue: bool


class _State(Enum):
    HEAD = auto()
    BODY = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    TRAILERS = auto()


class Http1Parser:
    """Feed bytes, ask for the next request. One request is parsed at a time, so pipelined ones wait as bytes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._state = _State.HEAD
        self._head: Head | None = None
        self._body = bytearray()
        self._left = 0

    @property
    def waiting(self) -> int:
        """Octets received and not used."""
        return len(self._buffer)

    @property
    def between(self) -> bool:
        """No request has begun."""
        return self._state is _State.HEAD and not self._buffer

    @property
    def in_body(self) -> bool:
        """A head is whole, its body is not."""
        return self._state is not _State.HEAD

    def feed(self, data: bytes) -> None:
        """More bytes."""
        self._buffer += data

    def next(self) -> tuple[Head, bytes] | None:
        """The next whole request and its body, or None until more bytes come. Raises BadRequest."""
        while True:
            if not self._STEPS[self._state](self):
                return None
            if self._state is _State.HEAD:
                return self._taken()

    def wants_continue(self) -> bool:
        """Once for each request whose client waits for 100 Continue before it sends the body."""
        head = self._head
        if head is None or not head.expects_continue or self._state is _State.HEAD:
            return False
        self._head = head._replace(expects_continue=False)
        return True

    def _taken(self) -> tuple[Head, bytes]:
        head, body = self._head, bytes(self._body)
        assert head is not None
        self._head, self._body = None, bytearray()
        return head, body

    def _line(self, longest: int, status: int) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, longest + 2)
        if end < 0:
            if len(self._buffer) > longest:
                raise BadRequest(status, "line is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_head(self) -> bool:
        while self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n", 0, self._limits.max_http_head + 4)
        if end < 0:
            if len(self._buffer) > self._limits.max_http_head:
                raise BadRequest(431, "request head is too long")
            return False
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        self._begin(lines)
        return True

    def _begin(self, lines: list[bytes]) -> None:
        match = _REQUEST_LINE.fullmatch(lines[0])
        if match is None:
            raise BadRequest(400, "malformed request line")
        headers = _fields(lines[1:])
        minor = match[3]
        if minor == b"1" and "host" not in headers:
            raise BadRequest(400, "no Host")
        options = [part.strip().lower() for part in headers.get("connection", "").split(",")]
        keep = "close" not in options if minor == b"1" else "keep-alive" in options
        expects = headers.get("expect", "").lower() == "100-continue" and minor == b"1"
        target = match[2].decode()
        if (absolute := _ABSOLUTE.match(target)) is not None:
            target = _for_whom(absolute, target, headers)
        self._head = Head(match[1].decode(), target, headers, minor == b"1", keep, expects)
        self._begin_body(headers)

    def _begin_body(self, headers: dict[str, str]) -> None:
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise BadRequest(400, "unsupported Transfer-Encoding")
            self._state = _State.CHUNK_SIZE
        elif length is not None:
            if not re.fullmatch(r"[0-9]{1,18}", length):
                raise BadRequest(400, "malformed Content-Length")
            self._left = int(length)
            self._check_size(self._left)
            self._state = _State.BODY if self._left else _State.HEAD

    def _check_size(self, size: int) -> None:
        if size > self._limits.max_http_body:
            raise BadRequest(413, "request body is too long")

    def _take_body(self) -> None:
        piece = self._buffer[: self._left]
        del self._buffer[: len(piece)]
        self._body += piece
        self._left -= len(piece)

    def _read_body(self) -> bool:
        self._take_body()
        if self._left:
            return False
        self._state = _State.HEAD
        return True

    def _read_chunk_size(self) -> bool:
        line = self._line(_LONGEST_CHUNK_LINE, 400)
        if line is None:
            return False
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise BadRequest(400, "malformed chunk")
        self._left = int(match[1], 16)
        self._check_size(len(self._body) + self._left)
        self._state = _State.CHUNK if self._left else _State.TRAILERS
        return True

    def _read_chunk(self) -> bool:
        self._take_body()
        if self._left or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise BadRequest(400, "malformed chunk")
        del self._buffer[:2]
        self._state = _State.CHUNK_SIZE
        return True

    def _read_trailers(self) -> bool:
        # Trailers mean nothing to us; the size of each is bounded, and they bound the body's budget together.
        line = self._line(_LONGEST_CHUNK_LINE * 4, 431)
        if line is None:
            return False
        if not line:
            self._state = _State.HEAD
            return True
        self._left += len(line)
        if self._left > self._limits.max_http_head:
            raise BadRequest(431, "trailers are too long")
        return True

    _STEPS = {
        _State.HEAD: _read_head,
        _State.BODY: _read_body,
        _State.CHUNK_SIZE: _read_chunk_size,
        _State.CHUNK: _read_chunk,
        _State.TRAILERS: _read_trailers,
    }


def _for_whom(absolute: re.Match[str], target: str, headers: dict[str, str]) -> str:
    """The rest of a target that says whom it is for, which counts more than Host (RFC 9112 section 3.2.2)."""
    host, rest = absolute[1], target[absolute.end() :]
    if not host or "@" in host:
        raise BadRequest(400, "malformed target")
    headers["host"] = host
    return rest if rest.startswith("/") else "/" + rest


def _fields(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadRequest(400, "malformed header field")
        name, value = match[1].decode().lower(), match[2].decode("latin-1")
        if name in headers:
            if name in ("content-length", "host", "transfer-encoding"):
                raise BadRequest(400, f"repeated {name}")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers
