"""Runs of puts taken from their bytes give the state, the answers and the events of the same puts one by one."""

from __future__ import annotations

from typing import Any

import pytest
from harness.memory_tables import MemoryTables
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mvcc_lease_book import Leases, Recorder
from mvcc_pair import described
from mvcc_requests import LEASES, LONG

from kvstore.mvcc import keyspace as keyspace_module
from kvstore.mvcc.put_run import key_end
from kvstore.mvcc.store import Store
from kvstore.pb import etcd_pb2 as pb

PUT, OTHER = 1, 2

names = st.sampled_from([b"a", b"a\0", b"a\0\0", b"a\0\xff", b"b", b"\0", b"k" * 127, b"k" * 128, LONG])
lengths = st.one_of(st.integers(0, 3), st.integers(126, 130), st.sampled_from([4000, 5000]))
plain_puts = st.builds(pb.PutRequest, key=names, value=lengths.map(bytes))
other_puts = st.builds(pb.PutRequest, key=names, value=st.just(b"v"), lease=st.sampled_from(LEASES))
with_previous = st.builds(pb.PutRequest, key=names, value=st.just(b"p"), prev_kv=st.just(True))
deletes = st.builds(pb.DeleteRangeRequest, key=names)
steps = st.lists(st.one_of(plain_puts, plain_puts, plain_puts, other_puts, with_previous, deletes), max_size=40)


class Side:
    """One store and all that it told."""

    def __init__(self) -> None:
        self.tables = MemoryTables()
        self.sink = Recorder()
        self.open()

    def open(self) -> None:
        self.leases = Leases(set(LEASES))
        self.store = Store(self.tables, self.leases, self.sink)

    def one(self, req: Any) -> None:
        if isinstance(req, pb.DeleteRangeRequest):
            self.store.delete_range(req)
        else:
            self.store.put(req)

    def several(self, reqs: list[Any]) -> int:
        """As an entry is applied: runs, and whatever no run takes one by one. How many were in runs."""
        kinds = [(OTHER if isinstance(r, pb.DeleteRangeRequest) else PUT, r.SerializeToString()) for r in reqs]
        at = taken = 0
        while at < len(reqs):
            before = self.store.revision
            count = self.store.put_run(kinds, at, len(kinds), PUT)
            assert self.store.revision == before + count
            taken += count
            at += count
            if not count:
                self.one(reqs[at])
                at += 1
        return taken

    def state(self) -> tuple[Any, ...]:
        store = self.store
        return store.revision, store.key_count, store.hash_kv().hash, self.tables.dump(), self.leases.keys

    def told(self) -> list[tuple[int, list[tuple[Any, ...]]]]:
        return [(main, [described(event) for event in events]) for main, events in self.sink.published]


@settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(steps, st.lists(st.integers(1, 12), min_size=1, max_size=8), st.booleans(), st.sampled_from([1, 3, 8192]))
def test_runs_are_puts_one_by_one(reqs: list[Any], sizes: list[int], restarts: bool, heads: int) -> None:
    alone, together = Side(), Side()
    known, keyspace_module._MOST_HEADS = keyspace_module._MOST_HEADS, heads
    try:
        at = 0
        while at < len(reqs):
            size = sizes[at % len(sizes)]
            for req in reqs[at : at + size]:
                alone.one(req)
            together.several(reqs[at : at + size])
            at += size
            assert together.state() == alone.state()
            if restarts:
                together.open()
    finally:
        keyspace_module._MOST_HEADS = known
    assert together.told() == alone.told()


def test_usual_puts_are_taken_in_runs_and_nothing_else_is() -> None:
    side = Side()
    usual: list[Any] = [pb.PutRequest(key=b"k%d" % (n % 3), value=b"v" * n) for n in range(1, 300)]
    assert side.several(usual) == len(usual)
    assert side.store.put_count == len(usual)
    assert side.several([pb.PutRequest(key=b"k1", value=b"v", lease=LEASES[0])]) == 0
    assert side.several(usual[:6]) == 5, "the one whose key has a lease goes the long way, once"
    assert side.several(usual[:6]) == 6


@pytest.mark.parametrize("revision", [(1 << 14) - 4, (1 << 21) - 4, (1 << 28) - 4])
def test_runs_where_a_revision_takes_another_byte(revision: int) -> None:
    alone, together = Side(), Side()
    puts: list[Any] = [pb.PutRequest(key=b"k%d" % (n % 3), value=b"v" * n) for n in range(1, 9)]
    for side in (alone, together):
        side.store._keyspace.revision = revision
    for put in puts:
        alone.one(put)
    assert together.several(puts) == len(puts)
    assert together.state() == alone.state()
    assert together.told() == alone.told()


def test_events_are_not_made_while_nobody_watches() -> None:
    side = Side()
    side.sink.watched = False
    side.several([pb.PutRequest(key=b"k", value=b"v")] * 3)
    assert side.sink.published == []
    side.sink.watched = True
    side.several([pb.PutRequest(key=b"k", value=b"w")])
    assert [main for main, _ in side.sink.published] == [5]


def test_a_watcher_that_asks_between_two_puts_of_a_run_sees_the_revision_of_the_first() -> None:
    side, seen = Side(), []
    publish = side.sink.publish

    def ask(main: int, events: list[Any]) -> None:
        seen.append((main, side.store.revision, side.store.previous_kv(events[0])))
        publish(main, events)

    side.sink.publish = ask  # type: ignore[method-assign]
    side.several([pb.PutRequest(key=b"k", value=b"%d" % n) for n in range(3)])
    assert [(main, revision) for main, revision, _ in seen] == [(2, 2), (3, 3), (4, 4)]
    assert [pb.KeyValue.FromString(kv).value for _, _, kv in seen if kv] == [b"0", b"1"]


@settings(max_examples=examples(400), deadline=None, print_blob=True)
@given(
    st.one_of(
        st.binary(max_size=12),
        st.builds(lambda r: r.SerializeToString(), st.one_of(plain_puts, other_puts, with_previous)),
    ),
    st.integers(0, 400),
    st.integers(0, 255),
    st.booleans(),
)
def test_a_put_that_is_taken_is_what_protobuf_reads(body: bytes, at: int, byte: int, spoil: bool) -> None:
    if spoil and body:
        at %= len(body)
        body = body[:at] + bytes((byte,)) + body[at + 1 :]
    end = key_end(body)
    if end:
        put = pb.PutRequest.FromString(body)
        assert put == pb.PutRequest(key=body[2:end], value=put.value)
        assert put.key
        assert put.value
        assert put.SerializeToString() == body


@pytest.mark.parametrize("length", [1, 127, 128, 129, 255, 256, 4000])
def test_lengths_of_one_and_of_two_bytes(length: int) -> None:
    body = pb.PutRequest(key=b"key", value=b"v" * length).SerializeToString()
    assert key_end(body) == 5
    assert key_end(body + b"v") == key_end(body[:-1]) == 0


def test_a_length_in_more_bytes_than_it_needs_is_not_the_usual_form() -> None:
    body = b"\x0a\x01k\x12\xff\x00" + b"v" * 127
    assert pb.PutRequest.FromString(body) == pb.PutRequest(key=b"k", value=b"v" * 127)
    assert key_end(body) == 0, "the stored KeyValue would not be what protobuf makes of it"
