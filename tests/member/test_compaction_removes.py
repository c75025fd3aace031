"""Compacted revisions leave the tables of every member, whoever was asked to compact and however."""

from __future__ import annotations

import pytest
from harness.cluster import Cluster, ClusterFactory
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

VALUE = b"v" * 10_000


def in_use(cluster: Cluster, index: int) -> int:
    """Bytes of that member's tables."""
    return int(cluster.stub(index).Status(pb.StatusRequest()).dbSizeInUse)


@pytest.mark.parametrize("physical", [False, True])
def test_every_member_removes_what_is_compacted(new_cluster: ClusterFactory, physical: bool) -> None:
    """Only the one that was asked for a physical compaction did, the others at their next start."""
    cluster = new_cluster("fluyt", members=3)
    stub = cluster.stub(cluster.followers()[0])
    for _ in range(200):
        revision = stub.Put(pb.PutRequest(key=b"k", value=VALUE)).header.revision
    wait_until(lambda: all(in_use(cluster, index) > 100 * len(VALUE) for index in range(3)), "they have it all")
    stub.Compact(pb.CompactionRequest(revision=revision, physical=physical))
    wait_until(lambda: all(in_use(cluster, index) < 20 * len(VALUE) for index in range(3)), "all have room again")
    assert stub.Range(pb.RangeRequest(key=b"k")).kvs[0].value == VALUE
