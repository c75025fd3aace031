"""JSON in and out of objects, and lines of JSON out of a watch's bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from control.api.schema import Object
from control.api.status import StatusError

# An object may have 3 MiB; escapes and the event around it make it longer.
_LONGEST_LINE: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """type: ADDED, MODIFIED, DELETED, or BOOKMARK (an object that has a resourceVersion and nothing else)."""

    type: str
    object: Object

    @property
    def resource_version(self) -> str:
        """Of the object; of a table, that of its last row's."""
        own = (self.object.get("metadata") or {}).get("resourceVersion", "")
        rows = self.object.get("rows") if not own else None
        last = (rows[-1].get("object") or {}) if rows else {}
        return str(own or (last.get("metadata") or {}).get("resourceVersion", ""))


def encode(value: Any) -> bytes:
    """JSON. Raises StatusError 400 for a value that has none (NaN is null)."""
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError) as problem:
        raise StatusError(400, "BadRequest", f"the object cannot be written as JSON: {problem}") from None


def decode(body: bytes) -> Object:
    """The object of an answer. Raises ValueError when it is no JSON object."""
    value = orjson.loads(body)
    if not isinstance(value, dict):
        raise ValueError("the answer is JSON, but no object")
    return value


def refusal(code: int, body: bytes) -> StatusError:
    """The error that an answer with this HTTP status is, whoever wrote its body (a proxy, perhaps)."""
    try:
        status = decode(body)
    except ValueError:
        status = {}
    if status.get("kind") == "Status":
        return StatusError.from_status(status, code)
    text = body[:200].decode("utf-8", "replace").strip() or "no reason given"
    return StatusError(code, _REASONS.get(code, ""), f"the server answered {code}: {text}")


_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Gone",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class WatchDecoder:
    """Bytes of a watch in, events out; bytes may be cut anywhere."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[WatchEvent]:
        """The events that are whole now. Raises ValueError for what is no event, or a line that does not end."""
        self._rest += data
        end = self._rest.rfind(b"\n") + 1
        if not end:
            if len(self._rest) > _LONGEST_LINE:
                raise ValueError(f"a watch event is longer than {_LONGEST_LINE} bytes")
            return []
        lines = bytes(self._rest[:end]).split(b"\n")
        del self._rest[:end]
        return [_event(line) for line in lines if line.strip()]


def _event(line: bytes) -> WatchEvent:
    value = decode(line)
    kind, found = value.get("type"), value.get("object")
    if not isinstance(kind, str) or not isinstance(found, dict):
        raise ValueError("a watch event has no type or no object")
    return WatchEvent(kind, found)
