"""Random requests of the KV, Txn, compaction and Lease calls, drawn from one seeded generator.

Keys are few and near each other, so that ranges overlap, keys die and come back, and duplicate keys happen.
About one request in six is wrong in some way: errors are compared like answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from kvstore.pb import etcd_pb2 as pb

KEYS = [b"a", b"a\0", b"aa", b"ab", b"abc", b"b", b"b/1", b"b/2", b"c", b"\xc3\xa9", b"\xff", b"\xff\xff"]
ENDS = [b"\0", b"aa", b"ac", b"b", b"b0", b"c", b"d", b"\xff", b"a"]
LEASES = [101, 102, 103, 104]


@dataclass
class World:
    """What the generator knows of the servers' state: enough to hit interesting revisions."""

    revision: int = 1
    compacted: int = 0
    leases: list[int] = field(default_factory=lambda: list(LEASES))


Maker = Callable[["RequestSource"], Message]


class RequestSource:
    """Draws (rpc name, request) pairs.

    A transaction that deletes an open-ended range and then puts with ignore_value makes etcd 3.5 panic: its
    duplicate check takes the end "\\0" literally. So one transaction has either the one or the other.
    """

    def __init__(self, rng: random.Random, linearizable_only: bool = False) -> None:
        self.rng = rng
        self.world = World()
        self.linearizable_only = linearizable_only
        self.in_txn = False
        self.open_deletes = True

    def draw(self) -> tuple[str, Message]:
        """The next call."""
        names = list(_MAKERS)
        name = self.rng.choices(names, weights=[_MAKERS[n][0] for n in names])[0]
        return name, _MAKERS[name][1](self)

    def draw_of(self, rpc: str) -> Message:
        """A request of one kind of call."""
        return _MAKERS[rpc][1](self)

    # ---- parts ----

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self.rng.random() < probability

    def key(self) -> bytes:
        """Mostly one of few keys; now and then none, which is an error."""
        return b"" if self.chance(0.02) else self.rng.choice(KEYS)

    def range_end(self) -> bytes:
        """None, or an end that may lie before the key."""
        return b"" if self.chance(0.4) else self.rng.choice(ENDS)

    def revision(self) -> int:
        """Now, in the past, at or below the compacted revision, negative, or in the future."""
        world = self.world
        drawn = self.rng.choice(
            [0, 0, 0, -1, world.revision, world.compacted, world.compacted - 1, world.revision + 1]
            + [self.rng.randint(min(world.revision, max(1, world.compacted - 2)), world.revision)] * 4
        )
        if not self.in_txn:
            return drawn
        if self.linearizable_only:
            # A transaction that writes and reads at an unreadable revision makes the members of an etcd 3.5 cluster
            # diverge: some refuse it, some apply the writes. So here only readable ones.
            return self.rng.choice([0, 0, self.rng.randint(max(1, world.compacted), max(1, world.revision))])
        return max(0, drawn)

    def bound(self) -> int:
        """Rarely a bound on mod or create revisions."""
        return self.rng.randint(1, self.world.revision + 1) if self.chance(0.1) else 0

    def value(self) -> bytes:
        """A short value; values repeat, so that comparing and sorting by value finds ties."""
        return self.rng.choice([b"", b"x", b"y", b"z", b"\0\xff", str(self.rng.randrange(20)).encode()])

    def lease(self) -> int:
        """Mostly none."""
        return 0 if self.chance(0.75) else self.rng.choice(self.world.leases)

    def some(self, limit: int, make: Callable[[], Message]) -> Sequence[Message]:
        """Up to `limit` of what `make` makes."""
        return [make() for _ in range(self.rng.randint(0, limit))]


def make_range(source: RequestSource) -> pb.RangeRequest:
    """A Range with every option now and then."""
    rng = source.rng
    return pb.RangeRequest(
        key=source.key(),
        range_end=source.range_end(),
        limit=rng.choice([0, 0, 0, 1, 2, 5, -1]),
        revision=source.revision(),
        sort_order=rng.choice([0, 0, 1, 2]),  # type: ignore[arg-type]
        sort_target=rng.choice([0, 0, 1, 2, 3, 4]),  # type: ignore[arg-type]
        serializable=not source.linearizable_only and source.chance(0.2),
        keys_only=source.chance(0.1),
        count_only=source.chance(0.1),
        min_mod_revision=source.bound(),
        max_mod_revision=source.bound(),
        min_create_revision=source.bound(),
        max_create_revision=source.bound(),
    )


