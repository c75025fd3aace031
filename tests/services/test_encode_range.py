"""A RangeResponse that is put together from stored bytes is, byte for byte, the one that protobuf writes."""

from __future__ import annotations

import pytest

from kvstore.mvcc.encoding import encode_kv
from kvstore.mvcc.results import RangeResult
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.encode import range_response

HEADER = pb.ResponseHeader(cluster_id=7, revision=300)


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("count", [0, 5, 500_000])
@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [3],
        [3] * 40,
        [200] * 7,
        [9000] * 3,  # beyond the lengths whose tags are remembered
        [3, 4, 3, 4, 3],  # alike by its ends and its middle
        [3, 3, 200, 3, 3, 9000],
    ],
)
def test_it_is_what_protobuf_writes(sizes: list[int], count: int, more: bool) -> None:
    rows = [(b"key%04d" % number, bytes([number]) * size) for number, size in enumerate(sizes)]
    expected = pb.RangeResponse(header=HEADER, more=more, count=count)
    for key, value in rows:
        expected.kvs.add(key=key, create_revision=9, mod_revision=9, version=1, value=value)
    kvs = [encode_kv(key, 9, 9, 1, value, 0) for key, value in rows]
    header = pb.RangeResponse(header=HEADER).SerializeToString()
    found = range_response(header, RangeResult(300, list(kvs), more, count))
    assert found == expected.SerializeToString(deterministic=True)
    result = RangeResult(300, kvs, more, count)
    assert header + range_response(b"", result) == found
    assert range_response(header, result) == found, "the result is as it was"
