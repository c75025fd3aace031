"""Puts as most clients send them (a key and a value, nothing else), applied many at a time from the bytes they came in.

The encoded KeyValue is pieced together from slices of the request: the key with its length, the value with its length.
So no protobuf object is made for such a put, and what all of them need (names looked up, the tables' checks, whether
anybody watches) is done once for a run. Anything else, or bytes in any but the usual form, is left to `Keyspace.put`.

Invariants: every put has a main revision of its own; rows, index and events are those of the same puts one by one.
Faults assumed: as for Keyspace; the rows of a run are in one transaction of the tables' owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kvstore.varint import SHORT_VARINTS, SPLIT, split_varint, varint

from .encoding import HEADER_SIZE
from .keyspace import NO_LEASE, Keyspace
from .types import PUT, EventSink, StoredEvent, numbers_to_bytes

_NO_REVISION: Final = bytes(12)
_FIRST_VERSION: Final = b"\0\0\0\0\0\0\0\x01" + NO_LEASE
_LONGEST: Final = 4096
"""Values above are not pieced together: tables do not let their rows wait for others."""

# How a plain PutRequest begins, for each length of a key → where that key ends; what stands there, for each length of
# all that follows: the value's tag and its length.
_KEY_ENDS: Final = {bytes((0x0A, length)): length + 2 for length in range(1, 0x80)}
VALUE_TAGS: Final = {
    1 + len(size) + length: b"\x12" + size for length, size in enumerate(SHORT_VARINTS[: _LONGEST + 1]) if length
}


def key_end(body: bytes) -> int:
    """Where the key ends in an encoded PutRequest that is one key and one value in the usual form; 0 for any other.

    The key begins at 2, the value's tag stands where the key ends, and its length and bytes are the rest.
    """
    at = _KEY_ENDS.get(body[:2], 0)
    return at if body.startswith(VALUE_TAGS.get(len(body) - at, ()), at) else 0


def all_plain(bodies: Iterable[bytes]) -> bool:
    """Whether key_end() is not 0 for any of these. Hot, so in line."""
    ends, tags = _KEY_ENDS, VALUE_TAGS
    for body in bodies:
        at = ends.get(body[:2], 0)
        if not at or not body.startswith(tags.get(len(body) - at, ()), at):
            return False
    return True


def put_run(keyspace: Keyspace, sink: EventSink, requests: Iterable[Sequence[Any]], kind: int, most: int) -> int:
    """Apply the plain puts that the requests begin with, or the first of these; how many were applied.

    requests: each begins with its kind and its encoded body; a PutRequest is of `kind`. The next is asked for when
    index, heads and `Keyspace.record` know of those before it. most: no more than that, one or more.
    Hot: on every member for nearly every put. What counts up with the revisions is made by the iterators of one zip.
    """
    index, heads, records = keyspace.index, keyspace.heads, keyspace.unwritten
    revisions = index.revisions
    get_revision, get_head, get_end, get_tag = revisions.get, heads.get, _KEY_ENDS.get, VALUE_TAGS.get
    join, short = b"".join, SHORT_VARINTS
    versions: dict[bytes, bytes] = {}
    live: dict[bytes, bytes] = {}
    events: list[StoredEvent] | None = [] if sink.watched else None
    first = keyspace.revision + 1
    lows, high, _ = split_varint(first)
    lows = lows[first & SPLIT : (first & SPLIT) + most]  # ends where the rest of the varint would be another
    stamps = range(first << 32, first + len(lows) << 32, 1 << 32)
    names = numbers_to_bytes(stamps, 12)
    for revision, name, number, request in zip(stamps, names, lows, requests, strict=False):
        if request[0] != kind:
            break
        body = request[1]
        at = get_end(body[:2], 0)  # key_end in line
        if not at or not body.startswith(get_tag(len(body) - at, ()), at):
            break
        key = body[2:at]
        previous = get_revision(key, 0)
        if previous:
            head = get_head(key)
            if head is None or head[0] != previous:
                head = keyspace.head(key, previous)
                if head is None:
                    break
            _, old, create, version, opening, created, prefix = head
            version += 1
            versions[prefix + old] = name
            revisions[key] = revision
            heads[key] = (revision, name, create, version, opening, created, prefix)
            records[name] = record = join(
                (
                    old,
                    create,
                    version.to_bytes(8, "big"),
                    opening,
                    number,
                    high,
                    b"\x20",
                    short[version] if version < 0x4000 else varint(version),
                    b"\x2a",
                    body[at + 1 :],
                )
            )
        else:
            index.add(key, revision)
            records[name] = record = join(
                (
                    _NO_REVISION,
                    name[:8],
                    _FIRST_VERSION,
                    body[:at],
                    b"\x10",
                    number,
                    high,
                    b"\x18",
                    number,
                    high,
                    b"\x20\x01\x2a",
                    body[at + 1 :],
                )
            )
        live[key] = name
        if events is not None:
            events.append(StoredEvent(PUT, key, revision, record[HEADER_SIZE:], previous))
    count = len(records)
    if count:
        keyspace.write_run(first + count - 1, versions, live)
        if events:
            _publish(keyspace, sink, events)
    return count


def _publish(keyspace: Keyspace, sink: EventSink, events: list[StoredEvent]) -> None:
    """One revision after the other: watchers may be told how far they are in between."""
    for event in events:
        keyspace.revision = event.revision >> 32
        sink.publish(keyspace.revision, [event])
