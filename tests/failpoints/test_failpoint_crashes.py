"""Every failpoint kills a real process at least once; what was acknowledged is there when it starts again.

Points of the storage layer are met by a child that works on a small log and backend; those of a member by `fluyt
store`, started again and again on the same data directory with the next point armed, so that each start also repairs
what the last crash left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from harness.cluster import Cluster, ClusterFactory
from harness.wait import wait_until

from kvstore.failpoints import POINTS, VARIABLE
from kvstore.pb import etcd_pb2 as pb
from kvstore.storage import Backend, Log

CHILD = Path(__file__).with_name("failpoint_child.py")

IN_CHILD = sorted(name for name in POINTS if name.startswith(("log-", "backend-")))


def _run_child(folder: Path, point: str, action: str) -> tuple[int, dict[str, int]]:
    environment = {**os.environ, VARIABLE: f"{point}={action}"}
    child = subprocess.run([sys.executable, str(CHILD), str(folder)], env=environment, capture_output=True, text=True)
    durable = {"log": 0, "backend": 0}
    for line in child.stdout.splitlines():
        kind, number = line.split()
        durable[kind] = int(number)
    return child.returncode, durable


@pytest.mark.parametrize("point", IN_CHILD)
def test_storage_survives_death_at(point: str, tmp_path: Path) -> None:
    code, durable = _run_child(tmp_path, point, "panic" if "rename" in point else "1*off->panic")
    assert code == -signal.SIGKILL, "the process must have died at the point"
    if durable["log"]:
        log = Log.open(tmp_path / "log", segment_bytes=4096)
        assert log.last_index() >= durable["log"]
        for entry in log.entries(log.first_index(), log.last_index() + 1, 1 << 30):
            assert entry.data == b"%d" % entry.index * 40
        log.close()
    if durable["backend"]:
        backend = Backend.open(tmp_path / "backend", map_bytes=1 << 24)
        rows = backend.table("rows")
        for number in range(1, durable["backend"] + 1):
            assert rows.get(b"%d" % number) == b"value"
        backend.close()


class Written:
    """One member that is killed at point after point, and what its clients were told."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.told: dict[bytes, bytes] = {}
        self.number = 0
        self.lease = 0

    def put(self, key: bytes = b"") -> None:
        """A put whose answer is remembered. Raises RpcError if there is none."""
        self.number += 1
        key, value = key or b"key%d" % (self.number % 7), b"value%d" % self.number
        self.told.pop(key, None)  # unknown until it is answered
        self.cluster.stub(0).Put(pb.PutRequest(key=key, value=value), timeout=10)
        self.told[key] = value

    def check(self) -> None:
        """What was acknowledged last is there."""
        for key, value in self.told.items():
            answer = self.cluster.stub(0).Range(pb.RangeRequest(key=key), timeout=10)
            assert [kv.value for kv in answer.kvs] == [value]

    def compact(self) -> None:
        """Compact to the current revision, and wait until it is done."""
        revision = self.cluster.stub(0).Range(pb.RangeRequest(key=b"key1"), timeout=10).header.revision
        self.cluster.stub(0).Compact(pb.CompactionRequest(revision=revision, physical=True), timeout=10)

    def grant(self) -> None:
        """A lease with a key."""
        self.lease = self.cluster.stub(0).LeaseGrant(pb.LeaseGrantRequest(TTL=60), timeout=10).ID
        self.cluster.stub(0).Put(pb.PutRequest(key=b"leased", value=b"x", lease=self.lease), timeout=10)

    def revoke(self) -> None:
        """The same, given back."""
        self.grant()
        self.cluster.stub(0).LeaseRevoke(pb.LeaseRevokeRequest(ID=self.lease), timeout=10)

    def expire(self) -> None:
        """A short lease runs out."""
        self.cluster.stub(0).LeaseGrant(pb.LeaseGrantRequest(TTL=1), timeout=10)


Steps = Callable[[Written], None]

