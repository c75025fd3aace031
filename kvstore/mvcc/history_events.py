"""History as events, for watchers that start in the past or fell behind."""

from __future__ import annotations

from collections.abc import Iterator

from .encoding import HEADER, HEADER_SIZE, TOMBSTONE, record_key
from .keyspace import Keyspace
from .types import DELETE, PUT, StoredEvent, main_of, pack, to_bytes

_BATCH = 256


def read_events(keyspace: Keyspace, start: int, end: int, resume: int = 0) -> Iterator[StoredEvent]:
    """Every change with start <= main revision <= end, in order; read ahead in batches, so writes may come between.

    resume: leave out those below this packed revision.
    """
    cursor, stop = max(pack(max(start, 0)), resume), pack(max(end, 0) + 1)
    while records := keyspace.records(cursor, stop, _BATCH):
        for revision, record in records:
            yield _event(revision, record)
        cursor = records[-1][0] + 1


def _event(revision: int, record: bytes) -> StoredEvent:
    main, sub, _, _, _, flags = HEADER.unpack_from(record)
    kind = DELETE if flags & TOMBSTONE else PUT
    return StoredEvent(kind, record_key(record), revision, record[HEADER_SIZE:], pack(main, sub))


def superseded_kv(keyspace: Keyspace, event: StoredEvent) -> bytes | None:
    """The encoded KeyValue that the key had before the event's main revision; None if none, or compacted."""
    if main_of(event.revision) - 1 < keyspace.compacted:
        return None
    previous = event.previous
    while previous:
        record = keyspace.history.get(to_bytes(previous))
        if record is None:
            return None
        if main_of(previous) < main_of(event.revision):
            return record[HEADER_SIZE:]
        main, sub = HEADER.unpack_from(record)[:2]  # written earlier in the same transaction
        previous = pack(main, sub)
    return None
