"""A snapshot of a member that is written to: one moment of its history, whoever fetches it, however slowly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.backup import restore, run_tool, save
from harness.binaries import Kind
from harness.cluster import Cluster, ClusterFactory
from harness.etcdctl import etcdctl
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

KEYS = 300


class Writer(threading.Thread):
    """Writes the same number into two keys at a time, over and over."""

    def __init__(self, stub: Stub) -> None:
        super().__init__()
        self._stub = stub
        self._stopping = threading.Event()
        self.done = 0

    def run(self) -> None:
        while not self._stopping.is_set():
            key, value = b"%d" % (self.done % KEYS), b"%d" % self.done * 50
            puts = [pb.PutRequest(key=side + key, value=value) for side in (b"left/", b"right/")]
            self._stub.Txn(pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts]))
            self.done += 1

    def stop(self) -> None:
        """Return when the last call is answered."""
        self._stopping.set()
        self.join()


@pytest.fixture
def written(new_cluster: ClusterFactory) -> Iterator[tuple[Cluster, Writer]]:
    """A member with some history, and a writer at work."""
    cluster = new_cluster("fluyt", members=1)
    writer = Writer(cluster.stub())
    writer.start()
    try:
        wait_until(lambda: writer.done > 2 * KEYS, "some history")
        yield cluster, writer
    finally:
        writer.stop()


def hash_at(stub: Stub, revision: int) -> int:
    """The hash of the history up to a revision."""
    return int(stub.HashKV(pb.HashKVRequest(revision=revision), timeout=20).hash)


@pytest.mark.parametrize("target", [pytest.param("fluyt", marks=pytest.mark.soak), "etcd-3.5"])
def test_it_is_one_moment(
    target: Kind, written: tuple[Cluster, Writer], new_cluster: ClusterFactory, tmp_path: Path
) -> None:
    cluster, writer = written
    before = writer.done
    saved = []
    for number in range(5):
        saved.append(tmp_path / f"{number}.db")
        save(cluster.stub(), saved[-1])
        assert run_tool("etcd-3.5", "status", str(saved[-1])).code == 0
    assert writer.done > before, "writes go on meanwhile"
    restored: Cluster = new_cluster(target, members=1, start=False)
    restore(restored, saved[-1])
    stub = restored.start().stub()
    left, right = (stub.Range(pb.RangeRequest(key=side + b"/", range_end=side + b"0")) for side in (b"left", b"right"))
    assert [kv.value for kv in left.kvs] == [kv.value for kv in right.kvs]
    revision = left.header.revision
    assert revision > 2 * KEYS
    assert hash_at(stub, revision) == hash_at(cluster.stub(), revision)


def test_the_commands_fetch_from_each_other(
    written: tuple[Cluster, Writer], new_cluster: ClusterFactory, tmp_path: Path
) -> None:
    cluster, _ = written
    theirs: Cluster = new_cluster("etcd-3.5", members=1)
    theirs.stub().Put(pb.PutRequest(key=b"k", value=b"v"))
    ours_by_etcdctl, theirs_by_fluyt = tmp_path / "ours.db", tmp_path / "theirs.db"
    for version in ("3.4", "3.5"):
        fetched = etcdctl(version, "snapshot", "save", str(ours_by_etcdctl), endpoints=cluster.endpoints)
        assert fetched.code == 0, fetched.stderr
        status = run_tool("fluyt", "status", str(ours_by_etcdctl))
        assert status.code == 0, status.stderr
    fetched = run_tool("fluyt", "save", str(theirs_by_fluyt), "--endpoints", theirs.endpoints[0])
    assert fetched.stdout == f"Snapshot saved at {theirs_by_fluyt}\n"
    for kind in ("fluyt", "etcd-3.5"):
        again: Cluster = new_cluster(kind, members=1, start=False)
        restore(again, theirs_by_fluyt)
        assert again.start().stub().Range(pb.RangeRequest(key=b"k")).kvs[0].value == b"v"


def test_who_reads_slowly_or_leaves_does_no_harm(written: tuple[Cluster, Writer]) -> None:
    cluster, writer = written
    folder = cluster.members[0].data_dir / "snapshots"
    call = cluster.stub().Snapshot(pb.SnapshotRequest(), timeout=60)
    first = next(iter(call))
    assert first.remaining_bytes > 0
    before = writer.done
    wait_until(lambda: writer.done > before + 100, "writes while a snapshot waits for its reader")
    call.cancel()
    assert list(folder.iterdir()) == [], "the file has no name, so nothing can be left over"
    assert sum(len(part.blob) for part in cluster.stub().Snapshot(pb.SnapshotRequest(), timeout=60)) % 512 == 32
