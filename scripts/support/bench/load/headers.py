"""Header blocks as clients in use send them: which fields, in which order, and what changes from call to call.

Seen on the wire of etcdctl 3.5.1 (grpc-go 1.38), grpcio 1.85 (grpc-core) and @grpc/grpc-js 1.14 against a listening
socket. A client that sends deadlines sends another `grpc-timeout` with nearly every call: in microseconds (grpc-go), in
milliseconds (grpc-js), or rounded so that few different ones occur (grpc-core).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from hpack import Encoder, NeverIndexedHeaderTuple

_TIMEOUT = "{timeout}"
_GO = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "{path}"),
    (":authority", "{authority}"),
    ("content-type", "application/grpc"),
    ("user-agent", "grpc-go/1.38.0"),
    ("te", "trailers"),
)
_CORE = (
    (":path", "{path}"),
    (":authority", "{authority}"),
    (":method", "POST"),
    (":scheme", "http"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("grpc-accept-encoding", "identity, deflate, gzip"),
    ("grpc-timeout", _TIMEOUT),
    ("user-agent", "grpc-python/1.85.1 grpc-c/58.0.0 (linux; chttp2)"),
)
_JS = (
    (":authority", "{authority}"),
    (":method", "POST"),
    (":path", "{path}"),
    (":scheme", "http"),
    ("grpc-accept-encoding", "identity,deflate,gzip"),
    ("accept-encoding", "identity"),
    ("grpc-timeout", _TIMEOUT),
    ("user-agent", "grpc-node-js/1.14.7"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)


@dataclass(frozen=True)
class Shape:
    """One client's way. timeout: draws the value of grpc-timeout; literal: fields that it never puts into the table."""

    title: str
    fields: tuple[tuple[str, str], ...]
    timeout: Callable[[random.Random], str] | None = None
    literal: frozenset[str] = frozenset()


SHAPES = {
    "plain": Shape("as few fields as gRPC allows", tuple(f for f in _GO if f[0] != "user-agent")),
    "grpc-go": Shape("grpc-go, no deadline", _GO),
    "etcdctl": Shape(
        "etcdctl (grpc-go, deadline)",
        (*_GO, ("grpc-timeout", _TIMEOUT), ("client-api-version", "3.5")),
        lambda chance: f"{chance.randrange(4_985_000, 4_999_999)}u",
    ),
    "grpc-core": Shape(
        "grpcio (grpc-core, deadline)", _CORE, lambda chance: chance.choice(("5S", "5S", "5S", "4990m", "4980m"))
    ),
    "grpc-js": Shape(
        "grpc-js (Node, deadline)",
        _JS,
        lambda chance: f"{chance.randrange(4_960, 5_000)}m",
        frozenset((":path",)),
    ),
}


class Blocks:
    """Header blocks of the calls of one connection, in their order: HPACK refers to what went before.

    table: the server's HPACK table size in bytes.
    """

    def __init__(self, shape: Shape, authority: str, table: int) -> None:
        self._shape = shape
        self._authority = authority
        self._encoder = Encoder()
        if table != self._encoder.header_table_size:
            self._encoder.header_table_size = table
        # The same deadlines for every server.
        self._chance = random.Random(shape.title)
        # Path → block, as long as encoding it again would give the same.
        self._known: dict[str, bytes] = {}
        self._first = True

    def next(self, path: str) -> bytes:
        """The next call's."""
        return self._known.get(path) or self._encode(path)

    def _encode(self, path: str) -> bytes:
        values = {"{path}": path, "{authority}": self._authority}
        if self._shape.timeout:
            values[_TIMEOUT] = self._shape.timeout(self._chance)
        before = len(self._encoder.header_table.dynamic_entries)
        block: bytes = self._encoder.encode([_field(self._shape, n, values.get(v, v)) for n, v in self._shape.fields])
        if len(self._encoder.header_table.dynamic_entries) != before:
            self._known.clear()
        elif not self._shape.timeout and not self._first:
            self._known[path] = block
        # The first block of all may begin with the table's new size, which is said once.
        self._first = False
        return block


def _field(shape: Shape, name: str, value: str) -> NeverIndexedHeaderTuple | tuple[str, str]:
    return NeverIndexedHeaderTuple(name, value) if name in shape.literal else (name, value)
