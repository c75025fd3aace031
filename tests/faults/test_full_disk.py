"""A full disk: writes are refused with etcd's error, reads and deletes go on, nothing acknowledged is lost,
and all is well again once there is space and the alarm was disarmed.

A tmpfs stands for the disk; a file that takes what is left of it, for the other programs on it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from harness.answers import ask
from harness.cluster import Cluster, ClusterFactory
from harness.require import missing, require
from harness.stubs import Stub
from harness.wait import wait_until
from linearizability.proof import prove
from linearizability.traffic import Traffic

from kvstore.pb import etcd_pb2 as pb

MIB = 1 << 20
# Room for three segments of the log, the headroom of the backend, and what the test writes before it is stopped.
DISK = 450 * MIB
VALUE = b"v" * MIB
EXCEEDED = {"code": "RESOURCE_EXHAUSTED", "details": "etcdserver: mvcc: database space exceeded"}


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of DISK bytes at a path."""
    path.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        missing(f"can't mount a tmpfs here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def cluster(request: pytest.FixtureRequest, new_cluster: ClusterFactory) -> Iterator[Cluster]:
    """As many members as asked for; the first one's disk is small."""
    require("fluyt")
    made = new_cluster("fluyt", members=request.param, start=False)
    with small_disk(made.members[0].data_dir):
        yield made.start()
        for member in made.members:
            if member.process is not None:
                member.process.kill()


def fill(path: Path) -> Path:
    """A file that takes all that is left of the disk."""
    filler = path / "snapshots" / "filler"
    room = os.statvfs(path)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
    return filler


def put_until_refused(stub: Stub) -> list[bytes]:
    """The keys of all puts that were acknowledged before one was refused for lack of space."""
    done: list[bytes] = []
    for number in range(300):
        key = b"k/%04d" % number
        answer = ask(stub, "Put", pb.PutRequest(key=key, value=VALUE), timeout=15)
        if "code" in answer:
            assert answer == EXCEEDED
            return done
        done.append(key)
    raise AssertionError("300 MiB more went onto a full disk")


def keys(stub: Stub) -> list[bytes]:
    """All keys, by a linearizable read."""
    answer = stub.Range(pb.RangeRequest(key=b"k/", range_end=b"k0", keys_only=True), timeout=10)
    return [kv.key for kv in answer.kvs]


def alarms(stub: Stub) -> list[tuple[int, int]]:
    """The alarms that are on."""
    return [(a.memberID, a.alarm) for a in stub.Alarm(pb.AlarmRequest(), timeout=10).alarms]


def disarm(stub: Stub) -> None:
    """Clear every alarm."""
    for member, alarm in alarms(stub):
        request = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=member, alarm=alarm)
        stub.Alarm(request, timeout=10)


def writes_again(stub: Stub) -> bool:
    """Whether a put goes through; the alarm is disarmed as often as it comes back."""
    disarm(stub)
    return "code" not in ask(stub, "Put", pb.PutRequest(key=b"again", value=b"v"), timeout=5)


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_a_member_alone(cluster: Cluster) -> None:
    stub, member = cluster.stub(), cluster.members[0]
    filler = fill(member.data_dir)
    written = put_until_refused(stub)
    assert written, "what was reserved ahead is there to be used"
    identity = stub.Status(pb.StatusRequest()).header.member_id
    wait_until(lambda: alarms(stub) == [(identity, pb.NOSPACE)], "the alarm")

    # What adds nothing goes on.
    assert keys(stub) == written
    txn = pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"t"))])
    assert ask(stub, "Txn", txn) == EXCEEDED
    assert ask(stub, "LeaseGrant", pb.LeaseGrantRequest(TTL=60)) == EXCEEDED
    assert stub.DeleteRange(pb.DeleteRangeRequest(key=written[0]), timeout=10).deleted == 1
    delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=written[1]))
    assert stub.Txn(pb.TxnRequest(success=[delete]), timeout=10).succeeded

    # A crash, and a start on the full disk.
    cluster.kill(0)
    cluster.restart(0)
    assert keys(stub) == written[2:]
    assert ask(stub, "Put", pb.PutRequest(key=b"x")) == EXCEEDED

    filler.unlink()
    wait_until(lambda: writes_again(stub), "writes after space was freed")
    assert alarms(stub) == []
    assert keys(stub) == written[2:]


@pytest.mark.parametrize("cluster", [3], indirect=True)
def test_clients_go_on_through_it(cluster: Cluster, seed: int) -> None:
    """Reads and deletes are answered, writes are refused or not; nothing acknowledged is lost, nothing stale read."""
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(100)
        filler = fill(cluster.members[0].data_dir)
        stub = cluster.stub(1)
        put_until_refused(stub)
        wait_until(lambda: alarms(stub), "the alarm")
        refused = len(load.refused)
        wait_until(lambda: len(load.refused) > refused + 20, "clients to be refused")
        filler.unlink()
        # Not before the member has seen it: it would raise the alarm again.
        log = cluster.members[0].log
        wait_until(lambda: "there is room on the disk again" in log.read_text(), "the member to see that there is room")
        wait_until(lambda: writes_again(stub), "writes after space was freed")
        load.wait_for_more(100)
    prove(load, cluster)


@pytest.mark.parametrize("cluster", [3], indirect=True)
def test_one_of_three(cluster: Cluster) -> None:
    full = cluster.status(0)
    assert full is not None
    filler = fill(cluster.members[0].data_dir)
    stub = cluster.stub(1)
    written = put_until_refused(stub)
    # It is the member whose disk is full that says so, not the one that was asked.
    wait_until(lambda: alarms(stub) == [(full.header.member_id, pb.NOSPACE)], "the alarm")
    assert keys(cluster.stub(0)) == written
    filler.unlink()
    wait_until(lambda: writes_again(stub), "writes after space was freed")
    revision = stub.Range(pb.RangeRequest(key=b"x")).header.revision

    def hashes() -> set[int] | None:
        try:
            found = {cluster.stub(i).HashKV(pb.HashKVRequest(revision=revision), timeout=5).hash for i in range(3)}
        except grpc.RpcError:
            return None  # one of them has not come so far
        return found

    assert len(wait_until(hashes, "hashes of all members")) == 1
