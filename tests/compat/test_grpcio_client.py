"""grpcio's client against the server: many streams, big messages, deadlines, cancellation, metadata, wrong calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from harness.answers import ask
from harness.binaries import subject
from harness.calls import get, grant, put
from harness.cluster import Cluster
from harness.require import require
from harness.stubs import HealthStub, Stub, open_channel
from harness.wait import wait_until
from harness.watching import KeepAlive, WatchSession

from kvstore.pb import etcd_pb2 as pb
from kvstore.pb.health_pb2 import HealthCheckRequest, HealthCheckResponse

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One member."""
    require(subject())
    with Cluster(subject(), 1) as one:
        yield one


def test_many_threads_on_one_connection(cluster: Cluster) -> None:
    """64 callers share a channel; every put is there, and revisions are given once."""
    stub = cluster.stub()

    def work(worker: int) -> list[int]:
        requests = [pb.PutRequest(key=b"t/%d/%d" % (worker, n), value=b"%d" % n) for n in range(20)]
        return [stub.Put(request, timeout=20).header.revision for request in requests]

    with ThreadPoolExecutor(64) as pool:
        revisions = [r for rs in pool.map(work, range(64)) for r in rs]
    assert len(set(revisions)) == 64 * 20
    answer = stub.Range(pb.RangeRequest(key=b"t/", range_end=b"t0", count_only=True), timeout=5)
    assert answer.count == 64 * 20


def test_many_connections(cluster: Cluster) -> None:
    """100 channels, each its own connection, all in use."""
    channels = [open_channel(cluster.endpoints[0]) for _ in range(100)]
    futures = [Stub(c).Put.future(pb.PutRequest(key=b"c/%d" % n), timeout=20) for n, c in enumerate(channels)]
    assert len({f.result().header.revision for f in futures}) == 100
    for channel in channels:
        channel.close()


def test_many_streams_on_one_connection(cluster: Cluster) -> None:
    """300 watch calls on one connection, and unary calls beside them."""
    sessions = [WatchSession(cluster.stub()) for _ in range(300)]
    for session in sessions:
        session.create(key=b"everyone")
    ask(cluster.stub(), *put(b"everyone", b"hello"))
    for session in sessions:
        session.wait(lambda s=session: s.events(0), "the event")  # type: ignore[misc]
    for session in sessions:
        session.close()


def test_big_answers_need_flow_control(cluster: Cluster) -> None:
    """40 MiB in one answer, to eight readers at once."""
    stub = cluster.stub()
    for number in range(40):
        stub.Put(pb.PutRequest(key=b"big/%02d" % number, value=bytes([number]) * MIB), timeout=20)
    request = pb.RangeRequest(key=b"big/", range_end=b"big0")
    answers = [f.result() for f in [stub.Range.future(request, timeout=60) for _ in range(8)]]
    for answer in answers:
        assert [kv.value[:1] for kv in answer.kvs] == [bytes([n]) for n in range(40)]
        assert sum(len(kv.value) for kv in answer.kvs) == 40 * MIB
    stub.DeleteRange(pb.DeleteRangeRequest(key=b"big/", range_end=b"big0"), timeout=20)


def test_a_reader_that_does_not_read_holds_up_nobody(cluster: Cluster) -> None:
    """A watcher whose stream is not read: other calls on the same connection go on, and it gets all of it later."""
    stub = cluster.stub()
    go = threading.Event()

    def requests() -> Iterator[pb.WatchRequest]:
        yield pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"slow"))
        go.wait(60)

    call = stub.Watch(requests())
    assert next(call).created
    for number in range(100):
        stub.Put(pb.PutRequest(key=b"slow", value=b"%03d" % number + b"x" * 100_000), timeout=10)
    assert "header" in ask(stub, *get(b"other"))
    seen: list[bytes] = []
    while len(seen) < 100:
        seen += [event.kv.value[:3] for event in next(call).events]
    assert seen == [b"%03d" % number for number in range(100)]
    go.set()
    call.cancel()


