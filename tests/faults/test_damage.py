"""Disks that rot, vanish or go back in time, under load: the member refuses or recovers, the cluster loses nothing."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from harness.backup import restore, save
from harness.cluster import Cluster, ClusterFactory
from harness.membership import patiently
from linearizability.proof import prove, read_stored
from linearizability.serial import Event
from linearizability.traffic import Traffic

from kvstore.pb import etcd_pb2 as pb


def segments(cluster: Cluster, index: int) -> list[Path]:
    """A member's log segments that hold something, the oldest first."""
    return sorted(cluster.members[index].data_dir.glob("log/*.wal"))


def end_of_entries(segment: Path) -> int:
    """The offset behind the last byte of a preallocated segment that is not zero."""
    return len(segment.read_bytes().rstrip(b"\0"))


def flip(path: Path, offset: int) -> None:
    """Rot: one bit of one byte."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def refusal(cluster: Cluster, index: int) -> str:
    """Start a member that must not run; the last line of its log."""
    process = cluster.launch(index)
    assert process.wait(30) == 1, cluster.log_tail(index)
    return cluster.log_tail(index, 1)


def test_rot_in_the_middle_of_the_log(new_cluster: ClusterFactory, seed: int) -> None:
    """The member says which file is damaged and does not start; nothing is cut. The others go on without it.

    Then the whole of its disk is put back as it was, and it joins as if nothing had happened.
    """
    cluster = new_cluster("fluyt")
    chance = random.Random(seed)
    victim = chance.randrange(3)
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(150)
        cluster.kill(victim)
        segment = segments(cluster, victim)[0]
        offset = chance.randrange(64, end_of_entries(segment) // 2)
        whole = segment.read_bytes()
        flip(segment, offset)
        line = refusal(cluster, victim)
        assert segment.name in line, line
        assert len(segment.read_bytes()) == len(whole), "a damaged log was cut"
        load.wait_for_more(50)
        flip(segment, offset)
        cluster.launch(victim)
        cluster.wait_healthy([victim])
        load.wait_for_more(50)
    prove(load, cluster)


def test_a_torn_tail(new_cluster: ClusterFactory, seed: int) -> None:
    """What a crash of the machine leaves of the last, never acknowledged write is cut off; a copy is kept.

    Half of a record that was never synced: the member starts, and catches up from the others.
    """
    cluster = new_cluster("fluyt")
    victim = cluster.followers()[0]
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(100)
        cluster.kill(victim)
        segment = segments(cluster, victim)[-1]
        end = end_of_entries(segment)
        if end == 0:
            segment = segments(cluster, victim)[0]
            end = end_of_entries(segment)
        with segment.open("r+b") as file:
            file.seek(end + 8)
            file.write(random.Random(seed).randbytes(37))
        cluster.launch(victim)
        cluster.wait_healthy([victim])
        load.wait_for_more(50)
    prove(load, cluster)


def test_a_wiped_member(new_cluster: ClusterFactory, seed: int) -> None:
    """It is not let in again under its old name with an empty memory: it could vote twice. Removed and added, it is."""
    cluster = new_cluster("fluyt")
    victim = cluster.followers()[0]
    status = cluster.status(victim)
    assert status is not None
    keeper = next(i for i in range(3) if i != victim)
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(100)
        cluster.kill(victim)
        cluster.wipe(victim)
        assert "was bootstrapped before" in refusal(cluster, victim)
        load.wait_for_more(50)
        stub = cluster.stub(keeper)
        stub.MemberRemove(pb.MemberRemoveRequest(ID=status.header.member_id), timeout=10)
        addition = pb.MemberAddRequest(peerURLs=[cluster.members[victim].peer_url])
        patiently(lambda: stub.MemberAdd(addition, timeout=10), "the two left to count as healthy (5 s connected)")
        cluster.wipe(victim)
        join(cluster, victim)
        load.wait_for_more(50)
    prove(load, cluster)


def join(cluster: Cluster, index: int) -> None:
    """Start a member that was added, and wait until it serves."""
    flags = cluster.flags
    cluster.flags = [*flags, "--initial-cluster-state", "existing"]
    try:
        cluster.launch(index)
    finally:
        cluster.flags = flags
    cluster.wait_healthy([index], timeout=40)


@pytest.mark.soak
def test_rolling_restarts(new_cluster: ClusterFactory, seed: int) -> None:
    """Every member is stopped with SIGTERM and started again, one after the other."""
    cluster = new_cluster()
    with Traffic(cluster.endpoints, seed) as load:
        for index in range(3):
            load.wait_for_more(40)
            assert cluster.stop(index) == 0
            cluster.launch(index)
            cluster.wait_healthy([index])
        load.wait_for_more(40)
    prove(load, cluster)


def test_everything_paused_at_once(new_cluster: ClusterFactory, seed: int) -> None:
    """All members sleep for longer than an election timeout, and wake one by one, the old leader last."""
    cluster = new_cluster()
    leader = cluster.leader()
    order = [*(i for i in range(3) if i != leader), leader]
    with Traffic(cluster.endpoints, seed) as load:
        load.wait_for_more(100)
        for index in order:
            cluster.pause(index)
        # Longer than an election timeout, by the clock that the members go by when they wake.
        time.sleep(1.5)
        cluster.resume(order[0])
        cluster.resume(order[1])
        cluster.leader(other_than=leader)
        load.wait_for_more(30)
        cluster.resume(leader)
        load.wait_for_more(50)
    prove(load, cluster)


def test_restored_after_the_quorum_was_lost(new_cluster: ClusterFactory, seed: int, tmp_path: Path) -> None:
    """Two of three disks are gone for good: a snapshot founds a new cluster that holds a beginning of the old history.

    Every write that was acknowledged before the snapshot was asked for is in it, and nothing has a gap.
    """
    old = new_cluster("fluyt")
    survivor = old.leader()
    with Traffic(old.endpoints, seed) as load:
        load.wait_for_more(100)
        floor = max(o.revision for o in list(load.history) if o.response)
        save(old.stub(survivor), tmp_path / "snapshot.db")
        load.wait_for_more(50)
    prove(load, old)
    before = stored(old, survivor, load.prefix, load.end)
    old.kill_all()
    new = new_cluster("fluyt", start=False)
    restore(new, tmp_path / "snapshot.db")
    new.start()
    with Traffic(new.endpoints, seed, prefix=b"new/") as afterwards:
        afterwards.wait_for_more(50)
    prove(afterwards, new)
    after = stored(new, 0, load.prefix, load.end)
    cut = max(after)
    assert cut >= floor
    assert after == {revision: events for revision, events in before.items() if revision <= cut}
    assert cut < max(before), "the snapshot was to be taken in the middle of the writes"


def stored(cluster: Cluster, index: int, start: bytes, end: bytes) -> dict[int, list[Event]]:
    """A member's whole history of [start, end)."""
    marker = cluster.stub(index).Put(pb.PutRequest(key=start + b"~marker"), timeout=10).header.revision
    found = read_stored(cluster.stub(index), start, end, marker)
    del found[marker]
    return found
