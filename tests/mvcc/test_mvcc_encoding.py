"""The hand-made encoder gives protobuf's bytes, and the readers read them back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore import varint
from kvstore.mvcc import encoding
from kvstore.pb import etcd_pb2 as pb

int64 = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 29))
positive = st.one_of(st.integers(1, (1 << 63) - 1), st.integers(1, 1 << 29))
some_keys = st.binary(min_size=1, max_size=300)
some_values = st.one_of(st.binary(max_size=300), st.integers(16_380, 16_390).map(bytes))


@given(some_keys, int64, int64, int64, some_values, int64)
def test_encode_kv_is_protobufs(key: bytes, create: int, mod: int, version: int, value: bytes, lease: int) -> None:
    message = pb.KeyValue(key=key, create_revision=create, mod_revision=mod, version=version, value=value, lease=lease)
    assert encoding.encode_kv(key, create, mod, version, value, lease) == message.SerializeToString(deterministic=True)


@given(some_keys, positive, positive, positive, some_values, int64)
def test_encode_put_is_encode_kv(key: bytes, create: int, mod: int, version: int, value: bytes, lease: int) -> None:
    fields = (key, create, mod, version, value, lease)
    assert encoding.encode_put(*fields) == encoding.encode_kv(*fields)


@given(some_keys, positive, some_values, int64)
def test_readers_find_what_was_written(key: bytes, number: int, value: bytes, lease: int) -> None:
    kv = encoding.encode_kv(key, number, number, number, value, lease)
    assert encoding.value_of(kv) == value
    assert encoding.record_key(bytes(encoding.HEADER_SIZE) + kv) == key


def test_a_key_value_without_value_has_none() -> None:
    assert encoding.value_of(encoding.encode_kv(b"k", 0, 5, 0, b"", 3)) == b""
    assert encoding.value_of(encoding.encode_kv(b"k", 0, 0, 0, b"", 0)) == b""


@pytest.mark.parametrize("shift", range(0, 63, 7))
def test_varints_at_the_edges_of_their_lengths(shift: int) -> None:
    for number in {0, (1 << shift) - 1, 1 << shift, (1 << shift) + 1, (1 << 63) - 1}:
        data = varint.varint(number)
        assert varint.read_varint(b"\xff" + data, 1) == (number, 1 + len(data))
        assert data == pb.KeyValue(lease=number).SerializeToString()[1:] or number == 0


@given(some_keys, st.integers(1, (1 << 62) - 1), st.integers(0, (1 << 32) - 1), positive)
def test_a_tombstone_says_what_it_superseded(key: bytes, main: int, sub: int, mod: int) -> None:
    record = encoding.tombstone_record(main << 32 | sub, key, mod)
    assert encoding.HEADER.unpack_from(record) == (main, sub, 0, 0, 0, encoding.TOMBSTONE)
    assert record[encoding.HEADER_SIZE :] == pb.KeyValue(key=key, mod_revision=mod).SerializeToString()


@pytest.mark.parametrize("edge", [0, 1, 128, 1 << 14, 5 << 14, 1 << 21, 1 << 28, (1 << 28) + 77, 1 << 40])
def test_varints_that_count_up(edge: int) -> None:
    for start in range(max(edge - 3, 0), edge + 3):
        firsts, rest, end = varint.split_varint(start)
        assert start < end
        for number in (start, start + 1, (start + end) // 2, end - 1):
            if number < end:
                assert firsts[number & varint.SPLIT] + rest == varint.varint(number)
