"""kill -9, all at once, restarts, pauses and wiped disks under load; afterwards the whole history is checked."""

from __future__ import annotations

import pytest
from harness.answers import ask
from harness.calls import put
from harness.cluster import Cluster, ClusterFactory
from harness.history import check_all
from harness.wait import wait_until
from harness.workload import Workload
from linearizability.proof import prove
from linearizability.traffic import Traffic

from kvstore.pb import etcd_pb2 as pb


def hash_everywhere(cluster: Cluster) -> set[tuple[int, int]]:
    """(hash, compacted revision) of each member, at one revision."""
    revision = max(
        cluster.stub(i).Range(pb.RangeRequest(key=b"x"), timeout=5).header.revision for i in range(len(cluster.members))
    )
    hashes = set()
    for index in range(len(cluster.members)):
        cluster.stub(index).Range(pb.RangeRequest(key=b"x"), timeout=5)
        answer = cluster.stub(index).HashKV(pb.HashKVRequest(revision=revision), timeout=10)
        hashes.add((answer.hash, answer.compact_revision))
    return hashes


def test_every_member_killed_in_turn(new_cluster: ClusterFactory, seed: int) -> None:
    """kill -9 of each member while four writers, a reader and a watcher go on; the leader among them."""
    cluster = new_cluster()
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(100)
        for index in range(3):
            cluster.kill(index)
            load.wait_for_more(100)
            cluster.restart(index)
            load.wait_for_more(50)
    prove(load, cluster)


@pytest.mark.soak
def test_the_leader_killed_again_and_again(new_cluster: ClusterFactory, seed: int) -> None:
    """Five leaders in a row."""
    cluster = new_cluster()
    with Traffic(cluster.endpoints, seed) as load:
        for _ in range(5):
            load.wait_for_more(50)
            leader = cluster.leader()
            cluster.kill(leader)
            load.wait_for_more(50)
            cluster.restart(leader)
    prove(load, cluster)


def test_all_members_killed_at_once(new_cluster: ClusterFactory, seed: int) -> None:
    """What was acknowledged before the power went is there after it."""
    cluster = new_cluster()
    with Traffic(cluster.endpoints, seed) as load:
        for wanted in (150, 50):
            load.wait_for_more(wanted)
            cluster.kill_all()
            for index in range(3):
                cluster.launch(index)
            cluster.wait_healthy()
            load.wait_for_more(50)
    prove(load, cluster)


def test_one_member_alone_comes_back(new_cluster: ClusterFactory, seed: int) -> None:
    """A cluster of one, killed twice."""
    cluster = new_cluster(members=1)
    with Traffic(cluster.endpoints, seed) as load:
        for _ in range(2):
            load.wait_for_more(150)
            cluster.kill(0)
            cluster.launch(0)
            cluster.wait_healthy()
    prove(load, cluster)


