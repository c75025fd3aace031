"""RangeStream: its parts merged are the answer of Range, at one revision, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from harness.cluster import Cluster

from kvstore.pb import etcd_pb2 as pb

KEYS = 2_300


@pytest.fixture(scope="module")
def store() -> Iterator[Cluster]:
    with Cluster("fluyt", 1) as cluster:
        puts = [pb.PutRequest(key=b"k/%05d" % number, value=b"%d" % number * 20) for number in range(KEYS)]
        for start in range(0, KEYS, 100):
            some = [pb.RequestOp(request_put=put) for put in puts[start : start + 100]]
            cluster.stub().Txn(pb.TxnRequest(success=some))
        yield cluster


def merged(parts: list[pb.RangeStreamResponse]) -> pb.RangeResponse:
    whole = pb.RangeResponse()
    for part in parts:
        whole.MergeFrom(part.range_response)
    return whole


@pytest.mark.parametrize(
    "request_",
    [
        pb.RangeRequest(key=b"k/", range_end=b"k0"),
        pb.RangeRequest(key=b"\0", range_end=b"\0", serializable=True),
        pb.RangeRequest(key=b"k/", range_end=b"k0", limit=1_234),
        pb.RangeRequest(key=b"k/", range_end=b"k0", keys_only=True, sort_order=pb.RangeRequest.ASCEND),
        pb.RangeRequest(key=b"k/", range_end=b"k0", count_only=True),
        pb.RangeRequest(key=b"k/", range_end=b"k0", revision=8),
        pb.RangeRequest(key=b"k/00007"),
        pb.RangeRequest(key=b"nothing"),
    ],
    ids=str,
)
def test_merged_it_is_what_range_answers(store: Cluster, request_: pb.RangeRequest) -> None:
    parts = list(store.stub().RangeStream(request_))
    assert merged(parts) == store.stub().Range(request_)
    assert all(not part.range_response.HasField("header") for part in parts[:-1])


def test_a_large_range_comes_in_many_parts_of_one_revision(store: Cluster) -> None:
    stub = store.stub()
    before = stub.Range(pb.RangeRequest(key=b"k/", range_end=b"k0"))
    call = stub.RangeStream(pb.RangeRequest(key=b"k/", range_end=b"k0"))
    first = next(call)
    stub.DeleteRange(pb.DeleteRangeRequest(key=b"k/02299"))
    rest = list(call)
    assert len(rest) >= 2
    whole = merged([first, *rest])
    assert (list(whole.kvs), whole.header.revision) == (list(before.kvs), before.header.revision)
    stub.Put(pb.PutRequest(key=b"k/02299", value=b"2299" * 20))


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        (pb.RangeRequest(), "INVALID_ARGUMENT", "key is not provided"),
        (pb.RangeRequest(key=b"k", revision=1 << 40), "OUT_OF_RANGE", "future revision"),
        (pb.RangeRequest(key=b"k", sort_target=pb.RangeRequest.MOD), "UNIMPLEMENTED", "custom sort orders"),
        (pb.RangeRequest(key=b"k", sort_order=pb.RangeRequest.DESCEND), "UNIMPLEMENTED", "custom sort orders"),
        (pb.RangeRequest(key=b"k", min_mod_revision=3), "UNIMPLEMENTED", "revision filters"),
    ],
    ids=str,
)
def test_what_it_refuses(store: Cluster, request_: pb.RangeRequest, code: str, says: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        list(store.stub().RangeStream(request_))
    assert refused.value.code().name == code
    assert says in refused.value.details()


def test_a_client_that_goes_away_is_forgotten(store: Cluster) -> None:
    call = store.stub().RangeStream(pb.RangeRequest(key=b"\0", range_end=b"\0"))
    next(call)
    call.cancel()
    assert store.stub().Range(pb.RangeRequest(key=b"k/00000")).count == 1
