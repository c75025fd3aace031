"""Growing and shrinking a running cluster, ours or etcd's, by its own RPCs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from harness.cluster import Cluster
from harness.wait import wait_until
from kvstore.pb import etcd_pb2 as pb

# Members must have been connected for five seconds; a change may have to wait for that.
PATIENCE = 40.0


def patiently(call: Callable[[], Any], reason: str) -> Any:
    """The answer of a change of membership, asked again while the cluster is not healthy enough for it."""

    def attempt() -> tuple[Any] | None:
        try:
            return (call(),)
        except grpc.RpcError as failure:
            if failure.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            return None

    return wait_until(attempt, reason, PATIENCE, interval=0.1)[0]


def member_ids(cluster: Cluster, ask: int = 0) -> dict[str, int]:
    """Peer URL → member id, as the member with that index knows them."""
    answer = cluster.stub(ask).MemberList(pb.MemberListRequest(linearizable=True), timeout=10)
    return {m.peerURLs[0]: m.ID for m in answer.members}


def id_of(cluster: Cluster, index: int, ask: int = 0) -> int:
    """The id of the member with that index."""
    return member_ids(cluster, ask)[cluster.members[index].peer_url]


def admit(cluster: Cluster, *, learner: bool = False, ask: int = 0) -> int:
    """Add a member without starting it; its index."""
    index = cluster.new_member()
    request = pb.MemberAddRequest(peerURLs=[cluster.members[index].peer_url], isLearner=learner)
    answer = patiently(lambda: cluster.stub(ask).MemberAdd(request, timeout=10), "a member to be added")
    names = {m.peer_url: m.name for m in cluster.members}
    cluster.members[index].joins = ",".join(f"{names[m.peerURLs[0]]}={m.peerURLs[0]}" for m in answer.members)
    return index


def grow(cluster: Cluster, *, learner: bool = False, ask: int = 0) -> int:
    """Add a member, start it and wait until it has caught up; its index."""
    index = admit(cluster, learner=learner, ask=ask)
    cluster.launch(index)
    if learner:
        wait_until(lambda: _has_caught_up(cluster, index, ask), "the learner to have what the others have", PATIENCE)
    else:
        cluster.wait_healthy([index], timeout=PATIENCE)
    return index


def _has_caught_up(cluster: Cluster, index: int, ask: int) -> bool:
    mine, theirs = cluster.status(index), cluster.status(ask)
    return mine is not None and theirs is not None and mine.isLearner and mine.raftIndex >= theirs.raftIndex


def promote(cluster: Cluster, index: int, ask: int = 0) -> None:
    """Give a learner its vote, once it is near enough."""
    identity = id_of(cluster, index, ask)

    def attempt() -> bool:
        try:
            cluster.stub(ask).MemberPromote(pb.MemberPromoteRequest(ID=identity), timeout=10)
        except grpc.RpcError as failure:
            if "in sync with leader" in (failure.details() or ""):
                return False
            raise
        return True

    wait_until(attempt, "the learner to be promoted", PATIENCE, interval=0.1)


def shrink(cluster: Cluster, index: int, ask: int) -> int:
    """Remove a member that runs, wait for it to stop by itself; its exit code."""
    member = cluster.members[index]
    request = pb.MemberRemoveRequest(ID=id_of(cluster, index, ask))
    patiently(lambda: cluster.stub(ask).MemberRemove(request, timeout=10), "a member to be removed")
    member.removed = True
    assert member.process is not None
    return member.process.wait(20)
