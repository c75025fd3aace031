"""The judges at work on clusters without faults: ours and a real etcd's pass."""

from __future__ import annotations

import pytest
from conftest import ClusterFactory
from harness.binaries import Kind

from linearizability.proof import prove
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
