"""Automatic compaction: which revision goes when, and that a running member does it by time and by revision."""

from __future__ import annotations

import sys
import time

import pytest
from harness.answers import ask
from harness.cluster import Cluster, ClusterFactory
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.member.compactor import Compactor, parse_retention
from kvstore.member.config import ConfigError
from kvstore.pb import etcd_pb2 as pb

# etcd looks every five minutes; a test can't.
HASTY = "import kvstore.member.compactor as c; c.REVISION_INTERVAL = 0.2; from kvstore.cli.main import main; main()"


def first_readable(stub: Stub, current: int) -> int:
    """The first revision that is not compacted."""
    for revision in range(2, current + 1):
        if "code" not in ask(stub, "Range", pb.RangeRequest(key=b"k", revision=revision)):
            return revision
    raise AssertionError("the current revision can always be read")


def put(stub: Stub, times: int) -> int:
    """So many revisions; the last."""
    for number in range(times):
        revision = stub.Put(pb.PutRequest(key=b"k", value=b"%d" % number)).header.revision
    return int(revision)


def test_by_revision_keeps_the_last_ones() -> None:
    compactor = Compactor("revision", 100)
    assert compactor.interval == 300
    assert compactor.due(0, 50) == 0
    assert compactor.due(300, 150) == 50
    assert compactor.due(600, 150) == 0, "once is enough"
    assert compactor.due(900, 151) == 51


def test_by_time_keeps_what_is_younger() -> None:
    compactor = Compactor("periodic", 3600)
    assert compactor.interval == 360
    for step in range(10):
        assert compactor.due(360.0 * step, 100 + step) == 0
    assert compactor.due(3600, 110) == 100
    assert compactor.due(3960, 110) == 101
    compactor.forget()
    assert compactor.due(4320, 111) == 0, "who begins to lead does not know how old revisions are"


def test_an_idle_store_is_compacted_once() -> None:
    compactor = Compactor("periodic", 10)
    found = [compactor.due(float(second), 7) for second in range(30)]
    assert [revision for revision in found if revision] == [7]


def test_nothing_without_retention() -> None:
    assert [Compactor("revision", 0).due(t * 300.0, 1000) for t in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("mode", "text", "retention"),
    [("periodic", "2", 7200), ("periodic", "30m", 1800), ("periodic", "1h30m", 5400), ("revision", "1000", 1000)],
)
def test_retention(mode: str, text: str, retention: float) -> None:
    assert parse_retention(mode, text) == retention


@pytest.mark.parametrize(
    ("mode", "text"), [("revision", "1h"), ("periodic", "soon"), ("periodic", "-1"), ("periodic", "1x")]
)
def test_bad_retention(mode: str, text: str) -> None:
    with pytest.raises(ConfigError, match="auto-compaction-retention"):
        parse_retention(mode, text)


def test_a_cluster_compacts_by_time(new_cluster: ClusterFactory) -> None:
    cluster = new_cluster("fluyt", members=3, flags=["--auto-compaction-retention", "2s"])
    stub = cluster.stub()
    old = put(stub, 10)
    written = time.monotonic()
    wait_until(lambda: first_readable(stub, old) == old, "compaction of what is older than 2 s")
    assert time.monotonic() - written >= 1.9
    young = put(stub, 10)
    assert first_readable(stub, young) <= old + 1, "what was just written stays"
    for index in range(3):  # each has applied what was answered
        cluster.stub(index).Range(pb.RangeRequest(key=b"any"))
    assert len({cluster.stub(i).HashKV(pb.HashKVRequest(revision=young)).hash for i in range(3)}) == 1


def test_a_member_compacts_by_revision(new_cluster: ClusterFactory) -> None:
    flags = ["--auto-compaction-mode", "revision", "--auto-compaction-retention", "5"]
    cluster: Cluster = new_cluster("fluyt", members=1, flags=flags, start=False)
    cluster._command = [sys.executable, "-c", HASTY, "store"]
    stub = cluster.start().stub()
    last = put(stub, 20)
    wait_until(lambda: first_readable(stub, last) == last - 5, "compaction but for the last 5")
    last = put(stub, 3)
    wait_until(lambda: first_readable(stub, last) == last - 5, "compaction as it goes on")
