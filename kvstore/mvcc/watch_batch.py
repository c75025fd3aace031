"""The events of one response, encoded once for all the watchers that get them.

An event's bytes are kept on the event, so that watchers of different ranges share them; a batch's bytes are kept on the
batch, so that watchers of the same range share them, and only watch id and stream differ. Encoded by hand, by the
protobuf wire format: an Event inside a WatchResponse is field 11; in it type is 1, kv is 2, prev_kv is 3.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from kvstore.mvcc.types import StoredEvent
from kvstore.varint import varint

PreviousKv = Callable[[StoredEvent], bytes | None]

_TYPES = (b"", b"\x08\x01")  # PUT is the default and not sent


def encode_event(event: StoredEvent) -> bytes:
    """The event as field 11 of a WatchResponse, without prev_kv."""
    if event.encoded is None:
        body = b"%b\x12%b%b" % (_TYPES[event.type], varint(len(event.kv)), event.kv)
        event.encoded = b"\x5a%b%b" % (varint(len(body)), body)
    return event.encoded


def encode_event_with_previous(event: StoredEvent, previous_kv: PreviousKv) -> bytes:
    """The same with prev_kv, where there is one that is not compacted."""
    if event.encoded_prev is None:
        previous = previous_kv(event) if event.previous else None
        if previous is None:
            event.encoded_prev = encode_event(event)
        else:
            body = b"%b\x12%b%b\x1a%b%b" % (
                _TYPES[event.type],
                varint(len(event.kv)),
                event.kv,
                varint(len(previous)),
                previous,
            )
            event.encoded_prev = b"\x5a%b%b" % (varint(len(body)), body)
    return event.encoded_prev


class Batch:
    """Whole revisions of events for every watcher of one group.

    first: main revision of the first event. revision: what the response's header says.
    head: left to the sinks, which share one encoded header.
    """

    __slots__ = ("_body", "_late", "_parts", "_previous_kv", "events", "first", "head", "revision")

    def __init__(self, events: list[StoredEvent], revision: int, previous_kv: PreviousKv | None) -> None:
        """events: not empty, in order. previous_kv: where to get prev_kv from; None if the watchers don't want it."""
        self.events = events
        self.first = events[0].revision >> 32
        self.revision = revision
        self.head: bytes | None = None
        self._previous_kv = previous_kv
        self._parts: list[bytes] | None = None
        self._body: bytes | None = None
        self._late: dict[int, Batch | None] = {}

    def parts(self) -> list[bytes]:
        """Each event as an encoded field of WatchResponse."""
        if self._parts is None:
            previous_kv = self._previous_kv
            if previous_kv is None:
                self._parts = [encode_event(event) for event in self.events]
            else:
                self._parts = [encode_event_with_previous(event, previous_kv) for event in self.events]
        return self._parts

    def body(self) -> bytes:
        """All events, encoded."""
        if self._body is None:
            self._body = b"".join(self.parts())
        return self._body

    def since(self, revision: int) -> Batch | None:
        """What of it is not older than a main revision; None if that is nothing. Made once for each revision."""
        if revision not in self._late:
            events = self.events[bisect_left(self.events, revision << 32, key=_revision_of) :]
            self._late[revision] = Batch(events, self.revision, self._previous_kv) if events else None
        return self._late[revision]


def _revision_of(event: StoredEvent) -> int:
    return event.revision
