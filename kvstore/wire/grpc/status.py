"""Status and constant header blocks: how a call ends, as HPACK bytes that need no table (RFC 7541 section 6.2.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from kvstore.errors import Code
from kvstore.wire.h2.errors import ErrorCode

_ESCAPED = re.compile(rb"[^\x20-\x24\x26-\x7e]")


def encode_message(message: str) -> bytes:
    """grpc-message: percent-encoded UTF-8."""
    raw = message.encode("utf-8", "replace")
    return _ESCAPED.sub(lambda found: b"%%%02X" % found.group()[0], raw)


def decode_message(value: bytes) -> str:
    """The text of a grpc-message; broken escapes stay as they are."""
    return unquote_to_bytes(value).decode("utf-8", "replace")


def integer(number: int, bits: int, first: int) -> bytes:
    """An HPACK integer with a prefix of that many bits, the others of the first octet being `first`."""
    mask = (1 << bits) - 1
    if number < mask:
        return bytes((first | number,))
    octets = [first | mask]
    number -= mask
    while number >= 0x80:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def literal(name: bytes, value: bytes) -> bytes:
    """A field that enters no table."""
    return b"\x00" + integer(len(name), 7, 0) + name + integer(len(value), 7, 0) + value


def literal_block(fields: list[tuple[bytes, bytes]]) -> bytes:
    """A header block of such fields."""
    return b"".join(literal(name, value) for name, value in fields)


# Static table: index 8 is ":status: 200"; 31 is the name content-type, whose index takes a 4-bit prefix and one octet
# more.
RESPONSE = b"\x88" + b"\x0f\x10" + integer(16, 7, 0) + b"application/grpc"
TRAILERS_OK = literal(b"grpc-status", b"0")

# Goes with the refusal of a compressed call, so that the client learns what it may use.
ONLY_IDENTITY = literal(b"grpc-accept-encoding", b"identity")


@lru_cache(maxsize=256)
def trailers(code: int, message: str) -> bytes:
    """The block that ends a call."""
    fields = [(b"grpc-status", b"%d" % code)]
    if message:
        fields.append((b"grpc-message", encode_message(message)))
    return literal_block(fields)


# RST_STREAM's code → what a client reports (gRPC's PROTOCOL-HTTP2, "Errors").
FROM_RESET: dict[ErrorCode, Code] = {
    ErrorCode.NO_ERROR: Code.INTERNAL,
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}

# HTTP status → what a client reports when there is no grpc-status (gRPC's http-grpc-status-mapping).
FROM_HTTP: dict[int, Code] = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
