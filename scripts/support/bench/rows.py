"""Every row of the table, as data: what it is called, its unit, and what it aims at (issue 6's last column).

A measurement stores values under a row's `source`; several rows may look at one source in different ways (median, 99th
percentile). Ratios are ours to etcd 3.5.1's.
"""
# ruff: noqa: RUF001, RUF003 (× is meant)

from __future__ import annotations

from dataclasses import dataclass

IN_FLIGHT = (1, 32, 100, 1024)


@dataclass(frozen=True)
class Aim:
    """What is to be reached: bound, of the ratio to etcd 3.5.1, or of our own figure (absolute, in the row's unit)."""

    bound: float
    at_most: bool = False
    absolute: bool = False

    def reached(self, value: float) -> bool:
        """Whether this ratio (or figure) is good enough."""
        return value <= self.bound if self.at_most else value >= self.bound

    def told(self, unit: str) -> str:
        """For a reader."""
        return f"{'≤' if self.at_most else '≥'} {self.bound:g} {unit if self.absolute else '×'}"


@dataclass(frozen=True)
class Row:
    """One row. summary: how values of all runs become one: median, p99 or max. part: the table that it stands in."""

    name: str
    title: str
    part: str
    unit: str
    aim: Aim | None = None
    summary: str = "median"
    source: str = ""
    digits: int = 0

    @property
    def stored(self) -> str:
        """The name under which its values are stored."""
        return self.source or self.name


PUTS, GETS, MIX = "Puts of 256 B", "Linearizable gets", "Other requests, 100 in flight"
CLIENTS = "Gets as clients in use send them, 100 in flight"
WATCH, LEASES, MANY = "Watches", "Leases", "Many keys (256 B)"
FAILURES, HOLDS = "Failures", "While a million revisions are compacted, copied and defragmented"


def _at_least(bound: float) -> Aim:
    return Aim(bound)


def _at_most(bound: float) -> Aim:
    return Aim(bound, at_most=True)


def _loads(part: str, what: str, title: str, aims: tuple[float, ...]) -> list[Row]:
    rows = []
    for level, aim in zip(IN_FLIGHT, aims, strict=True):
        rows.append(Row(f"{what}-{level}", f"{title}, {level:,} in flight", part, "/s", _at_least(aim)))
    for level in IN_FLIGHT:
        for tail, name in (("p50", "median"), ("p99", "99th percentile")):
            rows.append(Row(f"{what}-{level}-{tail}", f"latency, {level:,} in flight, {name}", part, "ms", digits=2))
    return rows


_CLIENTS = {
    "plain": "as few header fields as possible",
    "grpc-go": "grpc-go without deadline",
    "etcdctl": "etcdctl: grpc-go with deadline",
    "grpc-core": "grpcio: grpc-core with deadline",
    "grpc-js": "grpc-js with deadline",
}
_WORK = {"compaction": "compaction", "snapshot": "snapshot", "defrag": "defragmentation"}
_TEN_MS = Aim(10, at_most=True, absolute=True)

# In the order of the table; what it does not ask for in a row of its own comes last.
ROWS = (
    *_loads(PUTS, "puts", "puts of one key", (1.5, 3, 3, 3)),
    Row("new-puts-100", "puts of new keys, 100 in flight", PUTS, "/s", _at_least(3)),
    Row("new-puts-1024", "puts of new keys, 1,024 in flight", PUTS, "/s", _at_least(3)),
    *_loads(GETS, "gets", "gets", (1.5, 2, 2, 2)),
    Row("mixed-100", "80 % gets, 20 % puts", MIX, "/s", _at_least(2.5)),
    Row("txn-100", "transactions: compare and swap", MIX, "/s", _at_least(2)),
    Row("follower-puts-100", "puts sent to a follower", MIX, "/s", _at_least(2)),
    Row("watch-10x100", "events to 10 connections × 100 watchers", WATCH, "/s", _at_least(1.5)),
    Row("watch-100x1", "events to 100 connections × 1 watcher", WATCH, "/s", _at_least(1.5)),
    Row("watch-p50", "put sent → event there, idle, median", WATCH, "ms", _at_most(0.8), source="watch", digits=2),
    Row(
        "watch-p99",
        "the same, 99th percentile",
        WATCH,
        "ms",
        _at_most(0.8),
        "p99",
        "watch",
        digits=2,
    ),
    Row("range-1000", "Range, limit 1,000 of all keys", MANY, "ms", _at_most(0.02), digits=1),
    Row("count", "count of all keys", MANY, "ms", _at_most(0.02), digits=1),
    Row("range-all", "whole Range of a fifth of the keys", MANY, "ms", _at_most(0.5)),
    Row("restart", "a member's restart to healthy", MANY, "ms", _at_most(0.25)),
    Row("rss", "RSS of the leader", MANY, "MiB", _at_most(0.3)),
    Row("rss-anon", "of that not mapped files", MANY, "MiB"),
    Row("keepalives", "renewals, 100 streams, one in flight on each", LEASES, "/s", _at_least(2)),
    Row("keepalives-10", "the same, the ten leases of a stream renewed together", LEASES, "/s", _at_least(2)),
    Row("expiry", "leases with a key each, expiring together: first to last gone", LEASES, "ms", _at_most(0.5)),
    Row(
        "expiry-stall",
        "longest wait in a stream of puts meanwhile",
        LEASES,
        "ms",
        Aim(20, at_most=True, absolute=True),
        digits=1,
    ),
    Row("outage-p50", "kill -9 of the leader, median outage", FAILURES, "ms", _at_most(0.1), source="outage"),
    Row("outage-p99", "99th percentile", FAILURES, "ms", _at_most(0.1), "p99", "outage"),
    Row("cut-p50", "the leader is cut off, median outage", FAILURES, "ms", _at_most(0.5), source="cut"),
    *(
        Row(f"hold-{name}", f"{title}: event loop late, at most (own metric)", HOLDS, "ms", _TEN_MS, "max")
        for name, title in _WORK.items()
    ),
    *(
        Row(f"wait-{name}", f"{title}: longest wait of a serializable get", HOLDS, "ms", None, "median", digits=1)
        for name, title in _WORK.items()
    ),
    *(Row(f"took-{name}", f"{title}: how long it took", HOLDS, "ms") for name, title in _WORK.items()),
    *(Row(f"client-{name}", title, CLIENTS, "/s", _at_least(2)) for name, title in _CLIENTS.items()),
)
BY_NAME = {row.name: row for row in ROWS}
PARTS = tuple(dict.fromkeys(row.part for row in ROWS))


def chosen(words: list[str]) -> frozenset[str]:
    """Names of the rows that are meant: `puts-1` and what hangs on it, or any beginning. ValueError for none."""
    found: set[str] = set()
    for word in words:
        names = {name for name in BY_NAME if f"{name}-".startswith(f"{word}-")}
        names = names or {name for name in BY_NAME if name.startswith(word)}
        if not names:
            raise ValueError(f"there is no row {word}; there are {', '.join(BY_NAME)}")
        found |= names
    return frozenset(found) if words else frozenset(BY_NAME)
