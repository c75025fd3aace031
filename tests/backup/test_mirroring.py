"""make-mirror between etcd and Fluyt, with our command and with etcdctl's: what was there, and what comes after."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.binaries import Kind
from harness.cluster import Cluster, ClusterFactory
from harness.process import Process
from harness.require import require
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

WAYS: list[tuple[str, Kind, Kind]] = [
    ("fluyt", "etcd-3.5", "fluyt"),
    ("fluyt", "fluyt", "etcd-3.5"),
    ("etcdctl-3.5", "fluyt", "fluyt"),
]


def content(stub: Stub) -> dict[bytes, bytes]:
    """Every key with its value."""
    answer = stub.Range(pb.RangeRequest(key=b"\0", range_end=b"\0"))
    return {kv.key: kv.value for kv in answer.kvs}


@pytest.mark.parametrize(("program", "source", "target"), WAYS)
def test_a_mirror_follows(
    program: str, source: Kind, target: Kind, new_cluster: ClusterFactory, tmp_path: Path
) -> None:
    here: Cluster = new_cluster(source, members=1)
    there: Cluster = new_cluster(target, members=1)
    stub = here.stub()
    for number in range(300):
        stub.Put(pb.PutRequest(key=b"few/%d" % number, value=b"v"))
    for number in range(20):
        stub.Put(pb.PutRequest(key=b"large/%d" % number, value=b"v" * 200_000))
    arguments = [require(program), "make-mirror", f"--endpoints={here.endpoints[0]}", there.endpoints[0]]
    mirror = Process(arguments, tmp_path / "mirror.log")
    try:
        wait_until(lambda: content(there.stub()) == content(stub), "what was there")
        operations = [pb.RequestOp(request_put=pb.PutRequest(key=b"txn/%d" % n, value=b"v" * 5000)) for n in range(100)]
        stub.Txn(pb.TxnRequest(success=operations))
        stub.Put(pb.PutRequest(key=b"big", value=b"v" * 1_400_000))
        if program == "fluyt":  # etcdctl sends the deletes of one revision in one transaction, which is refused
            stub.DeleteRange(pb.DeleteRangeRequest(key=b"few/", range_end=b"few0"))
        stub.DeleteRange(pb.DeleteRangeRequest(key=b"large/1"))
        wait_until(lambda: content(there.stub()) == content(stub), "what came after")
        assert mirror.running, mirror.output()
    finally:
        mirror.kill()
