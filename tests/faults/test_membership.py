"""Members come and go while clients write: nothing is lost, and everybody ends with the same."""

from __future__ import annotations

import random
import subprocess

import grpc
import pytest
from harness.answers import ask
from harness.calls import put
from harness.cluster import Cluster, ClusterFactory
from harness.membership import admit, grow, id_of, member_ids, promote, shrink
from harness.process import clean_environment
from harness.require import require
from harness.wait import wait_until
from linearizability.proof import prove
from linearizability.traffic import Traffic

from kvstore.pb import etcd_pb2 as pb


def hashes(cluster: Cluster, indexes: list[int]) -> set[int]:
    """HashKV of each of these members, at one revision."""
    revision = cluster.stub(indexes[0]).Range(pb.RangeRequest(key=b"x"), timeout=10).header.revision
    found = set()
    for index in indexes:
        cluster.stub(index).Range(pb.RangeRequest(key=b"x"), timeout=10)
        found.add(cluster.stub(index).HashKV(pb.HashKVRequest(revision=revision), timeout=10).hash)
    return found


def present(cluster: Cluster) -> list[int]:
    return [i for i, m in enumerate(cluster.members) if not m.removed]


def log_of(cluster: Cluster, index: int) -> str:
    return cluster.members[index].log.read_text(errors="replace")


@pytest.mark.timeout(240)
def test_three_grow_to_five_and_shrink_back_under_load(new_cluster: ClusterFactory, seed: int) -> None:
    """One voter and one promoted learner come; the leader goes, and another of the founders."""
    cluster = new_cluster()
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(50)
        grow(cluster)
        load.wait_for_more(50)
        learner = grow(cluster, learner=True)
        load.wait_for_more(50)
        promote(cluster, learner)
        load.wait_for_more(50)
        assert len(member_ids(cluster)) == 5
        assert len(hashes(cluster, [0, 1, 2, 3, 4])) == 1
        for _ in range(2):
            leader = cluster.leader()
            helper = next(i for i in present(cluster) if i != leader)
            assert shrink(cluster, leader, ask=helper) == 0
            assert "was permanently removed from" in log_of(cluster, leader)
            load.wait_for_more(100)
    rest = present(cluster)
    assert len(member_ids(cluster, rest[0])) == 3
    prove(load, cluster)


@pytest.mark.timeout(240)
@pytest.mark.soak
def test_the_same_members_after_every_kind_of_restart(new_cluster: ClusterFactory, seed: int) -> None:
    """kill -9 of one after the other, then of all at once, with members that came and went."""
    chance = random.Random(seed)
    cluster = new_cluster()
    grow(cluster)
    leader = cluster.leader()
    shrink(cluster, leader, ask=next(i for i in range(4) if i != leader))
    rest = present(cluster)
    with Traffic([cluster.endpoints[i] for i in rest], seed) as load:
        before = member_ids(cluster, rest[0])
        for index in chance.sample(rest, 3):
            cluster.kill(index)
            load.wait_for_more(30)
            cluster.restart(index)
            assert member_ids(cluster, index) == before
        for index in rest:
            cluster.kill(index)
        for index in rest:
            cluster.launch(index)
        cluster.wait_healthy(rest)
        load.wait_for_more(30)
        for index in rest:
            assert member_ids(cluster, index) == before
    prove(load, cluster)


def test_a_member_that_was_away_when_it_was_removed_hears_it_from_its_peers(new_cluster: ClusterFactory) -> None:
    """It stops by itself with a clear line, and says so again on every start; nobody votes for it."""
    cluster = new_cluster()
    victim = cluster.followers()[0]
    helper = next(i for i in range(3) if i != victim)
    identity = id_of(cluster, victim, helper)
    cluster.kill(victim)
    request = pb.MemberRemoveRequest(ID=identity)
    wait_until(lambda: removed(cluster, helper, request), "the dead member to be removed", 20)
    cluster.members[victim].removed = True
    for _ in range(2):
        process = cluster.launch(victim)
        assert process.wait(20) == 0
        assert f"member {identity:x} was permanently removed from" in log_of(cluster, victim)
    assert "header" in ask(cluster.stub(helper), *put(b"k", b"v"))


def removed(cluster: Cluster, index: int, request: pb.MemberRemoveRequest) -> bool:
    try:
        cluster.stub(index).MemberRemove(request, timeout=5)
    except grpc.RpcError as failure:
        if failure.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


@pytest.mark.timeout(240)
@pytest.mark.soak
def test_a_learner_joins_a_cluster_whose_log_was_cut(new_cluster: ClusterFactory, seed: int) -> None:
    """It gets a snapshot, serves what is there, and is killed and promoted afterwards."""
    cluster = new_cluster(flags=["--snapshot-count", "100"])
    stub = cluster.stub()
    for number in range(300):
        stub.Put(pb.PutRequest(key=b"k%03d" % (number % 50), value=b"%d" % number), timeout=10)
    with Traffic(cluster.endpoints, seed) as load:
        learner = grow(cluster, learner=True)
        local = pb.RangeRequest(key=b"k", range_end=b"l", serializable=True, count_only=True)
        assert cluster.stub(learner).Range(local, timeout=10).count == 50
        cluster.kill(learner)
        load.wait_for_more(50)
        cluster.launch(learner)
        wait_until(lambda: cluster.status(learner), "the learner to answer again")
        promote(cluster, learner)
        cluster.wait_healthy([learner])
        load.wait_for_more(50)
    prove(load, cluster)