ONE_MEMBER: dict[str, Steps] = {
    "apply-before-batch": Written.put,
    "apply-after-batch": Written.put,
    "apply-before-compact": Written.compact,
    "compact-before-slice": Written.compact,
    "compact-after-finish": Written.compact,
    "apply-before-grant": Written.grant,
    "apply-mid-revoke": Written.revoke,
    "lease-before-expire": Written.expire,
    "retain-before-cut": Written.put,
}


def _ended(cluster: Cluster, index: int) -> bool:
    return not cluster.members[index].running


def _restart_with(cluster: Cluster, index: int, points: str) -> None:
    cluster.environment = {VARIABLE: points}
    cluster.launch(index)


@pytest.mark.timeout(300)
def test_a_member_survives_death_at_every_point(new_cluster: ClusterFactory) -> None:
    cluster = new_cluster("fluyt", members=1, flags=["--snapshot-count", "1"], start=False)
    written = Written(cluster)
    for point, step in ONE_MEMBER.items():
        # A member that starts applies what its log has, so the point is not armed for the first passes.
        passes = "3*off->" if point.startswith("apply-") and point.endswith("-batch") else ""
        _restart_with(cluster, 0, f"{point}={passes}panic")
        try:
            cluster.wait_healthy()
            written.check()
            for _ in range(6):
                written.put()
                step(written)
        except (grpc.RpcError, RuntimeError):
            pass  # it died meanwhile, as it should
        wait_until(lambda: _ended(cluster, 0), f"the member to die at {point}", 20)
        process = cluster.members[0].process
        assert process is not None
        assert process.popen.returncode == -signal.SIGKILL, point
    cluster.environment = None
    cluster.launch(0)
    cluster.wait_healthy()
    written.check()
    answer = cluster.stub(0).Range(pb.RangeRequest(key=b"leased"), timeout=10)
    leases = {one.ID for one in cluster.stub(0).LeaseLeases(pb.LeaseLeasesRequest(), timeout=10).leases}
    assert {kv.lease for kv in answer.kvs} <= leases, "no key outlives its lease"


SENDER = ("snapshot-before-copy", "snapshot-before-send")
RECEIVER = ("snapshot-received", "snapshot-before-install", "snapshot-mid-install")


@pytest.mark.timeout(300)
def test_a_snapshot_survives_death_of_either_side_at_every_point(new_cluster: ClusterFactory) -> None:
    cluster = new_cluster("fluyt", members=1)
    written = Written(cluster)
    for _ in range(20):
        written.put()
    joining = cluster.new_member()
    learner = cluster.members[joining]
    added = pb.MemberAddRequest(peerURLs=[learner.peer_url], isLearner=True)
    cluster.stub(0).MemberAdd(added, timeout=10)
    learner.joins = ",".join(f"{m.name}={m.peer_url}" for m in cluster.members)
    cluster.kill(0)
    # A joiner asks its peers first, and gives up if none lives for long: it is started again with the next point.
    for point in SENDER:
        _restart_with(cluster, 0, f"{point}=panic")
        if not learner.running:
            cluster.environment = None
            cluster.launch(joining)
        wait_until(lambda: _ended(cluster, 0), f"the sender to die at {point}", 20)
    cluster.environment = None
    cluster.kill(joining)
    cluster.launch(0)
    cluster.wait_healthy([0])
    for point in RECEIVER:
        _restart_with(cluster, joining, f"{point}=panic")
        wait_until(lambda: _ended(cluster, joining), f"the receiver to die at {point}", 20)
    cluster.environment = None
    cluster.launch(joining)
    written.put()
    written.check()
    wait_until(lambda: _reads(cluster, joining, written), "the learner to have it all", 20)


def _reads(cluster: Cluster, index: int, written: Written) -> bool:
    try:
        for key, value in written.told.items():
            request = pb.RangeRequest(key=key, serializable=True)
            if [kv.value for kv in cluster.stub(index).Range(request, timeout=2).kvs] != [value]:
                return False
    except grpc.RpcError:
        return False
    return True


def test_every_point_is_crashed_at() -> None:
    assert {*IN_CHILD, *ONE_MEMBER, *SENDER, *RECEIVER} == set(POINTS)
