"""What a client asked of a store, when, and what it was told.

Every request is a transaction over point and range operations, as in etcd; a plain put is one without compares. Times
are seconds of one monotonic clock for all clients. An operation whose outcome is unknown (the connection broke, time
ran out) has end = infinity and no response: it may have happened at any moment after its start, or never. One
with an end and no response did happen by then, as others have seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

PENDING = math.inf
# The range_end that means one key.
ONE = b""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of a transaction on [key, end), or on the one key if end is empty; value: of a put."""

    kind: Literal["put", "get", "delete"]
    key: bytes
    end: bytes = ONE
    value: bytes = b""

    def covers(self, key: bytes) -> bool:
        """Whether the operation reads or writes that key."""
        return key == self.key if self.end == ONE else self.key <= key < self.end


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition on one key: its version (0: it does not exist) or its value (false where it does not exist)."""

    key: bytes
    target: Literal["version", "value"]
    relation: Literal["=", "!=", "<", ">"]
    operand: int | bytes


@dataclass(frozen=True, slots=True)
class Request:
    """success runs when every compare holds, failure otherwise."""

    success: tuple[Op, ...]
    compares: tuple[Compare, ...] = ()
    failure: tuple[Op, ...] = ()

    @property
    def ops(self) -> tuple[Op, ...]:
        """Those of both branches."""
        return self.success + self.failure

    @property
    def writes(self) -> bool:
        """Whether it can change anything."""
        return any(op.kind != "get" for op in self.ops)


@dataclass(frozen=True, slots=True)
class Kv:
    """A key as the store showed it. The revisions are 0 in hand-made histories that do not speak of them."""

    key: bytes
    value: bytes
    version: int
    create_revision: int = 0
    mod_revision: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """Which branch ran, and for each of its operations the key-values it read, replaced (put) or deleted."""

    results: tuple[tuple[Kv, ...], ...]
    succeeded: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client. revision: of the response's header, 0 if unknown."""

    client: int
    start: float
    end: float
    request: Request
    response: Response | None = None
    revision: int = 0

    @property
    def pending(self) -> bool:
        """Whether it may never have happened."""
        return self.end == PENDING

    def keys(self, known: Iterable[bytes]) -> set[bytes]:
        """The keys it touches; ranges touch those among `known`."""
        points = {op.key for op in self.request.ops if op.end == ONE} | {c.key for c in self.request.compares}
        ranges = [op for op in self.request.ops if op.end != ONE]
        return points | {key for key in known if any(op.covers(key) for op in ranges)}


def put(key: bytes, value: bytes) -> Request:
    """A plain put."""
    return Request((Op("put", key, value=value),))


def get(key: bytes, end: bytes = ONE) -> Request:
    """A read of one key or a range."""
    return Request((Op("get", key, end),))


def delete(key: bytes, end: bytes = ONE) -> Request:
    """A delete of one key or a range."""
    return Request((Op("delete", key, end),))


def swap(key: bytes, old: bytes, new: bytes) -> Request:
    """Compare and swap: put `new` if the value is `old`, else read the key."""
    return Request((Op("put", key, value=new),), (Compare(key, "value", "=", old),), (Op("get", key),))
