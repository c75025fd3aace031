"""What is refused before the store is asked; cases beside each other as etcd 3.5.1 answered them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.errors import EtcdError, error
from kvstore.mvcc.txn_check import _Intervals, check_delete_range, check_put, check_range, check_txn
from kvstore.pb import etcd_pb2 as pb

Ops = list[pb.RequestOp]


def put(key: bytes, **options: object) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, **options))


def delete(key: bytes, end: bytes = b"") -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=end))


def get(key: bytes, **options: object) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, **options))


def nested(then: Ops, otherwise: Ops | None = None, **options: object) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(success=then, failure=otherwise or [], **options))


def refusal(req: pb.TxnRequest, max_ops: int = 128) -> str | None:
    try:
        check_txn(req, max_ops)
    except EtcdError as refused:
        return refused.message
    return None


DUPLICATE = error("DUPLICATE_KEY").message

OVERLAPS = [
    ("two puts of one key", [put(b"a"), put(b"a")], True),
    ("two puts of two keys", [put(b"a"), put(b"b")], False),
    ("a put and a delete of one key", [put(b"a"), delete(b"a")], True),
    ("a delete before the put", [delete(b"a"), put(b"a")], True),
    ("a put inside a deleted range", [delete(b"a", b"c"), put(b"b")], True),
    ("a put at the range's end", [delete(b"a", b"c"), put(b"c")], False),
    ("a put behind the range's end", [delete(b"a", b"c"), put(b"d")], False),
    ("two deletes of one key", [delete(b"a"), delete(b"a", b"c")], False),
    ("two deletes that touch, a put in the second", [delete(b"a", b"c"), delete(b"c", b"e"), put(b"d")], True),
    ("a put of the key with a zero behind a deleted one", [delete(b"a"), put(b"a\0")], False),
    ("an empty range holds nothing", [delete(b"c", b"a"), put(b"b")], False),
    ("delete from key on is taken literally", [delete(b"a", b"\0"), put(b"b")], False),
    ("a read of a put key", [put(b"a"), get(b"a"), get(b"a")], False),
    ("a put in a nested transaction", [put(b"a"), nested([put(b"a")])], True),
    ("a put in the other branch of a nested one", [put(b"a"), nested([], [put(b"a")])], True),
    ("then and else put the same key", [nested([put(b"a")], [put(b"a")])], False),
    ("then puts and else deletes", [nested([put(b"a")], [delete(b"a")])], False),
    ("two nested ones put the same key", [nested([put(b"a")]), nested([put(b"a")])], True),
    ("then of one, else of the next", [nested([put(b"a")]), nested([], [put(b"a")])], True),
    ("a nested delete and a put above", [nested([delete(b"a", b"c")]), put(b"b")], True),
    ("a put above and a nested delete behind it", [put(b"b"), nested([delete(b"a", b"c")])], True),
    ("a delete above and a nested put", [nested([put(b"b")]), delete(b"a", b"c")], True),
    ("an earlier nested delete", [nested([delete(b"a")]), nested([put(b"a")])], True),
    ("a later nested delete", [nested([put(b"a")]), nested([delete(b"a")])], False),
    ("two levels down", [put(b"a"), nested([nested([nested([], [put(b"a")])])])], True),
]


@pytest.mark.parametrize(("ops", "refused"), [case[1:] for case in OVERLAPS], ids=[case[0] for case in OVERLAPS])
def test_puts_that_overlap(ops: Ops, refused: bool) -> None:
    assert refusal(pb.TxnRequest(success=ops)) == (DUPLICATE if refused else None)
    assert refusal(pb.TxnRequest(failure=ops)) == (DUPLICATE if refused else None)


def test_then_and_else_of_the_outermost_may_overlap() -> None:
    assert refusal(pb.TxnRequest(success=[put(b"a")], failure=[put(b"a"), delete(b"b")])) is None


def test_the_bound_is_on_the_longest_list() -> None:
    three = [get(b"a")] * 3
    assert refusal(pb.TxnRequest(success=three, failure=three), 3) is None
    assert refusal(pb.TxnRequest(success=three), 2) == error("TOO_MANY_OPS").message
    assert refusal(pb.TxnRequest(failure=three), 2) == error("TOO_MANY_OPS").message
    assert refusal(pb.TxnRequest(compare=[pb.Compare(key=b"a")] * 3), 2) == error("TOO_MANY_OPS").message


def test_a_nested_transaction_gets_what_is_left() -> None:
    inner = nested([get(b"a")] * 2)
    assert refusal(pb.TxnRequest(success=[inner]), 3) is None
    assert refusal(pb.TxnRequest(success=[inner]), 2) == error("TOO_MANY_OPS").message
    assert refusal(pb.TxnRequest(success=[nested([inner])]), 4) is None
    assert refusal(pb.TxnRequest(success=[nested([inner])]), 3) == error("TOO_MANY_OPS").message


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (put(b""), "EMPTY_KEY"),
        (get(b""), "EMPTY_KEY"),
        (delete(b""), "EMPTY_KEY"),
        (delete(b"", b"\0"), "EMPTY_KEY"),
        (put(b"a", value=b"v", ignore_value=True), "VALUE_PROVIDED"),
        (put(b"a", lease=3, ignore_lease=True), "LEASE_PROVIDED"),
        (get(b"a", sort_order=3), "INVALID_SORT_OPTION"),
        (get(b"a", sort_target=5), "INVALID_SORT_OPTION"),
        (pb.RequestOp(), "KEY_NOT_FOUND"),
        (nested([], compare=[pb.Compare()]), "EMPTY_KEY"),
    ],
)
def test_inner_requests_are_checked_at_any_depth(op: pb.RequestOp, name: str) -> None:
    message = error(name).message
    assert refusal(pb.TxnRequest(success=[op])) == message
    assert refusal(pb.TxnRequest(failure=[op])) == message
    assert refusal(pb.TxnRequest(success=[nested([], [nested([op])])])) == message


def test_single_requests() -> None:
    check_put(pb.PutRequest(key=b"a", ignore_value=True, ignore_lease=True))
    check_range(pb.RangeRequest(key=b"a", sort_order=2, sort_target=4))
    check_delete_range(pb.DeleteRangeRequest(key=b"a"))
    for check, req in (
        (check_put, pb.PutRequest()),
        (check_range, pb.RangeRequest()),
        (check_delete_range, pb.DeleteRangeRequest()),
    ):
        with pytest.raises(EtcdError, match="key is not provided"):
            check(req)


points = st.integers(0, 20).map(lambda n: bytes([n]))


@given(st.lists(st.tuples(points, points), max_size=12))
def test_intervals_hold_what_one_of_them_holds(ranges: list[tuple[bytes, bytes]]) -> None:
    intervals = _Intervals()
    for begin, end in ranges:
        intervals.add(begin, end)
    for number in range(21):
        key = bytes([number])
        assert (key in intervals) == any(begin <= key < end for begin, end in ranges)
        assert (key + b"\0" in intervals) == any(begin <= key + b"\0" < end for begin, end in ranges)


def test_thousands_of_nested_deletes_and_puts_are_checked_quickly() -> None:
    deletes = [nested([delete(b"d%05d" % (i * 100 + j)) for j in range(100)]) for i in range(20)]
    puts = [nested([put(b"p%05d" % (i * 100 + j)) for j in range(100)]) for i in range(20)]
    looked_at = 0

    class Counting(bytes):
        def __lt__(self, other: object) -> bool:
            nonlocal looked_at
            looked_at += 1
            return bytes.__lt__(self, other)  # type: ignore[operator]

    intervals = _Intervals()
    for i in range(2000):
        intervals.add(b"d%05d" % (2 * i), b"d%05d" % (2 * i + 1))
    assert Counting(b"d00001") not in intervals
    assert 0 < looked_at <= 12
    assert refusal(pb.TxnRequest(success=deletes + puts), 256) is None
