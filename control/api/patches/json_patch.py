"""JSON patch: RFC 6902 over JSON pointers (RFC 6901). Content type application/json-patch+json.

Ours rather than the package `jsonpatch`, measured in docs/design/0012: there a patch of 18 "copy" operations makes 8 MB
out of 40 bytes, and each more doubles it; and a small patch takes more than twice the time.

The document is copied once; operations then work in place on the copy. Copied content is bounded, see MAX_COPIED.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from control.api import status
from control.api.copying import copied
from control.api.patches.values import check, equal, size
from control.api.status import StatusError

Json = Any

MAX_OPERATIONS: Final = 10_000
MAX_COPIED: Final = 3 * 1024 * 1024  # bytes of JSON that all "copy" operations together may add

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_NEEDS_VALUE: Final = frozenset({"add", "replace", "test"})
_NEEDS_FROM: Final = frozenset({"move", "copy"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, read and checked; `at` and `source` are the decoded parts of its pointers."""

    name: str
    at: tuple[str, ...]
    path: str
    value: Json = None
    source: tuple[str, ...] = ()
    origin: str = ""


def apply(document: Json, patch: Json) -> Json:
    """The document after all operations, in order.

    StatusError 400: the patch is malformed; 413: too many operations; 422: a path does not exist or a test fails.
    """
    operations = parse(patch)
    holder = {"": copied(document)}
    grown = 0
    for number, operation in enumerate(operations):
        if operation.name == "copy":
            grown += size(_get(holder, operation.source, operation.origin))
            if grown > MAX_COPIED:
                raise status.unprocessable(f"operation {number}: the patch copies more than {MAX_COPIED} bytes")
        _run(holder, operation, number)
    return holder[""]


def parse(patch: Json) -> list[Operation]:
    """The operations of a patch. StatusError 400: malformed; 413: more than MAX_OPERATIONS."""
    if not isinstance(patch, list):
        raise status.bad_request("a JSON patch must be a list of operations")
    if len(patch) > MAX_OPERATIONS:
        message = f"the JSON patch has {len(patch)} operations, {MAX_OPERATIONS} are allowed"
        raise StatusError(413, "RequestEntityTooLarge", message)
    check(patch, "patch")
    return [_operation(entry, number) for number, entry in enumerate(patch)]


def _operation(entry: Json, number: int) -> Operation:
    name = entry.get("op") if isinstance(entry, dict) else None
    if name not in ("add", "remove", "replace", "move", "copy", "test"):
        raise status.bad_request(f"operation {number} of the JSON patch: unknown op {name!r}")
    if name in _NEEDS_VALUE and "value" not in entry:
        raise status.bad_request(f"operation {number} of the JSON patch: {name} needs a value")
    at, path = _pointer(entry, "path", number)
    if name not in _NEEDS_FROM:
        return Operation(name, at, path, entry.get("value"))
    source, origin = _pointer(entry, "from", number)
    if name == "move" and len(at) > len(source) and at[: len(source)] == source:
        raise status.bad_request(f"operation {number} of the JSON patch: {origin} cannot move into itself")
    return Operation(name, at, path, None, source, origin)


def _pointer(entry: dict[str, Json], member: str, number: int) -> tuple[tuple[str, ...], str]:
    text = entry.get(member)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise status.bad_request(f"operation {number} of the JSON patch: {member} must be a JSON pointer as /a/b")
    parts = tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])
    return parts, text


def _run(holder: dict[str, Json], operation: Operation, number: int) -> None:
    match operation.name:
        case "test":
            if not equal(_get(holder, operation.at, operation.path), operation.value):
                raise status.unprocessable(f"operation {number}: testing value {operation.path} failed")
        case "add":
            _add(holder, operation.at, operation.path, copied(operation.value))
        case "remove":
            _remove(holder, operation.at, operation.path)
        case "replace":
            _get(holder, operation.at, operation.path)
            _set(holder, operation.at, operation.path, copied(operation.value))
        case "move":
            if operation.at != operation.source:
                _add(holder, operation.at, operation.path, _remove(holder, operation.source, operation.origin))
        case _:
            value = copied(_get(holder, operation.source, operation.origin))
            _add(holder, operation.at, operation.path, value)


def _get(holder: dict[str, Json], at: tuple[str, ...], path: str) -> Json:
    value: Json = holder[""]
    for part in at:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list):
            value = value[_index(part, len(value), path)]
        else:
            raise _missing(path)
    return value


def _parent(holder: dict[str, Json], at: tuple[str, ...], path: str) -> tuple[Json, str]:
    return (_get(holder, at[:-1], path), at[-1]) if at else (holder, "")


def _add(holder: dict[str, Json], at: tuple[str, ...], path: str, value: Json) -> None:
    parent, last = _parent(holder, at, path)
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1, path), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise _missing(path)


def _set(holder: dict[str, Json], at: tuple[str, ...], path: str, value: Json) -> None:
    parent, last = _parent(holder, at, path)
    if isinstance(parent, list):
        parent[_index(last, len(parent), path)] = value
    else:
        parent[last] = value


def _remove(holder: dict[str, Json], at: tuple[str, ...], path: str) -> Json:
    if not at:
        raise status.unprocessable("the whole object cannot be removed by a patch; delete it instead")
    parent, last = _parent(holder, at, path)
    if isinstance(parent, list):
        return parent.pop(_index(last, len(parent), path))
    if not isinstance(parent, dict) or last not in parent:
        raise _missing(path)
    return parent.pop(last)


def _index(part: str, length: int, path: str) -> int:
    if not _INDEX.fullmatch(part) or int(part) >= length:
        raise status.unprocessable(f"JSON patch: {path}: {part!r} is no index of a list with {length} places")
    return int(part)


def _missing(path: str) -> StatusError:
    return status.unprocessable(f"JSON patch: {path} does not exist")
