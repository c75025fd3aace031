"""Defragment: the file gets smaller while clients go on, and holds the same before and after, crashes included."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import grpc
import pytest
from harness.cluster import Cluster, ClusterFactory
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

VALUE = b"v" * 20_000


def fill_and_free(stub: Stub) -> None:
    """Some 30 MB come, and nearly all of them go."""
    for number in range(1500):
        stub.Put(pb.PutRequest(key=b"old/%d" % number, value=VALUE))
    revision = stub.DeleteRange(pb.DeleteRangeRequest(key=b"old/1", range_end=b"old/9")).header.revision
    stub.Compact(pb.CompactionRequest(revision=revision, physical=True))


def size(cluster: Cluster) -> int:
    """Bytes of the first member's file, as the member says."""
    return int(cluster.stub().Status(pb.StatusRequest()).dbSize)


def content(stub: Stub, revision: int = 0) -> tuple[int, int]:
    """Revision and hash."""
    answer = stub.HashKV(pb.HashKVRequest(revision=revision), timeout=20)
    return int(revision or answer.header.revision), int(answer.hash)


class Writer(threading.Thread):
    """Puts and deletes a few keys over and over."""

    def __init__(self, stub: Stub, seed: int) -> None:
        super().__init__()
        self._stub = stub
        self._rng = random.Random(seed)
        self._stopping = threading.Event()
        self.expected: dict[bytes, bytes] = {}
        self.done = 0

    def run(self) -> None:
        while not self._stopping.is_set():
            key = b"new/%d" % self._rng.randrange(500)
            if self._rng.random() < 0.3:
                self._stub.DeleteRange(pb.DeleteRangeRequest(key=key))
                self.expected.pop(key, None)
            else:
                value = b"%d" % self.done * self._rng.choice([1, 10, 2000])
                self._stub.Put(pb.PutRequest(key=key, value=value))
                self.expected[key] = value
            self.done += 1

    def stop(self) -> None:
        """Return when the last call is answered."""
        self._stopping.set()
        self.join()


def check(stub: Stub, expected: dict[bytes, bytes]) -> None:
    """What the writer wrote is there, and nothing else under its prefix."""
    answer = stub.Range(pb.RangeRequest(key=b"new/", range_end=b"new0"))
    assert {kv.key: kv.value for kv in answer.kvs} == expected


def test_the_file_shrinks_while_clients_write(new_cluster: ClusterFactory, seed: int) -> None:
    cluster = new_cluster("fluyt", members=1)
    stub = cluster.stub()
    fill_and_free(stub)
    large = size(cluster)
    writer = Writer(stub, seed)
    writer.start()
    try:
        for _ in range(5):
            before = writer.done
            stub.Defragment(pb.DefragmentRequest(), timeout=60)
            assert writer.done > before, "clients went on"
    finally:
        writer.stop()
    assert size(cluster) < large / 3
    check(stub, writer.expected)
    held = content(stub)
    cluster.restart(0)
    assert content(cluster.stub(), held[0]) == held
    check(cluster.stub(), writer.expected)
    files = {path.name for path in (cluster.members[0].data_dir / "snapshots").iterdir()}
    assert files == set()


@pytest.mark.soak
def test_killed_again_and_again(new_cluster: ClusterFactory, seed: int) -> None:
    """Whenever the process is killed, what was acknowledged is there at the next start."""
    rng = random.Random(seed)
    cluster = new_cluster("fluyt", members=1)
    stub = cluster.stub()
    fill_and_free(stub)
    acknowledged = 0
    for _ in range(6):
        stop_at = acknowledged + rng.randrange(1, 120)
        future = cluster.stub().Defragment.future(pb.DefragmentRequest(), timeout=60)
        while acknowledged < stop_at:
            acknowledged += 1
            stub.Put(pb.PutRequest(key=b"count", value=b"%d" % acknowledged))
            if future.done():
                future = stub.Defragment.future(pb.DefragmentRequest(), timeout=60)
        cluster.kill(0)
        future.cancel()
        cluster.restart(0)
        stub = cluster.stub()
        assert stub.Range(pb.RangeRequest(key=b"count")).kvs[0].value == b"%d" % acknowledged


@pytest.mark.soak
def test_members_agree_afterwards(new_cluster: ClusterFactory, seed: int) -> None:
    cluster = new_cluster("fluyt", members=3)
    stub = cluster.stub(1)
    fill_and_free(stub)
    writer = Writer(stub, seed)
    writer.start()
    try:
        for index in range(3):
            cluster.stub(index).Defragment(pb.DefragmentRequest(), timeout=60)
    finally:
        writer.stop()
    revision = content(stub)[0]

    def hashes() -> list[tuple[int, int]] | None:
        try:
            return [content(cluster.stub(index), revision) for index in range(3)]
        except grpc.RpcError:
            return None  # one of them has not come so far

    assert len(set(wait_until(hashes, "the hashes of all members"))) == 1


def test_leftovers_of_a_crash_are_removed(new_cluster: ClusterFactory) -> None:
    cluster = new_cluster("fluyt", members=1)
    folder: Path = cluster.members[0].data_dir / "snapshots"
    cluster.kill(0)
    for name in ("defragment.mdb", "defragment.mdb-lock", "defragment.mdb.tmp"):
        (folder / name).write_bytes(b"half a copy")
    cluster.restart(0)
    assert list(folder.iterdir()) == []
    cluster.stub().Defragment(pb.DefragmentRequest(), timeout=30)
