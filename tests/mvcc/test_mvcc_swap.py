"""A transaction read from its bytes does what TxnRequest does; what is not of its form is left to that."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from harness.memory_tables import MemoryTables
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mvcc_lease_book import Leases, Recorder
from mvcc_pair import described
from mvcc_pair import plain as plainly
from mvcc_requests import LEASES, compares, keys, txns, values

from kvstore.mvcc.store import Store
from kvstore.mvcc.swap import read_swap
from kvstore.mvcc.txn_check import check_txn
from kvstore.pb import etcd_pb2 as pb

PUTS, TXNS = 1, 3
KEY = b"k"
PUT = pb.RequestOp(request_put=pb.PutRequest(key=KEY, value=b"v"))
GET = pb.RequestOp(request_range=pb.RangeRequest(key=KEY))
DELETE = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=KEY))
SAME = pb.Compare(key=KEY, target=pb.Compare.MOD, mod_revision=3)

short = keys.filter(lambda key: len(key) < 128)
ops = st.one_of(
    st.builds(lambda k, v: pb.RequestOp(request_put=pb.PutRequest(key=k, value=v)), short, values),
    st.builds(lambda k: pb.RequestOp(request_range=pb.RangeRequest(key=k)), short),
    st.builds(lambda k: pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=k)), short),
)
swaps = st.builds(
    pb.TxnRequest,
    compare=st.lists(compares, max_size=3),
    success=st.lists(ops, max_size=1),
    failure=st.lists(ops, max_size=1),
)
others = st.builds(pb.PutRequest, key=short, value=st.just(b"with a lease"), lease=st.sampled_from([0, *LEASES]))


class Side:
    """A store, and the events of its changes."""

    def __init__(self) -> None:
        self.tables, self.leases, self.sink = MemoryTables(), Leases(set(LEASES)), Recorder()
        self.store = Store(self.tables, self.leases, self.sink)

    def state(self) -> tuple[Any, ...]:
        told = [(main, [described(event) for event in events]) for main, events in self.sink.published]
        return self.store.revision, self.store.key_count, self.tables.dump(), self.leases.keys, told


@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(st.one_of(swaps, swaps, swaps, others), max_size=25))
def test_it_does_what_the_transaction_does(reqs: list[Any]) -> None:
    usual, quick = Side(), Side()
    for req in reqs:
        if isinstance(req, pb.PutRequest):
            usual.store.put(req)
            quick.store.put(req)
            continue
        swap = read_swap(req.SerializeToString())
        assert plainly(quick.store.txn(swap or req)) == plainly(usual.store.txn(req))
        assert quick.state() == usual.state()


def in_runs(store: Store, reqs: list[Any], parsed: bool) -> list[Any]:
    """As an entry is applied: runs, and whatever no run takes one by one. The answers."""
    bodies = [req.SerializeToString() for req in reqs]
    batch: list[tuple[Any, ...]] = [
        (PUTS if isinstance(req, pb.PutRequest) else TXNS, body, *([read_swap(body)] if parsed else []))
        for req, body in zip(reqs, bodies, strict=True)
    ]
    answers: list[Any] = []
    while (at := len(answers)) < len(reqs):
        taken = store.swap_run(batch, at, len(batch), TXNS)
        answers += map(plainly, taken)
        if not taken:
            req = reqs[at]
            answers.append(plainly(store.put(req) if isinstance(req, pb.PutRequest) else store.txn(req)))
    return answers


@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(st.lists(st.one_of(swaps, swaps, swaps, swaps, others), max_size=12), max_size=5), st.booleans())
def test_runs_are_transactions_one_by_one(batches: list[list[Any]], parsed: bool) -> None:
    alone, together = Side(), Side()
    for reqs in batches:
        expected = [
            plainly(alone.store.put(req) if isinstance(req, pb.PutRequest) else alone.store.txn(req)) for req in reqs
        ]
        assert in_runs(together.store, reqs, parsed) == expected
        assert together.state() == alone.state()


def test_one_run_sees_what_it_has_written() -> None:
    side = Side()
    values = [b"%d" % n for n in range(5)]
    absent = pb.Compare(key=KEY, target=pb.Compare.CREATE, create_revision=0)
    reqs = [pb.TxnRequest(compare=[absent], success=[put_of(b"0")])]
    reqs += [
        pb.TxnRequest(compare=[pb.Compare(key=KEY, target=pb.Compare.VALUE, value=old)], success=[put_of(new)])
        for old, new in pairwise(values)
    ]
    batch = [(TXNS, req.SerializeToString()) for req in reqs]
    results = side.store.swap_run(batch, 0, len(batch), TXNS)
    assert [(result.succeeded, result.revision) for result in results] == [(True, n + 2) for n in range(5)]


def put_of(value: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=KEY, value=value))


@settings(max_examples=examples(400), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.one_of(swaps, txns), st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_what_is_taken_is_what_protobuf_reads(req: pb.TxnRequest, at: int, byte: int, spoil: bool) -> None:
    data = req.SerializeToString()
    if spoil and data:
        at %= len(data)
        data = data[:at] + bytes((byte,)) + data[at + 1 :]
    swap = read_swap(data)
    if swap is None:
        return
    read = pb.TxnRequest.FromString(data)
    check_txn(read)  # lets it pass
    assert len(swap.compares) == len(read.compare)
    for (key, target, result, wanted), compare in zip(swap.compares, read.compare, strict=True):
        assert (key, target, result) == (compare.key, compare.target, compare.result)
        assert not compare.range_end
        field = {0: "version", 1: "create_revision", 2: "mod_revision", 3: "value", 4: "lease"}.get(target)
        assert wanted == (getattr(compare, field) if field else 0)
    for op, branch in ((swap.then, read.success), (swap.otherwise, read.failure)):
        assert [as_protobuf(op)] == list(branch) if op else not branch
    writes = [one.WhichOneof("request") for one in (*read.success, *read.failure)]
    assert swap.puts == ("request_put" in writes)
    assert {"request_put", "request_delete_range"} & set(writes)


def as_protobuf(op: tuple[int, bytes, bytes]) -> pb.RequestOp:
    kind, key, body = op
    if kind == 0x12:
        put = pb.PutRequest.FromString(body)
        assert put.key == key
        return pb.RequestOp(request_put=put)
    if kind == 0x0A:
        return pb.RequestOp(request_range=pb.RangeRequest(key=key))
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))


@pytest.mark.parametrize(
    "req",
    [
        pb.TxnRequest(),
        pb.TxnRequest(compare=[SAME], success=[GET]),
        pb.TxnRequest(success=[PUT, GET]),
        pb.TxnRequest(success=[pb.RequestOp()]),
        pb.TxnRequest(success=[pb.RequestOp(request_txn=pb.TxnRequest(success=[PUT]))]),
        pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=KEY, value=b"v", lease=5))]),
        pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=KEY, ignore_value=True))]),
        pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(value=b"v"))]),
        pb.TxnRequest(success=[PUT], failure=[pb.RequestOp(request_range=pb.RangeRequest(key=KEY, limit=1))]),
        pb.TxnRequest(success=[PUT], compare=[pb.Compare(key=KEY, range_end=b"z")]),
        pb.TxnRequest(success=[PUT], compare=[pb.Compare(version=1)]),
        pb.TxnRequest(success=[PUT], compare=[pb.Compare(key=KEY, version=-1)]),
    ],
)
def test_other_forms_are_left_alone(req: pb.TxnRequest) -> None:
    assert read_swap(req.SerializeToString()) is None


@pytest.mark.parametrize("tail", [b"\x80" * 9 + b"\x01", b"\x80" * 10 + b"\x00", b"\x80" * 3])
def test_numbers_that_are_negative_too_long_or_cut_are_left_alone(tail: bytes) -> None:
    inner = b"\x1a\x01k\x20" + tail
    put = pb.TxnRequest(success=[PUT]).SerializeToString()
    assert read_swap(put) is not None
    assert read_swap(bytes((0x0A, len(inner))) + inner + put) is None


def test_the_usual_ones_are_taken() -> None:
    for then, otherwise in (([PUT], [GET]), ([PUT], []), ([DELETE], [GET]), ([], [PUT])):
        req = pb.TxnRequest(compare=[SAME], success=then, failure=otherwise)
        swap = read_swap(req.SerializeToString())
        assert swap is not None, req
        assert swap.puts == (PUT in (*then, *otherwise))


def test_a_compare_of_a_key_that_has_just_got_a_lease_reads_its_record() -> None:
    side = Side()
    side.store.put(pb.PutRequest(key=KEY, value=b"1"))
    twice = pb.Compare(key=KEY, target=pb.Compare.VERSION, version=2)
    miss = read_swap(pb.TxnRequest(compare=[twice], success=[PUT]).SerializeToString())
    hit = read_swap(pb.TxnRequest(compare=[twice], success=[PUT]).SerializeToString())
    assert miss
    assert hit
    assert not side.store.txn(miss).succeeded
    side.store.put(pb.PutRequest(key=KEY, value=b"2", lease=LEASES[0]))
    assert side.store.txn(hit).succeeded
    assert side.leases.keys[LEASES[0]] == set()


@pytest.mark.parametrize("target", [pb.Compare.VERSION, pb.Compare.CREATE, pb.Compare.VALUE, pb.Compare.LEASE])
def test_what_is_given_for_another_target_reads_as_zero(target: pb.Compare.CompareTarget) -> None:
    req = pb.TxnRequest(compare=[pb.Compare(key=KEY, target=target, mod_revision=7)], success=[PUT])
    swap = read_swap(req.SerializeToString())
    assert swap is not None
    assert swap.compares == [(KEY, target, 0, b"" if target == pb.Compare.VALUE else 0)]
