"""Ranges larger than what is gathered: the same answer, in bounded memory, at the client's pace."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from harness.binaries import subject
from harness.cluster import Cluster
from harness.require import require
from harness.stubs import open_channel

from kvstore.pb import etcd_pb2 as pb

VALUE = bytes(range(256)) * 4096  # 1 MiB
KEYS = 160
SMALL = 1100  # so that there are more keys than one slice takes


@pytest.fixture(scope="module")
def store() -> Iterator[Cluster]:
    """A member that holds 160 MiB under big/."""
    require(subject())
    with Cluster(subject(), 1, flags=["--max-request-bytes=2000000"]) as cluster:
        stub = cluster.stub()
        for number in range(KEYS):
            stub.Put(pb.PutRequest(key=b"big/%04d" % number, value=b"%04d" % number + VALUE), timeout=20)
        for start in range(0, SMALL, 100):
            txn = pb.TxnRequest()
            for number in range(start, start + 100):
                txn.success.add().request_put.CopyFrom(pb.PutRequest(key=b"big/small/%04d" % number))
            stub.Txn(txn, timeout=20)
        yield cluster


def resident(cluster: Cluster) -> int:
    """MiB of memory of the member that are its own."""
    process = cluster.members[0].process
    assert process is not None
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) >> 10


REQUEST = pb.RangeRequest(key=b"big/", range_end=b"big0")


def whole(cluster: Cluster, request: pb.RangeRequest = REQUEST) -> pb.RangeResponse:
    with open_channel(cluster.endpoints[0]) as channel:
        call = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=pb.RangeResponse.FromString,
        )
        answer: pb.RangeResponse = call(request, timeout=60)
        return answer


def test_it_is_all_there_and_costs_little(store: Cluster) -> None:
    before = resident(store)
    answer = whole(store)
    assert answer.count == len(answer.kvs) == KEYS + SMALL
    assert not answer.more
    assert answer.header.revision == KEYS + SMALL // 100 + 1
    assert [kv.key for kv in answer.kvs] == sorted(kv.key for kv in answer.kvs)
    assert all(kv.value == kv.key[-4:] + VALUE for kv in answer.kvs if b"small" not in kv.key)
    assert resident(store) < before + 80, "160 MiB went through 80"


def test_several_at_once_on_one_connection(store: Cluster) -> None:
    before = resident(store)
    with open_channel(store.endpoints[0]) as channel, ThreadPoolExecutor(3) as threads:
        call = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=len,
        )
        sizes = list(threads.map(lambda _: call(REQUEST, timeout=90), range(3)))
    assert len(set(sizes)) == 1
    assert sizes[0] > KEYS << 20
    assert resident(store) < before + 160


def test_a_client_that_goes_away_in_the_middle(store: Cluster) -> None:
    """And one that compacts the revision meanwhile: the call ends, the member goes on."""
    with open_channel(store.endpoints[0]) as channel:
        call = channel.unary_unary("/etcdserverpb.KV/Range", request_serializer=pb.RangeRequest.SerializeToString)
        running = call.future(REQUEST, timeout=60)
        running.cancel()
        with pytest.raises(grpc.FutureCancelledError):
            running.result()
    assert whole(store, pb.RangeRequest(key=b"big/", range_end=b"big0", count_only=True)).count == KEYS + SMALL


def test_limits_and_old_revisions(store: Cluster) -> None:
    answer = whole(store, pb.RangeRequest(key=b"big/", range_end=b"big0", revision=KEYS + 1, limit=50))
    assert (len(answer.kvs), answer.count, answer.more) == (50, KEYS, True)
    answer = whole(
        store,
        pb.RangeRequest(key=b"big/", range_end=b"big0", sort_order=pb.RangeRequest.DESCEND, limit=SMALL + 60),
    )
    assert (len(answer.kvs), answer.count, answer.more) == (SMALL + 60, KEYS + SMALL, True)
    assert answer.kvs[-1].key == b"big/0100"
