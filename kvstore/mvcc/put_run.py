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
from .keyspace import Keyspace
from .table_keys import version_key
from .types import PUT, EventSink, StoredEvent

_NO_REVISION: Final = bytes(12)
_NO_LEASE: Final = bytes(9)  # nor flags
_LONGEST: Final = 4096
"""Requests above are not pieced together: tables do not let their rows wait for others."""


def key_end(body: bytes) -> int:
    """Where the key ends in an encoded PutRequest that is one key and one value in the usual form; 0 for any other.

    The key begins at 2, the value's tag stands where the key ends, and its length and bytes are the rest.
    """
    size = len(body)
    if not 5 < size <= _LONGEST or body[0] != 0x0A:
        return 0
    end = body[1] + 2
    left = size - end - 2  # for the value, if its length is one byte
    if not 2 < end < 130 or left < 1 or body[end] != 0x12:
        return 0
    first = body[end + 1]
    if first < 0x80:
        return end if first == left else 0
    return end if left > 0x80 and first & 0x7F | body[end + 2] << 7 == left - 1 else 0


def put_run(keyspace: Keyspace, sink: EventSink, requests: Iterable[Sequence[Any]], kind: int) -> int:
    """Apply the plain puts that the requests begin with; how many those are.

    requests: each begins with its kind and its encoded body; a PutRequest is of `kind`. The next is asked for when
    index, heads and `Keyspace.record` know of those before it.
    Hot: on every member for nearly every put.
    """
    index, heads, short = keyspace.index, keyspace.heads, SHORT_VARINTS
    revisions = index.revisions
    get_revision, get_head = revisions.get, heads.get
    records = keyspace.unwritten
    versions: dict[bytes, bytes] = {}
    live: dict[bytes, bytes] = {}
    events: list[StoredEvent] | None = [] if sink.watched else None
    before = main = keyspace.revision
    lows, high, turn = split_varint(main)
    for request in requests:
        if request[0] != kind:
            break
        body = request[1]
        at = key_end(body)
        if not at:
            break
        key = body[2:at]
        previous = get_revision(key, 0)
        main += 1
        if main == turn:
            lows, high, turn = split_varint(main)
        number = lows[main & SPLIT] + high
        revision = main << 32
        name = revision.to_bytes(12, "big")
        if previous:
            head = get_head(key)
            if head is None or head[0] != previous:
                head = keyspace.head(key, previous)
                if head is None:
                    main -= 1
                    break
            _, old, create, version, opening, created = head
            version += 1
            versions[key + b"\0" + old if b"\0" not in key else version_key(key, previous)] = name
            revisions[key] = revision
            heads[key] = (revision, name, create, version, opening, created)
        else:
            old, create, version = _NO_REVISION, name[:8], 1
            opening = b"".join((body[:at], b"\x10", number, b"\x18"))
            index.set(key, revision)
        records[name] = record = b"".join(
            (
                old,
                create,
                version.to_bytes(8, "big"),
                _NO_LEASE,
                opening,
                number,
                b"\x20",
                short[version] if version < 0x4000 else varint(version),
                b"\x2a",
                body[at + 1 :],
            )
        )
        live[key] = name
        if events is not None:
            events.append(StoredEvent(PUT, key, revision, record[HEADER_SIZE:], previous))
    if records:
        keyspace.write_run(main, versions, live)
        if events:
            _publish(keyspace, sink, events)
    return main - before


def _publish(keyspace: Keyspace, sink: EventSink, events: list[StoredEvent]) -> None:
    """One revision after the other: watchers may be told how far they are in between."""
    for event in events:
        keyspace.revision = event.revision >> 32
        sink.publish(keyspace.revision, [event])