@pytest.mark.soak
def test_a_clean_stop_keeps_everything(new_cluster: ClusterFactory, seed: int) -> None:
    """SIGTERM ends each member within ten seconds with code 0; after the restart all is there, leases too."""
    cluster = new_cluster()
    ask(cluster.stub(), "LeaseGrant", pb.LeaseGrantRequest(TTL=600, ID=7))
    ask(cluster.stub(), *put(b"leased", b"1", lease=7))
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(200)
    codes = [cluster.stop(index) for index in range(3)]
    for index in range(3):
        cluster.launch(index)
    cluster.wait_healthy()
    prove(load, cluster)
    answer = ask(cluster.stub(), "LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=7, keys=True))
    assert answer["TTL"] == "alive"
    assert len(answer["keys"]) == 1
    if cluster.kind == "fluyt":
        assert codes == [0, 0, 0]


@pytest.mark.soak
def test_a_member_that_was_away_catches_up(new_cluster: ClusterFactory) -> None:
    """Far enough behind that the others' logs no longer reach back: it needs a snapshot."""
    cluster = new_cluster(flags=["--snapshot-count", "100"])
    away = cluster.followers()[0]
    cluster.kill(away)
    others = [i for i in range(3) if i != away]
    with Workload(cluster, writers=6, readers=0, endpoints=[cluster.endpoints[i] for i in others]) as load:
        # Servers keep 5,000 entries for those who lag.
        enough = applied(cluster, others[0]) + 5500
        wait_until(lambda: applied(cluster, others[0]) > enough, "the log to grow beyond what is kept", timeout=80)
        cluster.launch(away)
        cluster.wait_healthy([away])
        load.wait_for_more(100)
    check_all(load.history, cluster.stub(away))
    assert len(hash_everywhere(cluster)) == 1


def applied(cluster: Cluster, index: int) -> int:
    """The last index of the log that a member has applied."""
    status = cluster.status(index)
    return int(status.raftIndex) if status is not None else 0


@pytest.mark.parametrize("victim", ["leader", pytest.param("follower", marks=pytest.mark.soak)])
def test_a_paused_member(new_cluster: ClusterFactory, seed: int, victim: str) -> None:
    """SIGSTOP for longer than an election: the others go on, and it tells nothing stale when it wakes."""
    cluster = new_cluster()
    index = cluster.leader() if victim == "leader" else cluster.followers()[0]
    with Traffic(cluster.endpoints, seed) as load:
        for _ in range(2):
            load.wait_for_more(50)
            cluster.pause(index)
            load.wait_for_more(100)
            cluster.resume(index)
            load.wait_for_more(50)
    prove(load, cluster)


def test_a_paused_leader_gives_no_stale_read(new_cluster: ClusterFactory) -> None:
    """A read sent to the old leader while it sleeps is answered with the new value, or not at all."""
    cluster = new_cluster()
    old = cluster.leader()
    ask(cluster.stub(old), *put(b"k", b"old"))
    cluster.pause(old)
    # It lies in the old leader's socket when it wakes, before any word of the new one.
    pending = cluster.stub(old).Range.future(pb.RangeRequest(key=b"k"), timeout=30)
    new = cluster.leader(other_than=old)
    assert "header" in ask(cluster.stub(new), *put(b"k", b"new"))
    cluster.resume(old)
    if pending.exception() is None:
        assert pending.result().kvs[0].value == b"new"
    wait_until(lambda: cluster.healthy(old), "the old leader to serve again")
    assert cluster.stub(old).Range(pb.RangeRequest(key=b"k"), timeout=5).kvs[0].value == b"new"


def test_no_quorum_no_answer(new_cluster: ClusterFactory) -> None:
    """One of three left: no write, no linearizable read, a serializable one is served; then it goes on."""
    cluster = new_cluster()
    ask(cluster.stub(0), *put(b"k", b"before"))
    survivor = cluster.leader()
    others = [i for i in range(3) if i != survivor]
    for index in others:
        cluster.kill(index)
    stub = cluster.stub(survivor)
    write = ask(stub, *put(b"k", b"lonely"), timeout=3)
    assert write["code"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    read = ask(stub, "Range", pb.RangeRequest(key=b"k"), timeout=3)
    assert read["code"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    local = stub.Range(pb.RangeRequest(key=b"k", serializable=True), timeout=3)
    assert local.kvs[0].value == b"before"
    for index in others:
        cluster.launch(index)
    cluster.wait_healthy()
    value = cluster.stub(others[0]).Range(pb.RangeRequest(key=b"k"), timeout=5).kvs[0].value
    assert value in (b"before", b"lonely")


def test_without_a_leader_hasleader_fails_at_once(new_cluster: ClusterFactory) -> None:
    """A call that asks for a leader gets `no leader` as soon as the member knows; watches that asked end."""
    cluster = new_cluster()
    survivor = cluster.followers()[0]
    metadata = [("hasleader", "true")]
    for index in range(3):
        if index != survivor:
            cluster.kill(index)
    stub = cluster.stub(survivor)
    local = pb.RangeRequest(key=b"k", serializable=True)
    expected = {"code": "UNAVAILABLE", "details": "etcdserver: no leader"}
    wait_until(
        lambda: ask(stub, "Range", local, metadata=metadata, timeout=5) == expected, "the member to miss its leader"
    )
    assert "header" in ask(stub, "Range", local, timeout=5)