def test_a_deadline_ends_a_call(cluster: Cluster) -> None:
    """A watch with a deadline ends (etcd's own word for it may arrive first: UNKNOWN); the connection goes on."""
    call = cluster.stub().Watch(iter([pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"d"))]), timeout=0.5)
    with pytest.raises(grpc.RpcError) as caught:
        for _ in call:
            pass
    assert caught.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN)
    assert "deadline exceeded" in caught.value.details().lower()
    assert "header" in ask(cluster.stub(), *get(b"d"))


def test_a_cancelled_call_leaves_no_watcher_behind(cluster: Cluster) -> None:
    """200 watches cancelled by the client; the server serves on."""
    for _ in range(200):
        session = WatchSession(cluster.stub())
        session.create(key=b"gone")
        session.close()
    assert "header" in ask(cluster.stub(), *put(b"gone"))


def test_half_closed_watch_goes_on(cluster: Cluster) -> None:
    """etcd ends a watch call whose client has nothing more to say only when the client goes away."""
    requests = [pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"half"))]
    call = cluster.stub().Watch(iter(requests), timeout=20)
    assert next(call).created
    ask(cluster.stub(), *put(b"half", b"x"))
    assert next(call).events[0].kv.value == b"x"
    call.cancel()


def test_an_unknown_method(cluster: Cluster) -> None:
    """UNIMPLEMENTED, and the connection goes on."""
    with open_channel(cluster.endpoints[0]) as channel:
        call = channel.unary_unary("/etcdserverpb.KV/Nothing", request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "header" in ask(Stub(channel), *get(b"a"))


def test_a_request_that_is_no_protobuf(cluster: Cluster) -> None:
    """An error for that call alone."""
    with open_channel(cluster.endpoints[0]) as channel:
        call = channel.unary_unary("/etcdserverpb.KV/Put", request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff\xff", timeout=5)
        assert caught.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)
        assert "header" in ask(Stub(channel), *get(b"a"))


def test_compressed_requests(cluster: Cluster) -> None:
    """gzip, as some clients have it on."""
    answer = cluster.stub().Put(
        pb.PutRequest(key=b"gzip", value=b"z" * 10_000), timeout=5, compression=grpc.Compression.Gzip
    )
    assert answer.header.revision
    kv = cluster.stub().Range(pb.RangeRequest(key=b"gzip"), timeout=5).kvs[0]
    assert kv.value == b"z" * 10_000


def test_metadata_of_many_kinds(cluster: Cluster) -> None:
    """What clients send along is no reason to fail: binary values, long ones, an API version, hasleader."""
    metadata = [
        ("client-api-version", "3.5.1"),
        ("hasleader", "true"),
        ("x-long", "y" * 4000),
        ("x-data-bin", bytes(range(256))),
    ]
    for _ in range(3):
        assert "header" in ask(cluster.stub(), *get(b"a"), metadata=metadata)


def test_health_service(cluster: Cluster) -> None:
    """SERVING for the server as a whole."""
    with open_channel(cluster.endpoints[0]) as channel:
        answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=5)
    assert answer.status == HealthCheckResponse.SERVING


def test_leases_of_many_clients(cluster: Cluster) -> None:
    """50 keep-alive streams, each its lease."""
    stub = cluster.stub()
    streams = []
    for number in range(50):
        ask(stub, *grant(60, 5000 + number))
        streams.append(KeepAlive(stub))
    for number, stream in enumerate(streams):
        assert stream.ask(pb.LeaseKeepAliveRequest(ID=5000 + number))["TTL"] == "60"
    for stream in streams:
        stream.close()


def test_a_client_that_vanishes(cluster: Cluster) -> None:
    """Its lease runs out and its keys with it, though the connection was never closed properly."""
    stub = cluster.stub()
    ask(stub, *grant(2, 6000))
    ask(stub, *put(b"vanishing", lease=6000))
    wait_until(lambda: "kvs" not in ask(stub, *get(b"vanishing")), "the lease to run out", timeout=15)
