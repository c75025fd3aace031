"""Runs of puts of one key, written as columns, give the state of the same puts one by one."""

from __future__ import annotations

from typing import Any

import pytest
from harness.plan import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from mvcc_requests import LEASES, LONG
from test_mvcc_put_run import OTHER, PUT, Side

from kvstore.mvcc.one_key_run import one_key_run
from kvstore.pb import etcd_pb2 as pb

names = st.sampled_from([b"a", b"b", b"a\0", b"k" * 127, LONG])
sizes = st.sampled_from([0, 1, 2, 127, 128, 4000, 5000])
leases = st.sampled_from([0, 0, 0, 0, LEASES[0]])
blocks = st.lists(st.tuples(names, sizes, leases, st.integers(1, 20)), max_size=6)


class Unwatched(Side):
    """Single puts are published all the same, with gaps where runs were: nobody listens."""

    def open(self) -> None:
        super().open()
        self.sink.watched = False
        self.sink.published.clear()

    def one(self, req: Any) -> None:
        super().one(req)
        self.sink.published.clear()


def in_columns(side: Side, bodies: list[tuple[int, bytes]]) -> int:
    """How many of them are applied as a run of one key."""
    return one_key_run(side.store._keyspace, side.sink, bodies, 0, len(bodies), PUT)


def usual(count: int, key: bytes = b"k") -> list[tuple[int, bytes]]:
    return [(PUT, pb.PutRequest(key=key, value=b"%5d" % n).SerializeToString()) for n in range(count)]


@settings(max_examples=examples(150), deadline=None, print_blob=True)
@given(blocks, st.lists(st.integers(1, 64), min_size=1, max_size=8), st.booleans())
def test_runs_of_one_key_are_puts_one_by_one(
    parts: list[tuple[bytes, int, int, int]], cuts: list[int], restarts: bool
) -> None:
    puts: list[Any] = [
        pb.PutRequest(key=key, value=bytes((n,)) * size, lease=lease)
        for key, size, lease, count in parts
        for n in range(count)
    ]
    alone, together = Unwatched(), Unwatched()
    at = 0
    while at < len(puts):
        size = cuts[at % len(cuts)]
        for put in puts[at : at + size]:
            alone.one(put)
        together.several(puts[at : at + size])
        at += size
        assert together.state() == alone.state()
        if restarts:
            together.open()


def test_versions_and_revisions_that_take_another_byte() -> None:
    alone, together = Unwatched(), Unwatched()
    puts: list[Any] = [pb.PutRequest(key=b"k", value=b"%5d" % n) for n in range(16_450)]
    for put in puts:
        alone.one(put)
    for at in range(0, len(puts), 1_000):
        together.several(puts[at : at + 1_000])
    assert together.state() == alone.state()
    assert together.store.put_count == len(puts)


def test_it_takes_what_it_is_for() -> None:
    side = Unwatched()
    assert in_columns(side, usual(10)) == 0, "a key that is not alive"
    side.several([pb.PutRequest(key=b"k", value=b"v")])
    assert in_columns(side, usual(10)) == 10
    assert in_columns(side, usual(2)) == 0, "too few"
    side.sink.watched = True
    assert in_columns(side, usual(10)) == 0, "somebody watches"
    assert side.store.revision == 12


@pytest.mark.parametrize(
    "odd",
    [
        (OTHER, usual(1)[0][1]),
        (PUT, pb.PutRequest(key=b"j", value=b"    0").SerializeToString()),
        (PUT, pb.PutRequest(key=b"k", value=b"longer").SerializeToString()),
        (PUT, pb.PutRequest(key=b"k", value=b"    0", lease=1).SerializeToString()),
        (PUT, b""),
    ],
)
@pytest.mark.parametrize("where", [0, 4, 9])
def test_one_other_request_among_them_and_it_takes_none(odd: tuple[int, bytes], where: int) -> None:
    side = Unwatched()
    side.several([pb.PutRequest(key=b"k", value=b"v")])
    before = side.state()
    requests = usual(10)
    requests[where] = odd
    assert in_columns(side, requests) == 0
    assert side.state() == before