@pytest.mark.timeout(240)
@pytest.mark.soak
def test_a_joining_member_that_is_killed_again_and_again_arrives(new_cluster: ClusterFactory, seed: int) -> None:
    """kill -9 at chance moments from its first line to its last snapshot."""
    chance = random.Random(seed)
    cluster = new_cluster()
    stub = cluster.stub()
    for number in range(200):
        stub.Put(pb.PutRequest(key=b"%d" % number, value=bytes(20_000)), timeout=10)
    index = admit(cluster)
    for _ in range(12):
        process = cluster.launch(index)
        moment = chance.uniform(0.3, 1.6)
        with pytest.raises(Exception, match="timed out"):
            process.wait(moment)
        cluster.kill(index)
        if is_half_made(cluster, index):
            cluster.wipe(index)
    cluster.launch(index)
    cluster.wait_healthy([index])
    assert len(hashes(cluster, [0, 1, 2, 3])) == 1


def is_half_made(cluster: Cluster, index: int) -> bool:
    """Whether the first start was cut off: such a directory is refused, and nothing was promised with it."""
    folder = cluster.members[index].data_dir
    return folder.exists() and not (folder / "identity.json").exists()


@pytest.mark.timeout(180)
def test_a_dead_member_is_replaced(new_cluster: ClusterFactory, seed: int) -> None:
    """Its disk is gone: it is removed, added anew, and starts with an empty directory, as docs/operations.md says."""
    cluster = new_cluster()
    dead = cluster.leader()
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(50)
        cluster.kill(dead)
        helper = next(i for i in range(3) if i != dead)
        request = pb.MemberRemoveRequest(ID=id_of(cluster, dead, helper))
        wait_until(lambda: removed(cluster, helper, request), "the dead member to be removed", 20)
        cluster.members[dead].removed = True
        load.wait_for_more(50)
        grow(cluster, ask=helper)
        load.wait_for_more(50)
    prove(load, cluster)


def test_a_member_moves_to_another_peer_address(new_cluster: ClusterFactory) -> None:
    """MemberUpdate, then a restart at the new address: the others find it, and it needs no other flag changed."""
    cluster = new_cluster()
    index = cluster.followers()[0]
    moved = cluster.members[index]
    identity = id_of(cluster, index)
    spare = cluster.members[cluster.new_member()]
    update = pb.MemberUpdateRequest(ID=identity, peerURLs=[spare.peer_url])
    cluster.stub(index).MemberUpdate(update, timeout=10)
    cluster.stop(index)
    moved.peer_port = spare.peer_port
    cluster.members.remove(spare)
    cluster.restart(index)
    assert "header" in ask(cluster.stub(index), *put(b"k", b"v"))
    other = next(i for i in range(3) if i != index)
    cluster.kill(other)
    assert "header" in ask(cluster.stub(index), *put(b"k", b"w"), timeout=20)


@pytest.mark.timeout(180)
def test_a_lost_quorum_is_recovered_from_one_survivor(new_cluster: ClusterFactory, seed: int) -> None:
    """Two of three are gone: snapshot of the third, a new cluster of one, grown to two, as docs/operations.md says.

    To clients it is the same store: the history goes on, and the watchers resume in the new cluster.
    """
    cluster = new_cluster(kind="fluyt")
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(100)
    last = max(o.revision for o in load.history if o.response is not None)
    load.wait_watched(last)
    survivor = cluster.leader()
    wait_until(lambda: revision(cluster, survivor) >= last, "the survivor to have applied all")
    for index in range(3):
        if index != survivor:
            cluster.kill(index)
    backup = cluster.directory / "backup.db"
    fluyt("snapshot", "save", str(backup), f"--endpoints={cluster.endpoints[survivor]}")
    again = new_cluster(kind="fluyt", members=1, start=False)
    load.move_watchers(again.endpoints)
    cluster.kill(survivor)
    one = again.members[0]
    places = ["--name", one.name, "--data-dir", str(one.data_dir), "--initial-cluster", f"{one.name}={one.peer_url}"]
    identity = ["--initial-advertise-peer-urls", one.peer_url, "--initial-cluster-token", again.token]
    fluyt("snapshot", "restore", str(backup), *places, *identity)
    again.start()
    grow(again)
    prove(load, again)


def revision(cluster: Cluster, index: int) -> int:
    """The newest revision that a member has applied, without a quorum."""
    answer = cluster.stub(index).Range(pb.RangeRequest(key=b"k", serializable=True), timeout=5)
    return int(answer.header.revision)


def fluyt(*words: str) -> None:
    """One command, which must succeed."""
    subprocess.run([require("fluyt"), *words], check=True, capture_output=True, timeout=60, env=clean_environment())
