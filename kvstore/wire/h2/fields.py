"""Which header lists are well-formed (RFC 9113 section 8.1 to 8.3). A malformed one is an error of its stream."""

from __future__ import annotations

import re

Field = tuple[bytes, bytes]

# Lower-case token characters; a pseudo-header starts with a colon.
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$")
_CONNECTION_ONLY = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_REQUEST = frozenset((b":method", b":scheme", b":authority", b":path"))
_RESPONSE = frozenset((b":status",))
_NEEDED = (b":method", b":scheme", b":path")


def _field_fault(name: bytes, value: bytes) -> str:
    if not _NAME.fullmatch(name):
        return "malformed field name"
    if _BAD_VALUE.search(value):
        return "malformed field value"
    if name in _CONNECTION_ONLY:
        return "connection-specific field"
    if name == b"te" and value != b"trailers":
        return "te is not trailers"
    return ""


def _list_fault(fields: list[Field], allowed: frozenset[bytes]) -> str:
    seen: set[bytes] = set()
    regular = False
    for name, value in fields:
        if fault := _field_fault(name, value):
            return fault
        if not name.startswith(b":"):
            regular = True
        elif regular:
            return "pseudo-header behind a regular field"
        elif name not in allowed or name in seen:
            return "unknown or repeated pseudo-header"
        seen.add(name)
    return ""


def request_fault(fields: list[Field]) -> str:
    """What is wrong with a request's list, or ''. CONNECT is not served and is judged as any other method."""
    if fault := _list_fault(fields, _REQUEST):
        return fault
    found = dict(fields)
    if any(not found.get(name) for name in _NEEDED):
        return "missing pseudo-header"
    length = [value for name, value in fields if name == b"content-length"]
    if len(set(length)) > 1 or any(not value.isdigit() for value in length):
        return "malformed content-length"
    return ""


def response_fault(fields: list[Field]) -> str:
    """What is wrong with a response's list, or ''."""
    if fault := _list_fault(fields, _RESPONSE):
        return fault
    status = dict(fields).get(b":status", b"")
    return "" if len(status) == 3 and status.isdigit() else "missing :status"


def trailer_fault(fields: list[Field]) -> str:
    """What is wrong with trailers, or ''."""
    return _list_fault(fields, frozenset())
