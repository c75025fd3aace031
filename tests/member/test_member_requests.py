"""The bytes of a log entry, whole and damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.member.requests import BatchError, decode, encode_head, encode_request

requests = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50)), max_size=20)
ids = st.integers(0, 2**64 - 1)


def encode(origin: int, first: int, items: list[tuple[int, bytes]]) -> bytes:
    return encode_head(origin, first) + b"".join(encode_request(kind, body) for kind, body in items)


@given(ids, ids, requests)
def test_what_goes_in_comes_out(origin: int, first: int, items: list[tuple[int, bytes]]) -> None:
    batch = decode(encode(origin, first, items))
    assert (batch.origin, batch.first_sequence, batch.requests) == (origin, first, items)


@given(ids, requests.filter(bool), st.data())
def test_a_cut_is_an_error_or_a_whole_prefix(origin: int, items: list[tuple[int, bytes]], data: st.DataObject) -> None:
    whole = encode(origin, 1, items)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        batch = decode(cut)
    except BatchError:
        return
    assert batch.requests == items[: len(batch.requests)]
    assert encode(origin, 1, batch.requests) == cut


def test_the_error_says_what_is_wrong() -> None:
    with pytest.raises(BatchError, match="3 bytes are too short"):
        decode(b"abc")
    with pytest.raises(BatchError, match="cut in its body"):
        decode(encode(1, 1, [(1, b"hello")])[:-1])
