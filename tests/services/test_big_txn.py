"""Transactions that only read, and much: the answers of the same Ranges, at one revision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import pytest
from harness.binaries import subject
from harness.cluster import Cluster
from harness.memory_tables import MemoryTables
from harness.require import require

from kvstore.mvcc.store import Store
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.big_txn import BigTxn, is_large
from kvstore.services.sliced import SLICE_KEYS, Gathered

KEYS = 2 * SLICE_KEYS + 500
ALL = {"key": b"k", "range_end": b"l"}


@pytest.fixture(scope="module")
def store() -> Iterator[Cluster]:
    """A member with more keys than two slices take."""
    require(subject())
    with Cluster(subject(), 1) as cluster:
        stub = cluster.stub()
        for start in range(0, KEYS, 100):
            txn = pb.TxnRequest()
            for number in range(start, start + 100):
                txn.success.add().request_put.CopyFrom(pb.PutRequest(key=b"k%05d" % number, value=b"%d" % number))
            stub.Txn(txn, timeout=20)
        yield cluster


def reading(*ranges: pb.RangeRequest, compare: pb.Compare | None = None, otherwise: bool = False) -> pb.TxnRequest:
    """A transaction with these ranges in one of its branches."""
    txn = pb.TxnRequest(compare=[compare] if compare else [])
    for each in ranges:
        (txn.failure if otherwise else txn.success).add().request_range.CopyFrom(each)
    return txn


RANGES = [
    pb.RangeRequest(**ALL),
    pb.RangeRequest(key=b"k00007"),
    pb.RangeRequest(**ALL, limit=1500, sort_order=pb.RangeRequest.DESCEND),
    pb.RangeRequest(**ALL, keys_only=True),
    pb.RangeRequest(**ALL, count_only=True),
    pb.RangeRequest(**ALL, sort_target=pb.RangeRequest.VALUE, sort_order=pb.RangeRequest.ASCEND, limit=1200),
    pb.RangeRequest(key=b"x", range_end=b"y"),
]


@pytest.mark.parametrize("otherwise", [False, True])
@pytest.mark.parametrize("serializable", [False, True])
def test_they_answer_as_the_ranges_alone(store: Cluster, otherwise: bool, serializable: bool) -> None:
    stub = store.stub()
    ranges = [pb.RangeRequest() for _ in RANGES]
    for mine, each in zip(ranges, RANGES, strict=True):
        mine.CopyFrom(each)
        mine.serializable = serializable
    never = pb.Compare(key=b"k00000", target=pb.Compare.VERSION, result=pb.Compare.EQUAL, version=77)
    answer = stub.Txn(reading(*ranges, compare=never if otherwise else None, otherwise=otherwise), timeout=30)
    assert answer.succeeded is not otherwise
    assert answer.header.revision == stub.Range(RANGES[1], timeout=10).header.revision
    for request, each in zip(ranges, answer.responses, strict=True):
        alone, inside = stub.Range(request, timeout=30), each.response_range
        assert inside.header == pb.ResponseHeader(revision=answer.header.revision)
        assert (inside.kvs, inside.more, inside.count) == (alone.kvs, alone.more, alone.count)


@pytest.mark.parametrize(("revision", "code"), [(1 << 40, "OUT_OF_RANGE"), (-1, "OUT_OF_RANGE")])
def test_a_revision_that_is_not_there_refuses_all(store: Cluster, revision: int, code: str) -> None:
    if revision < 0:
        store.stub().Compact(pb.CompactionRequest(revision=3), timeout=10)
    with pytest.raises(grpc.RpcError) as refused:
        store.stub().Txn(reading(RANGES[0], pb.RangeRequest(**ALL, revision=revision)), timeout=10)
    assert refused.value.code().name == code


class Call:
    """A client's."""

    closed = False
    answer = b""
    failure = ""

    def reply_parts(self, parts: list[bytes]) -> None:
        self.answer = b"".join(parts)

    def fail(self, code: int, message: str) -> None:
        self.failure = message


class Auth:
    revision = 5


class Member:
    """A store with many keys, and a loop."""

    def __init__(self) -> None:
        class Nobody:
            watched = False

            def any(self) -> bool:
                return False

            def publish(self, *_: object) -> None:
                pass

        self.store = Store(MemoryTables(), Nobody(), Nobody())  # type: ignore[arg-type]
        for number in range(KEYS):
            self.store.put(pb.PutRequest(key=b"k%05d" % number))
        self.loop = asyncio.get_running_loop()
        self.auth = Auth()

    def header_field(self, revision: int) -> bytes:
        return b"\n\0"


@pytest.mark.parametrize("what", ["written", "users changed", "gone", "compacted"])
def test_what_happens_between_two_slices(what: str) -> None:
    async def run() -> None:
        member, call, gathered = Member(), Call(), Gathered()
        request, before = reading(RANGES[0], RANGES[0]), member.store.revision
        assert is_large(member, request)  # type: ignore[arg-type]
        taken = member.store.taken_ranges(request)
        assert taken is not None
        work = BigTxn(member, call, *taken, gathered, Auth.revision)  # type: ignore[arg-type]
        work.start()
        assert gathered.total > 0
        member.store.put(pb.PutRequest(key=b"k"))
        if what == "users changed":
            member.auth.revision += 1
        elif what == "gone":
            call.closed = True
        elif what == "compacted":
            member.store.compact(member.store.revision)
        for _ in range(20):
            await asyncio.sleep(0)
        assert gathered.total == 0
        if what == "written":
            first, second = pb.TxnResponse.FromString(call.answer).responses
            assert first == second
            assert first.response_range.header.revision == before
            assert len(first.response_range.kvs) == KEYS
        else:
            assert not call.answer
        assert ("compacted" in call.failure, "auth" in call.failure) == (what == "compacted", what == "users changed")

    asyncio.run(run())


def test_small_ones_and_nested_ones_are_read_in_one_go() -> None:
    async def run() -> None:
        member = Member()
        assert not is_large(member, reading(RANGES[1], pb.RangeRequest(**ALL, limit=10)))  # type: ignore[arg-type]
        nested = reading(RANGES[0])
        nested.success.add().request_txn.CopyFrom(reading(RANGES[0]))
        assert member.store.taken_ranges(nested) is None

    asyncio.run(run())
