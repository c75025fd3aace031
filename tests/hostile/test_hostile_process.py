"""A whole member under strangers: its memory stays bounded and it goes on serving honest clients.

kvstore/wire has the limits, and its tests look at each of them on a connection in memory. Here it is the process that
counts, as the machine's owner sees it: resident memory, before and after, and a put that is answered meanwhile.
"""

from __future__ import annotations

import random
import resource
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from harness.cluster import Cluster, ClusterFactory
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MIB = 1 << 20
METHODS = {
    "/etcdserverpb.KV/Put": pb.PutRequest(key=b"k", value=b"v", lease=0),
    "/etcdserverpb.KV/Range": pb.RangeRequest(key=b"k", range_end=b"z", limit=3),
    "/etcdserverpb.KV/Txn": pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"a"))]),
    "/etcdserverpb.KV/DeleteRange": pb.DeleteRangeRequest(key=b"k"),
    "/etcdserverpb.KV/Compact": pb.CompactionRequest(revision=1),
    "/etcdserverpb.Lease/LeaseGrant": pb.LeaseGrantRequest(TTL=10),
    "/etcdserverpb.Lease/LeaseTimeToLive": pb.LeaseTimeToLiveRequest(ID=1),
    "/etcdserverpb.Cluster/MemberUpdate": pb.MemberUpdateRequest(ID=1, peerURLs=["http://a:1"]),
    "/etcdserverpb.Auth/UserAdd": pb.AuthUserAddRequest(name="u", password="p"),
    "/etcdserverpb.Maintenance/HashKV": pb.HashKVRequest(revision=1),
}


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    """One member that all of this happens to."""
    with Cluster("fluyt", members=1) as cluster:
        yield cluster


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(payload) << 8 | kind)[0:4] + struct.pack(">BI", flags, stream) + payload


