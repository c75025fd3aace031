"""What the parts of MVCC hand to each other and what they need from outside.

A revision is (main, sub): one main revision a transaction, sub-revisions count the writes inside it from 0.
In memory it is one int, `main << 32 | sub`, so that comparing and hashing cost nothing; on disk it is 12 bytes,
big-endian, so that LMDB's order is revision order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Final, Protocol, cast

PUT = 0
DELETE = 1


def pack(main: int, sub: int = 0) -> int:
    """The int for revision (main, sub)."""
    return main << 32 | sub


def main_of(revision: int) -> int:
    """The main revision of a packed one."""
    return revision >> 32


REVISION_BYTES: Final = 12
"""Of a packed revision on disk."""


def to_bytes(revision: int) -> bytes:
    """12 bytes, big-endian: 8 of main, 4 of sub."""
    return revision.to_bytes(REVISION_BYTES, "big")


def from_bytes(data: bytes) -> int:
    """The packed revision in 12 bytes."""
    return int.from_bytes(data, "big")


_bytes_of: Final = cast(Callable[[int, int, str], bytes], int.to_bytes)


def numbers_to_bytes(numbers: Iterable[int], width: int) -> Iterator[bytes]:
    """Each in so many bytes, big-endian (packed revisions: REVISION_BYTES). Hot: no line of Python for each."""
    return map(_bytes_of, numbers, repeat(width), repeat("big"))


class Table(Protocol):
    """One ordered table of bytes → bytes. Writes are visible to the reads that follow them."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""

    def get_many(self, keys: list[bytes], max_bytes: int) -> list[bytes]:
        """The values of the first keys, up to the one that makes them `max_bytes`, in order. All of them must be there.

        Cheaper than get.
        """

    def get_numbered(self, numbers: list[int], width: int, max_bytes: int) -> list[bytes]:
        """get_many() of keys that are numbers of `width` bytes, the highest byte first; cheaper still."""

    def put(self, key: bytes, value: bytes) -> None:
        """Write or overwrite."""

    def append(self, key: bytes, value: bytes) -> None:
        """Write a key that is greater than every key of the table (cheaper than put)."""

    def put_all(self, rows: dict[bytes, bytes]) -> None:
        """put() of each."""

    def append_all(self, rows: dict[bytes, bytes]) -> None:
        """append() of each, in the order of the dict, which must be that of the keys."""

    def delete(self, key: bytes) -> bool:
        """Remove; False if it was not there."""

    def delete_all(self, keys: list[bytes]) -> None:
        """delete() of each, be it there or not."""

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < end (None: to the last), in order or, with reverse, from the end down.

        The table must not be written while an iterator of it is in use.
        """

    def names(self) -> Iterator[bytes]:
        """Every key, in order; cheaper than scan."""


class Tables(Protocol):
    """All tables of one member; the same Table object is good for the life of the Tables."""

    def table(self, name: str) -> Table:
        """The table of that name, made if need be."""


class LeaseBook(Protocol):
    """What the store asks of the lessor."""

    def any(self) -> bool:
        """Whether there are leases: without any, no key can belong to one."""

    def exists(self, lease: int) -> bool:
        """Whether the lease has been granted and not revoked."""

    def attach(self, lease: int, key: bytes) -> None:
        """The key now belongs to the lease."""

    def detach(self, lease: int, key: bytes) -> None:
        """The key no longer belongs to the lease."""


class StoredEvent:
    """One change of one key.

    kv: the encoded KeyValue (of a DELETE: key and mod_revision only).
    previous: packed revision that this one superseded, 0 if the key was not alive before.
    """

    __slots__ = ("encoded", "encoded_prev", "key", "kv", "previous", "revision", "type")

    def __init__(self, type: int, key: bytes, revision: int, kv: bytes, previous: int) -> None:
        self.type = type
        self.key = key
        self.revision = revision
        self.kv = kv
        self.previous = previous
        # The encoded mvccpb.Event without and with prev_kv, made once by the first watcher that wants it.
        self.encoded: bytes | None = None
        self.encoded_prev: bytes | None = None


class EventSink(Protocol):
    """Gets every revision's events, once, in order, right after they were applied."""

    @property
    def watched(self) -> bool:
        """Whether anybody wants events: while nobody does, they need be neither made nor published."""

    def publish(self, main: int, events: list[StoredEvent]) -> None:
        """events is not empty and all of them are of revision `main`."""

    def publish_unread(self, main: int, first: bytes, last: bytes | None) -> None:
        """Revision `main` is too large to be handed over: its events are to be read from history.

        first, last: all of its keys are in between, both included; None: there is no upper bound.
        """


class EventSource(Protocol):
    """The store as a watcher that must catch up sees it."""

    @property
    def revision(self) -> int:
        """Current main revision."""

    @property
    def compacted_revision(self) -> int:
        """Reads below it fail; 0 or -1 when nothing was ever compacted."""

    def events(self, start: int, end: int, resume: int = 0) -> Iterator[StoredEvent]:
        """Every change with start <= main revision <= end, in order, from history.

        resume: leave out those below this packed revision.
        """

    def previous_kv(self, event: StoredEvent) -> bytes | None:
        """The encoded KeyValue that the event superseded; None if there was none or it is compacted."""
