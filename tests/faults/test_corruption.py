"""A member whose data was changed behind its back is found and named by a CORRUPT alarm, and is not started again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from harness.answers import ask
from harness.cluster import Cluster, ClusterFactory
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.member.corruption import minority
from kvstore.mvcc.encoding import HEADER_SIZE
from kvstore.pb import etcd_pb2 as pb
from kvstore.storage import Backend

CORRUPT = {"code": "DATA_LOSS", "details": "etcdserver: corrupt cluster"}
FAST = ["--experimental-corrupt-check-time", "200ms"]
AFTER_COMPACTION = [
    "--experimental-compact-hash-check-enabled",
    "--experimental-compact-hash-check-time",
    "200ms",
]


def fill(stub: Stub) -> int:
    """A little history; the last revision."""
    for number in range(20):
        stub.Put(pb.PutRequest(key=b"k%d" % (number % 5), value=b"value %d" % number))
    return int(stub.DeleteRange(pb.DeleteRangeRequest(key=b"k1")).header.revision)


def alter(folder: Path) -> None:
    """Change one byte of the last value that a stopped member stores."""
    backend = Backend.open(folder / "backend")
    try:
        table = backend.table("history")
        revision, record = next(row for row in table.scan(reverse=True) if b"value" in row[1][HEADER_SIZE:])
        table.put(revision, record.replace(b"value", b"valeu"))
        backend.commit()
        backend.sync()
    finally:
        backend.close()


def corrupt(cluster: Cluster, index: int) -> int:
    """Stop a member, alter what it holds, start it again; its id.

    Once it has all the others have: the last value of one that lags may be one that a compaction takes away.
    """
    wait_until(lambda: len({answer and answer.header.revision for answer in map(cluster.status, range(3))}) == 1, "all")
    status = cluster.status(index)
    assert status is not None
    cluster.stop(index)
    alter(cluster.members[index].data_dir)
    cluster.restart(index)
    return int(status.header.member_id)


def alarms(stub: Stub) -> list[tuple[int, int]]:
    """The alarms that are on."""
    try:
        return [(a.memberID, a.alarm) for a in stub.Alarm(pb.AlarmRequest(), timeout=5).alarms]
    except grpc.RpcError:
        return []


def lead(cluster: Cluster, index: int) -> None:
    """Make that member the leader."""
    leader = cluster.leader()
    if leader != index:
        status = cluster.status(index)
        assert status is not None
        cluster.stub(leader).MoveLeader(pb.MoveLeaderRequest(targetID=status.header.member_id), timeout=10)
    wait_until(lambda: cluster.leader() == index, "the leader to be moved")


def test_a_follower_that_differs(new_cluster: ClusterFactory) -> None:
    cluster = new_cluster("fluyt", members=3, flags=FAST)
    fill(cluster.stub())
    lead(cluster, 0)
    damaged = corrupt(cluster, 2)
    stub = cluster.stub(0)
    wait_until(lambda: alarms(stub) == [(damaged, pb.CORRUPT)], "the alarm")
    wait_until(lambda: alarms(cluster.stub(2)) == [(damaged, pb.CORRUPT)], "the alarm everywhere")

    put = pb.RequestOp(request_put=pb.PutRequest(key=b"x"))
    refused: list[tuple[str, Callable[[], object]]] = [
        ("Put", lambda: pb.PutRequest(key=b"x")),
        ("DeleteRange", lambda: pb.DeleteRangeRequest(key=b"k2")),
        ("Txn", lambda: pb.TxnRequest(success=[put])),
        ("Compact", lambda: pb.CompactionRequest(revision=3)),
        ("LeaseGrant", lambda: pb.LeaseGrantRequest(TTL=60)),
        ("LeaseRevoke", lambda: pb.LeaseRevokeRequest(ID=1)),
    ]
    for index in range(3):
        for rpc, request in refused:
            assert ask(cluster.stub(index), rpc, request()) == CORRUPT, rpc  # type: ignore[arg-type]
    assert stub.Range(pb.RangeRequest(key=b"k2"), timeout=5).count == 1
    read = pb.RequestOp(request_range=pb.RangeRequest(key=b"k2"))
    assert stub.Txn(pb.TxnRequest(success=[read]), timeout=5).succeeded
    assert any("CORRUPT" in error for error in stub.Status(pb.StatusRequest()).errors)

    # The cure: the member starts anew with the others' data, and somebody disarms the alarm.
    request = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=damaged, alarm=pb.CORRUPT)
    cluster.stop(2)
    stub.Alarm(request, timeout=5)
    assert "code" not in ask(stub, "Put", pb.PutRequest(key=b"x"))


def test_members_that_agree_raise_no_alarm(new_cluster: ClusterFactory) -> None:
    cluster = new_cluster("fluyt", members=3, flags=[*FAST, *AFTER_COMPACTION, "--log-level", "debug"])
    stub = cluster.stub()
    for round in range(15):
        revision = fill(stub)
        if round % 3 == 0:
            stub.Compact(pb.CompactionRequest(revision=revision - round))
    leader = cluster.leader()
    log = cluster.members[leader].log
    wait_until(lambda: log.read_text().count("the members agree") > 5, "several comparisons")
    assert alarms(stub) == []


@pytest.mark.parametrize("damaged", [0, pytest.param(2, marks=pytest.mark.soak)])
def test_a_member_that_differs_after_a_compaction(damaged: int, new_cluster: ClusterFactory) -> None:
    """The leader itself is found, too."""
    cluster = new_cluster("fluyt", members=3, flags=AFTER_COMPACTION)
    revision = fill(cluster.stub(1))
    identity = corrupt(cluster, damaged)
    lead(cluster, 0)
    cluster.stub(1).Compact(pb.CompactionRequest(revision=revision))
    wait_until(lambda: alarms(cluster.stub(1)) == [(identity, pb.CORRUPT)], "the alarm")


def test_the_check_before_serving(new_cluster: ClusterFactory) -> None:
    cluster = new_cluster("fluyt", members=3, flags=["--experimental-initial-corrupt-check"])
    fill(cluster.stub())
    cluster.restart(1)  # all is well
    assert "initial corruption checking passed" in cluster.log_tail(1)
    cluster.stop(2)
    alter(cluster.members[2].data_dir)
    process = cluster.launch(2)
    assert process.wait(20) == 1
    assert "found data inconsistency with peers" in cluster.log_tail(2, lines=1, width=1000)
    assert alarms(cluster.stub(0)) == []


def test_who_is_named() -> None:
    assert minority({1: 7, 2: 7, 3: 7}) == []
    assert [member for member, _ in minority({1: 7, 2: 8, 3: 7})] == [2]
    assert [member for member, _ in minority({1: 9, 2: 8, 3: 8, 4: 5, 5: 8})] == [1, 4]
    assert [member for member, _ in minority({1: 7, 2: 8})] == [0]
    assert [member for member, _ in minority({1: 7, 2: 8, 3: 9})] == [0]