def headers(stream: int, path: bytes = b"/etcdserverpb.KV/Range") -> bytes:
    """HEADERS of a gRPC request, every field a literal without indexing."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"a"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    block = b"".join(b"\0" + bytes((len(k),)) + k + bytes((len(v),)) + v for k, v in fields)
    return frame(1, 4, stream, block)


def connect(cluster: Cluster) -> socket.socket:
    """A connection that has said the preface and empty SETTINGS."""
    stranger = socket.create_connection((cluster.members[0].host, cluster.members[0].client_port), timeout=10)
    stranger.sendall(PREFACE + frame(4, 0, 0))
    return stranger


def resident(cluster: Cluster) -> int:
    """Bytes of memory that the member's process has."""
    process = cluster.members[0].process
    assert process is not None
    with open(f"/proc/{process.pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def serves(cluster: Cluster) -> bool:
    """Whether an honest client is served."""
    cluster.stub(0).Put(pb.PutRequest(key=b"honest", value=b"yes"), timeout=20)
    answer = cluster.stub(0).Range(pb.RangeRequest(key=b"honest"), timeout=20)
    return answer.kvs[0].value == b"yes"


def still_serves(cluster: Cluster) -> bool:
    """The same, of a member that is busy: a request that timed out may be made again."""
    try:
        return serves(cluster)
    except grpc.RpcError:
        return False


def push(stranger: socket.socket, data: bytes) -> bool:
    """Send; False once the member has had enough of us."""
    try:
        stranger.sendall(data)
    except OSError:
        return False
    return True


def test_a_flood_of_resets(member: Cluster) -> None:
    """CVE-2023-44487: streams that are opened and reset at once."""
    before = resident(member)
    for _ in range(10):
        with connect(member) as stranger:
            for first in range(1, 40_001, 2_000):
                burst = b"".join(
                    headers(stream) + frame(3, 0, stream, b"\0\0\0\x08") for stream in range(first, first + 2_000, 2)
                )
                if not push(stranger, burst):
                    break
    assert serves(member)
    assert resident(member) - before < 48 * MIB


def test_header_bombs(member: Cluster) -> None:
    """Blocks that never end, and small ones that decode to large lists."""
    before = resident(member)
    for _ in range(10):
        with connect(member) as stranger:
            push(stranger, frame(1, 0, 1, b"\0\1a\1b"))
            for _ in range(300):
                if not push(stranger, frame(9, 0, 1, b"\0\1a\x7f\x80\x01" + b"b" * 255)):
                    break
    for _ in range(10):
        with connect(member) as stranger:
            name = b"x-large"
            entry = b"\x40" + bytes((len(name),)) + name + b"\x7f\x81\x1e" + b"v" * 3968
            push(stranger, frame(1, 4, 1, entry + b"\xbe" * 8000))
    assert serves(member)
    assert resident(member) - before < 48 * MIB


def test_readers_that_never_read(member: Cluster) -> None:
    """Large answers asked for again and again, and watches, by clients whose sockets stay full."""
    for number in range(40):
        member.stub(0).Put(pb.PutRequest(key=b"big%d" % number, value=bytes(100_000)), timeout=20)
    before = resident(member)
    request = pb.RangeRequest(key=b"big", range_end=b"bih").SerializeToString()
    body = struct.pack(">BI", 0, len(request)) + request
    strangers = [connect(member) for _ in range(12)]
    try:
        for stranger in strangers:
            stranger.settimeout(1)
            wide = frame(8, 0, 0, struct.pack(">I", (1 << 31) - 70_000)) + frame(
                4, 0, 0, struct.pack(">HI", 4, 2**31 - 1)
            )
            push(stranger, wide + b"".join(headers(s) + frame(0, 1, s, body) for s in range(1, 21, 2)))
        wait_until(lambda: still_serves(member), "an honest client to be served", 60)
        # 12 times 10 answers of 4 MB are asked for; what may wait is a bounded part of it for each connection.
        assert resident(member) - before < 600 * MIB
    finally:
        for stranger in strangers:
            stranger.close()
    wait_until(lambda: resident(member) - before < 300 * MIB, "the memory of strangers that left to be used again", 30)


def outcome(call: Any, body: bytes) -> tuple[grpc.StatusCode, str]:
    """How a call ended."""
    try:
        call(body, timeout=20)
    except grpc.RpcError as refused:
        return refused.code(), refused.details() or ""
    return grpc.StatusCode.OK, ""


def test_bodies_that_are_no_requests(member: Cluster) -> None:
    """Random and half-right protobuf bodies into every service: an error of a known kind, never a broken member."""
    dice = random.Random(7)
    allowed = set(grpc.StatusCode) - {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}
    channel = grpc.insecure_channel(member.members[0].endpoint)
    seen: set[grpc.StatusCode] = set()
    for path, sample in METHODS.items():
        call = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        whole = sample.SerializeToString()
        for _ in range(60):
            body = bytearray(whole if dice.random() < 0.7 else dice.randbytes(dice.randrange(40)))
            for _ in range(dice.randrange(4)):
                if body:
                    body[dice.randrange(len(body))] = dice.randrange(256)
            sent = bytes(body[: dice.randrange(len(body) + 1)] if dice.random() < 0.3 else body)
            code, details = outcome(call, sent)
            # As grpc-go says of bytes that are no message, and so etcd.
            known = code in allowed or details.startswith("grpc: error unmarshalling request")
            assert known, f"{path} {sent!r}: {code} {details}"
            seen.add(code)
    channel.close()
    assert {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL} <= seen
    assert serves(member)
    assert "Traceback" not in member.log_tail(0, 2000, 400)


def test_ten_thousand_idle_connections(new_cluster: ClusterFactory) -> None:
    """Each costs the member little memory, and an honest client no time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_000
    if hard < wanted + 500:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cluster = new_cluster("fluyt", members=1)
    strangers: list[socket.socket] = []
    try:
        assert serves(cluster)
        before = resident(cluster)
        for _ in range(wanted):
            strangers.append(connect(cluster))
        began = time.monotonic()
        assert serves(cluster)
        assert time.monotonic() - began < 10
        each = (resident(cluster) - before) / wanted
        print(f"{each / 1024:.1f} KiB of memory for an idle connection")
        assert each < 24 * 1024
    finally:
        for stranger in strangers:
            stranger.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert serves(cluster)
