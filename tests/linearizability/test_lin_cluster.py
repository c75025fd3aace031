"""The judges at work on real clusters: ours and etcd's pass, and a stale read is found."""

from __future__ import annotations

import time
from typing import Any

import pytest
from harness.binaries import Kind, subject
from harness.cluster import Cluster, ClusterFactory
from harness.network import Network, impossible
from harness.require import missing

from kvstore.pb import etcd_pb2 as pb
from linearizability.checker import Verdict, check
from linearizability.messages import decode, encode
from linearizability.operations import Operation, Request, Response, get, put
from linearizability.proof import prove, read_stored
from linearizability.serial import Stored, check_serial
from linearizability.traffic import Traffic


@pytest.mark.parametrize("kind", ["fluyt", "etcd-3.5"])
def test_a_healthy_cluster(new_cluster: ClusterFactory, kind: Kind, seed: int) -> None:
    """400 writes of eight clients at three members; nothing refused, nothing unknown."""
    cluster = new_cluster(kind)
    with Traffic(cluster.endpoints, seed, clients=8, pace=0.002) as traffic:
        traffic.wait_for_more(400)
    proved = prove(traffic, cluster)
    assert (proved.unknown, proved.refused) == (0, 0)
    assert proved.answered > proved.acknowledged >= 400
    assert proved.events > proved.revisions > 150


def test_a_stale_read_of_a_real_cluster_is_found() -> None:
    """A member that is cut off still answers reads that ask for no more than what it has: both checks say stale."""
    if reason := impossible():
        missing(reason)
    with Network(3) as network, Cluster(subject(), 3, hosts=network.hosts, prefixes=network.prefixes) as cluster:
        leader = cluster.leader()
        behind = next(i for i in range(3) if i != leader)
        history = [call(cluster, leader, put(b"k", b"old"))]
        # What it answers later is what it has applied by now.
        cluster.stub(behind).Range(pb.RangeRequest(key=b"k"), timeout=5)
        network.split([behind], [i for i in range(3) if i != behind])
        history.append(call(cluster, leader, put(b"k", b"new")))
        stored = read_stored(cluster.stub(leader), b"k", b"l", history[-1].revision)
        assert judged(history, stored) == ([], Verdict.LINEARIZABLE)
        history.append(call(cluster, behind, get(b"k"), serializable=True))
        assert history[-1].response == Response((tuple(e.kv for e in stored[min(stored)] if e.kv),))
        problems, verdict = judged(history, stored)
        assert [problem.partition(":")[0] for problem in problems] == ["stale"]
        assert verdict is Verdict.ILLEGAL


def call(cluster: Cluster, index: int, request: Request, **more: Any) -> Operation:
    """One call at one member."""
    rpc, message = encode(request)
    for name, value in more.items():
        setattr(message, name, value)
    start = time.monotonic()
    response, revision = decode(getattr(cluster.stub(index), rpc)(message, timeout=5))
    return Operation(index, start, time.monotonic(), request, response, revision)


def judged(history: list[Operation], stored: Stored) -> tuple[list[str], Verdict]:
    """By both checks."""
    return check_serial(history, stored), check(history, time.monotonic, 10.0).verdict
