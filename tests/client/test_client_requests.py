"""Requests from options: ranges, prefixes, endpoints; no store."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.backoff import delays
from kvstore.client import mod_revision, value, version
from kvstore.client.channels import address_of
from kvstore.client.requests import OPEN_END, key_range, prefix_end
from kvstore.client.txn import Txn, delete, get, only_reads, put
from kvstore.pb import etcd_pb2 as pb

KEYS = st.binary(max_size=4)


@given(prefix=st.binary(min_size=1, max_size=3), key=KEYS)
def test_a_prefix_covers_exactly_the_keys_that_begin_with_it(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    inside = key >= prefix and (end == OPEN_END or key < end)
    assert inside == key.startswith(prefix)


@given(key=KEYS)
def test_an_empty_prefix_is_every_key(key: bytes) -> None:
    assert key_range(b"", prefix=True) == (b"\0", OPEN_END)
    assert key_range(key, from_key=True) == (key or b"\0", OPEN_END)


@pytest.mark.parametrize(
    "options",
    [{"range_end": "b", "prefix": True}, {"prefix": True, "from_key": True}, {"range_end": "b", "from_key": True}],
)
def test_ways_to_name_a_range_exclude_each_other(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="exclude"):
        key_range("a", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("endpoint", "target", "secure"),
    [
        ("127.0.0.1:2379", "127.0.0.1:2379", False),
        ("http://h:1", "h:1", False),
        ("https://h:1", "h:1", True),
        ("h", "h:2379", False),
        (" h:7 ", "h:7", False),
        ("[::1]:7", "[::1]:7", False),
        ("http://[::1]:7/", "[::1]:7", False),
        ("unix:///run/s", "unix:/run/s", False),
        ("unixs:///run/s", "unix:/run/s", True),
    ],
)
def test_endpoints(endpoint: str, target: str, secure: bool) -> None:
    assert address_of(endpoint) == (target, secure)


@pytest.mark.parametrize("endpoint", ["", "http://", "ftp://h:1", "h:port", "h:99999", "u@h:1"])
def test_bad_endpoints_are_named(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        address_of(endpoint)


def test_compares_are_built_by_operators() -> None:
    assert (version("k") == 3) == pb.Compare(target=pb.Compare.VERSION, key=b"k", version=3)
    assert (value("k") != "x") == pb.Compare(target=pb.Compare.VALUE, result=pb.Compare.NOT_EQUAL, key=b"k", value=b"x")
    ranged = mod_revision("k", prefix=True) < 9
    assert ranged == pb.Compare(target=pb.Compare.MOD, result=pb.Compare.LESS, key=b"k", range_end=b"l", mod_revision=9)


def test_a_zero_on_the_right_is_sent() -> None:
    assert (version("k") == 0).WhichOneof("target_union") == "version"


def test_only_reads_looks_into_nested_transactions() -> None:
    async def never(request: pb.TxnRequest, repeatable: bool) -> pb.TxnResponse:
        raise AssertionError

    reading = Txn(never).then(get("a"), Txn(never).then(get("b")))
    writing = Txn(never).then(get("a")).otherwise(Txn(never).otherwise(put("b")))
    assert only_reads(reading.request)
    assert not only_reads(writing.request)
    assert not only_reads(Txn(never).then(delete("a")).request)


def test_waits_grow_to_their_bound_and_differ() -> None:
    waits = list(itertools.islice(delays(first=0.1, most=1.0), 50))
    assert all(0.05 <= wait <= 1.0 for wait in waits)
    assert max(waits[:2]) < 0.21
    assert len(set(waits)) > 40