def make_put(source: RequestSource) -> pb.PutRequest:
    """A Put; ignore_value with a value and ignore_lease with a lease are errors and happen."""
    may_ignore = not (source.in_txn and source.open_deletes)
    ignore_value, ignore_lease = may_ignore and source.chance(0.1), may_ignore and source.chance(0.1)
    return pb.PutRequest(
        key=source.key(),
        value=b"" if ignore_value and source.chance(0.8) else source.value(),
        lease=0 if ignore_lease and source.chance(0.8) else source.lease(),
        prev_kv=source.chance(0.3),
        ignore_value=ignore_value,
        ignore_lease=ignore_lease,
    )


def make_delete(source: RequestSource) -> pb.DeleteRangeRequest:
    """A DeleteRange, often of nothing."""
    end = source.range_end()
    if end == b"\0" and source.in_txn and not source.open_deletes:
        end = b"\xff\xff\xff"
    return pb.DeleteRangeRequest(key=source.key(), range_end=end, prev_kv=source.chance(0.3))


def make_compare(source: RequestSource) -> pb.Compare:
    """A compare of any target and result; the union may hold another target's field, or nothing."""
    rng = source.rng
    compare = pb.Compare(
        result=rng.randrange(4),  # type: ignore[arg-type]
        target=rng.randrange(5),  # type: ignore[arg-type]
        key=source.key(),
        range_end=source.rng.choice(ENDS) if source.chance(0.2) else b"",
    )
    kind = compare.target if source.chance(0.95) else rng.randrange(5)
    if kind == pb.Compare.VALUE:
        compare.value = source.value()
    elif source.chance(0.95):
        name = {0: "version", 1: "create_revision", 2: "mod_revision", 4: "lease"}[int(kind)]
        setattr(compare, name, rng.choice([0, 1, 2, source.world.revision, rng.randint(1, source.world.revision), 101]))
    return compare


def make_operation(source: RequestSource, depth: int) -> pb.RequestOp:
    """One operation of a transaction; transactions nest up to three deep; an empty one is rare and legal."""
    kind = source.rng.choices(
        ["range", "put", "delete", "txn", "none"], weights=[30, 45, 15, 10 if depth < 3 else 0, 1]
    )[0]
    if kind == "range":
        return pb.RequestOp(request_range=make_range(source))
    if kind == "put":
        return pb.RequestOp(request_put=make_put(source))
    if kind == "delete":
        return pb.RequestOp(request_delete_range=make_delete(source))
    if kind == "txn":
        return pb.RequestOp(request_txn=make_txn(source, depth + 1))
    return pb.RequestOp()


def make_txn(source: RequestSource, depth: int = 0) -> pb.TxnRequest:
    """A transaction of up to three compares and three operations a branch."""
    if depth == 0:
        source.in_txn, source.open_deletes = True, source.chance(0.5)
    txn = pb.TxnRequest(
        compare=source.some(3, lambda: make_compare(source)),  # type: ignore[arg-type]
        success=source.some(3, lambda: make_operation(source, depth)),  # type: ignore[arg-type]
        failure=source.some(3, lambda: make_operation(source, depth)),  # type: ignore[arg-type]
    )
    if depth == 0 and source.linearizable_only and not (txn.success or txn.failure):
        # An etcd judges one that only compares by what its member has applied: a race where members are many.
        txn.failure.append(pb.RequestOp(request_range=make_range(source)))
    source.in_txn = depth > 0
    return txn


def make_compaction(source: RequestSource) -> pb.CompactionRequest:
    """A Compact, as often wrong as right."""
    low, high = max(1, source.world.compacted), max(1, source.world.revision)
    revision = source.rng.choice([source.revision(), source.rng.randint(min(low, high), high)])
    # 0 is drawn by hand-picked cases only: etcd 3.5 takes it for a compaction, once, and its members then differ.
    return pb.CompactionRequest(revision=revision or 1, physical=source.chance(0.5))


def make_grant(source: RequestSource) -> pb.LeaseGrantRequest:
    """Leases that outlive the test; some TTLs are out of bounds."""
    ttl = source.rng.choice([1000, 2000, 3000, 9_000_000_000, 9_000_000_001])
    return pb.LeaseGrantRequest(TTL=ttl, ID=source.rng.choice(source.world.leases))


# rpc → (weight, maker)
_MAKERS: dict[str, tuple[int, Maker]] = {
    "Put": (30, make_put),
    "Range": (25, make_range),
    "Txn": (20, make_txn),
    "DeleteRange": (8, make_delete),
    "Compact": (3, make_compaction),
    "LeaseGrant": (4, make_grant),
    "LeaseRevoke": (2, lambda s: pb.LeaseRevokeRequest(ID=s.rng.choice(s.world.leases))),
    "LeaseTimeToLive": (
        3,
        lambda s: pb.LeaseTimeToLiveRequest(ID=s.rng.choice(s.world.leases), keys=s.chance(0.7)),
    ),
    "LeaseLeases": (1, lambda s: pb.LeaseLeasesRequest()),
}
