"""The table of hand-picked cases: name → calls."""

from __future__ import annotations

from typing import Any

from harness.calls import Call, compact, delete, get, get_at, grant, put, revoke, time_to_live, txn

from kvstore.pb import etcd_pb2 as pb

MIB = 1024 * 1024
NOTHING: Call = ("Nothing", pb.RangeRequest())
ABC = [put(b"a", b"3"), put(b"b", b"1"), put(b"c", b"2"), put(b"b", b"0")]
ALL = (b"\0", b"\0")
V, C, M, VALUE, LEASE = 0, 1, 2, 3, 4
EQ, GT, LT, NE = 0, 1, 2, 3


def nested(depth: int) -> Call:
    """A transaction `depth` levels deep with one put at the bottom."""
    return put(b"deep") if depth == 0 else txn(success=[nested(depth - 1)])


CASES: dict[str, list[Any]] = {
    # ---- range ----
    "range of a missing key": [get(b"none")],
    "empty key is an error": [get(b""), put(b""), delete(b""), txn(success=[get(b"")]), txn(failure=[put(b"")])],
    "empty key in a compare": [txn([{"key": b"", "version": 1}], [put(b"a")])],
    "range_end zero byte means from key on": [*ABC, get(b"b", b"\0"), get(*ALL), delete(b"b", b"\0"), get(*ALL)],
    "range end below key": [*ABC, get(b"c", b"a"), delete(b"c", b"a"), get(b"b", b"b")],
    "count ignores limit": [
        *ABC,
        get(*ALL, limit=1),
        get(*ALL, limit=3),
        get(*ALL, limit=4),
        get(*ALL, count_only=True),
    ],
    "count only with limit and filters": [*ABC, get(*ALL, count_only=True, limit=1, min_mod_revision=3)],
    "negative limit": [*ABC, get(*ALL, limit=-1)],
    "sort comes before limit": [
        *ABC,
        *(get(*ALL, limit=2, sort_order=o, sort_target=t) for o in (0, 1, 2) for t in range(5)),
    ],
    # etcd 3.5 cuts before it sorts when the order is not named.
    "limit and sort without an order": [
        *ABC,
        *(get(*ALL, limit=n, sort_target=t) for n in (1, 2, 3) for t in range(5)),
    ],
    "sort of one key": [*ABC, get(b"b", sort_order=2, sort_target=3)],
    "keys only": [*ABC, get(*ALL, keys_only=True), get(*ALL, keys_only=True, sort_order=2, sort_target=4)],
    "keys only and count only": [*ABC, get(*ALL, keys_only=True, count_only=True)],
    "mod filters": [*ABC, get_at(0, *ALL), get(*ALL, max_mod_revision=1), get(*ALL, min_create_revision=1 << 40)],
    "revisions": [*ABC, *(get_at(n, *ALL) for n in range(6)), get(*ALL, revision=-1), get(*ALL, revision=-7)],
    "revisions of one key": [*ABC, delete(b"b"), *(get_at(n, b"b") for n in range(7))],
    "serializable": [*ABC, get(*ALL, serializable=True)],
    "serializable in the future": [get(*ALL, serializable=True, revision=1 << 40)],
    # ---- put ----
    "put replaces": [put(b"a", b"1"), put(b"a", b"2"), get(b"a"), put(b"a", b"", prev_kv=True), get(b"a")],
    "prev_kv of nothing": [put(b"a", prev_kv=True), put(b"a", b"w", prev_kv=True)],
    "life begins anew after a delete": [
        put(b"a"),
        put(b"a"),
        delete(b"a", prev_kv=True),
        put(b"a", prev_kv=True),
        get(b"a"),
    ],
    "ignore_value keeps it": [put(b"a", b"1"), put(b"a", b"", ignore_value=True, prev_kv=True), get(b"a")],
    "ignore_value of a missing key": [put(b"a", b"", ignore_value=True)],
    "ignore_value with a value": [put(b"a"), put(b"a", b"x", ignore_value=True)],
    "ignore_lease keeps it": [grant(5000, 71), put(b"a", lease=71), put(b"a", b"", ignore_lease=True), get(b"a")],
    "ignore_lease of a missing key": [put(b"a", b"", ignore_lease=True)],
    "ignore_lease with a lease": [grant(5000, 72), put(b"a"), put(b"a", ignore_lease=True, lease=72)],
    "ignore both": [
        grant(5000, 73),
        put(b"a", b"1", lease=73),
        put(b"a", b"", ignore_value=True, ignore_lease=True),
        get(b"a"),
    ],
    "both errors at once": [put(b"", b"x", ignore_value=True, ignore_lease=True, lease=5)],
    "unknown lease": [put(b"a", lease=999), txn(success=[put(b"a", lease=999)]), get(b"a")],
    "negative lease": [put(b"a", lease=-5)],
    "binary keys and values": [put(b"\0", b"\0\xff"), put(b"\xff\xff", b""), get(*ALL), delete(b"\xff", b"\0")],
    "key of 4 KiB": [
        put(b"k" * 4096, b"v"),
        get(b"k" * 4096),
        get(b"k" * 4095, b"k" * 4095 + b"l"),
        delete(b"k" * 4096),
    ],
    "keys of 4 KiB that differ at the end": [
        put(b"k" * 4096 + b"1", b"1"),
        put(b"k" * 4096 + b"2", b"2"),
        get(b"k", b"l"),
    ],
    "value of 1 MiB": [put(b"a", b"v" * MIB), get(b"a"), delete(b"a", prev_kv=True)],
    "value above 1.5 MiB": [put(b"a", b"v" * (3 * MIB // 2 + 1)), get(b"a")],
    "value just below 1.5 MiB": [put(b"a", b"v" * (3 * MIB // 2 - 200)), get(b"a")],
    "message above the receive limit": [put(b"a", b"v" * (2 * MIB + 1))],
    # ---- delete ----
    "delete of nothing takes no revision": [delete(b"none"), delete(*ALL), delete(b"x", b"y", prev_kv=True)],
    "delete a range with prev_kv": [*ABC, delete(b"a", b"c", prev_kv=True), get(*ALL)],
    "delete twice": [put(b"a"), delete(b"a"), delete(b"a")],
    # ---- txn ----
    "empty txn": [txn(), txn([{"key": b"a", "target": V, "version": 0}])],
    "txn takes one revision": [txn(success=[put(b"a"), put(b"b"), delete(b"c"), get(*ALL)]), get(*ALL)],
    "read-only txn": [*ABC, txn(success=[get(*ALL), get(b"a")])],
    "txn that changes nothing": [txn(success=[delete(b"none")])],
    "txn whose other branch writes": [
        txn([{"key": b"a", "target": V, "result": EQ, "version": 5}], [put(b"a")], [get(b"a")])
    ],
    "txn reads its own writes": [put(b"a", b"1"), txn(success=[put(b"a", b"2"), get(b"a"), delete(b"a"), get(b"a")])],
    "put after put": [
        txn(success=[put(b"a", b"1"), get(b"a")]),
        txn(success=[put(b"a"), put(b"a")]),
        txn(failure=[put(b"a"), put(b"a")]),
    ],
    "put in a deleted range": [
        txn(success=[delete(b"a", b"c"), put(b"b")]),
        txn(success=[put(b"b"), delete(b"a", b"c")]),
    ],
    "put beside a deleted range": [txn(success=[delete(b"a", b"c"), put(b"c")]), get(*ALL)],
    "put in an open-ended deleted range": [put(b"c"), txn(success=[delete(b"a", b"\0"), put(b"b")]), get(*ALL)],
    "put in a range deleted by prefix": [
        txn(success=[delete(b"b"), put(b"b")]),
        txn(success=[delete(b"b"), put(b"b\0")]),
    ],
    "two deletes overlap": [*ABC, txn(success=[delete(b"a", b"c"), delete(b"b", b"d")]), get(*ALL)],
    "duplicate in nested txn": [
        txn(success=[put(b"a"), txn(success=[put(b"a")])]),
        txn(success=[put(b"a"), txn(failure=[put(b"a")])]),
        txn(success=[txn(success=[put(b"a")], failure=[put(b"a")])]),
        txn(success=[txn(success=[put(b"a")]), txn(success=[put(b"a")])]),
        txn(success=[txn(success=[delete(b"a", b"c")]), put(b"b")]),
        get(*ALL),
    ],
    "same key in then and else": [txn(success=[put(b"a", b"1")], failure=[put(b"a", b"2")]), get(b"a")],
    "128 operations": [txn(success=[put(b"k%03d" % n) for n in range(128)]), get(*ALL, count_only=True)],
    "129 operations": [txn(success=[put(b"k%03d" % n) for n in range(129)])],
    "129 failure operations": [txn(failure=[get(b"k") for n in range(129)])],
    "129 compares": [txn([{"key": b"a", "target": V, "version": 0}] * 129)],
    "128 of each": [txn([{"key": b"a", "target": V, "version": 0}] * 128, [get(b"a")] * 128, [get(b"b")] * 128)],
    "nested operations are counted": [
        txn(success=[*([get(b"a")] * 127), txn(success=[get(b"b")] * 2)]),
        txn(success=[txn(success=[get(b"b")] * 128)]),
        txn(success=[txn(success=[get(b"b")] * 127)]),
        txn(success=[txn(success=[get(b"b")] * 64), txn(success=[get(b"b")] * 64)]),
    ],
    "nested ten deep": [nested(10), get(b"deep")],
    "empty operation": [txn(success=[NOTHING, put(b"a"), NOTHING])],
    "nested compare sees the first write": [
        txn(
            success=[
                put(b"a", b"1"),
                txn([{"key": b"a", "target": VALUE, "value": b"1"}], [put(b"b", b"y")], [put(b"b", b"n")]),
            ]
        ),
        get(b"b"),
    ],
    "failing range inside a txn leaves nothing": [txn(success=[put(b"a"), get(b"b", revision=1 << 40)]), get(b"a")],
    "failing put inside a txn leaves nothing": [txn(success=[put(b"a"), put(b"b", b"", ignore_value=True)]), get(*ALL)],
    # ---- compares ----
    **{
        f"compare {name} {result_name}": [
            grant(5000, 74),
            put(b"a", b"m", lease=74),
            put(b"b", b"m"),
            *(
                txn([{"key": key, "target": target, "result": result, field: operand}], [put(b"yes")], [put(b"no")])
                for key in (b"a", b"b", b"missing")
                for operand in operands
            ),
        ]
        for name, target, field, operands in [
            ("version", V, "version", (0, 1, 2, -1)),
            ("create", C, "create_revision", (0, 1, 1 << 40)),
            ("mod", M, "mod_revision", (0, 1, 1 << 40)),
            ("value", VALUE, "value", (b"", b"m", b"a", b"z")),
            ("lease", LEASE, "lease", (0, 74, 75)),
        ]
        for result_name, result in [("=", EQ), (">", GT), ("<", LT), ("!=", NE)]
    },
    "compare a range": [
        *ABC,
        txn([{"key": b"a", "range_end": b"d", "target": V, "result": GT, "version": 0}], [put(b"yes")], [put(b"no")]),
        txn([{"key": b"a", "range_end": b"d", "target": V, "result": EQ, "version": 1}], [put(b"yes")], [put(b"no")]),
        txn(
            [{"key": b"a", "range_end": b"\0", "target": C, "result": GT, "create_revision": 0}],
            [put(b"yes")],
            [put(b"no")],
        ),
        txn(
            [{"key": b"x", "range_end": b"z", "target": C, "result": EQ, "create_revision": 7}],
            [put(b"yes")],
            [put(b"no")],
        ),
        txn(
            [{"key": b"x", "range_end": b"z", "target": VALUE, "result": EQ, "value": b"7"}],
            [put(b"yes")],
            [put(b"no")],
        ),
        txn([{"key": b"c", "range_end": b"a", "target": V, "result": EQ, "version": 9}], [put(b"yes")], [put(b"no")]),
    ],
    "compare without an operand": [
        put(b"a"),
        *(txn([{"key": b"a", "target": t}], [put(b"yes")], [put(b"no")]) for t in range(5)),
    ],
    "compare with another target's operand": [
        put(b"a"),
        txn([{"key": b"a", "target": V, "mod_revision": 1}], [put(b"yes")], [put(b"no")]),
    ],
    "compare all must hold": [
        put(b"a"),
        txn(
            [{"key": b"a", "target": V, "version": 1}, {"key": b"a", "target": V, "version": 2}],
            [put(b"yes")],
            [put(b"no")],
        ),
    ],
    "compare of unknown kinds": [
        txn([{"key": b"a", "target": 9, "version": 0}], [put(b"yes")], [put(b"no")]),
        txn([{"key": b"a", "result": 9}], [put(b"yes")], [put(b"no")]),
    ],
    # ---- compaction ----
    "compact": [*ABC, compact(2), *(get_at(n, *ALL) for n in range(6)), compact(2), compact(1), compact(4), get(*ALL)],
    "compact the future": [*ABC, compact(5), compact(500)],
    "compact now": [*ABC, delete(b"a"), compact(5, physical=True), get(*ALL), get_at(5, *ALL), get_at(4, *ALL)],
    "compacted key comes back": [
        put(b"a"),
        delete(b"a"),
        compact(2, physical=True),
        put(b"a"),
        get(b"a"),
        get_at(2, b"a"),
    ],
    "compact in a txn's range": [
        *ABC,
        compact(3),
        txn(success=[put(b"z"), (get_at(0, b"a")[0], pb.RangeRequest(key=b"a", revision=1))]),
    ],
    # ---- leases ----
    "lease grant": [grant(60, 81), grant(60, 81), time_to_live(81), revoke(81), revoke(81), time_to_live(81)],
    "lease TTL too small": [grant(1, 82), time_to_live(82), grant(0, 83), grant(-1, 84)],
    "lease TTL too large": [grant(9_000_000_000, 85), grant(9_000_000_001, 86)],
    "lease with a negative id": [grant(60, -3), time_to_live(-3), revoke(-3)],
    "lease keys": [
        grant(60, 87),
        put(b"a", lease=87),
        put(b"b", lease=87),
        time_to_live(87),
        time_to_live(87, keys=False),
    ],
    "put without lease detaches": [
        grant(60, 88),
        put(b"a", lease=88),
        put(b"a"),
        time_to_live(88),
        revoke(88),
        get(b"a"),
    ],
    "put moves a key to another lease": [
        grant(60, 89),
        grant(60, 90),
        put(b"a", lease=89),
        put(b"a", lease=90),
        time_to_live(89),
        time_to_live(90),
        revoke(89),
        get(b"a"),
    ],
    "delete detaches": [grant(60, 91), put(b"a", lease=91), delete(b"a"), time_to_live(91)],
    "revoke deletes in one revision": [
        grant(60, 92),
        put(b"b", lease=92),
        put(b"a", lease=92),
        revoke(92),
        get(*ALL),
        *(get_at(n, *ALL) for n in range(4)),
    ],
    "revoke of a lease without keys": [grant(60, 93), revoke(93), put(b"a")],
    "leases are listed": [grant(60, 94), grant(70, 95), ("LeaseLeases", pb.LeaseLeasesRequest())],
    "lease in a txn": [
        grant(60, 96),
        txn(success=[put(b"a", lease=96), put(b"b")]),
        time_to_live(96),
        revoke(96),
        get(*ALL),
    ],
    # ---- maintenance and cluster ----
    "alarms": [
        ("Alarm", pb.AlarmRequest(action=pb.AlarmRequest.GET)),
        ("Alarm", pb.AlarmRequest(action=pb.AlarmRequest.GET, alarm=pb.NOSPACE)),
    ],
    "hash of the future": [("HashKV", pb.HashKVRequest(revision=1 << 40))],
    "move leader to nobody": [("MoveLeader", pb.MoveLeaderRequest(targetID=12345))],
}
