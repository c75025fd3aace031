"""Headers of many revisions at once are those of each."""

from __future__ import annotations

import pytest

from kvstore.member.header import Headers
from kvstore.pb import etcd_pb2 as pb

EDGES = (1, 2, 127, 128, 16_383, 16_384, 16_385, 2**21 - 1, 2**21, 2**28 - 1, 2**28, 2**35, 2**62)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("count", [1, 2, 64])
def test_fields(edge: int, count: int) -> None:
    headers = Headers(0xFED4_16D4_775D_0AA6, 77)
    headers.set_term(300)
    for first in (max(edge - 40, 0), edge - 1, edge):
        fields = headers.fields(first, count)
        assert fields == [headers.field(revision) for revision in range(first, first + count)]
        last = pb.PutResponse.FromString(fields[-1]).header
        assert (last.revision, last.raft_term, last.member_id) == (first + count - 1, 300, 77)
