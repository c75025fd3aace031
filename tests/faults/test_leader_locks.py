"""Two holders of one lock: the first is stopped beyond its lease and wakes up; its fenced writes are refused.

The holders are processes of their own, stopped with SIGSTOP in the middle of their work. That the danger is real is
shown beside it: what the sleeper writes *without* the fence does arrive.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from harness.cluster import Cluster, ClusterFactory
from harness.etcdctl import Version, etcdctl_background
from harness.process import Process
from harness.require import require
from harness.wait import wait_until
from lock_holder import REFUSED

from kvstore.pb import etcd_pb2 as pb

HOLDER = Path(__file__).with_name("lock_holder.py")
COMMAND = Path(__file__).with_name("under_etcdctl.py")
# Seconds. A store raises shorter leases to one and a half election timeouts.
TTL = 2
RESULT = b"result"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Process]]:
    """Processes that end with the test."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.resume()
        process.kill()


def holder(cluster: Cluster, started: list[Process], folder: Path, kind: str, value: str) -> Process:
    """Start a holder that writes under its lock."""
    words = [",".join(cluster.endpoints), kind, "leader", str(TTL), RESULT.decode(), value]
    process = Process([sys.executable, str(HOLDER), *words], folder / f"{value}.log")
    started.append(process)
    return process


def token(process: Process) -> int:
    """The fencing token of a holder, once it holds; 0 before."""
    lines = [line for line in process.output().splitlines() if line.startswith("holds ")]
    return int(lines[0].split()[1]) if lines else 0


def history(cluster: Cluster, key: bytes) -> list[tuple[int, bytes]]:
    """(revision, value) of all that was ever written to a key, in order."""
    cluster.wait_healthy()
    stub = cluster.stub()
    last = stub.Put(pb.PutRequest(key=key, value=b"end"), timeout=10).header.revision
    call = stub.Watch(
        iter([pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key, start_revision=1))]), timeout=20
    )
    found: list[tuple[int, bytes]] = []
    for response in call:
        found += [(event.kv.mod_revision, event.kv.value) for event in response.events]
        if found and found[-1][0] >= last:
            break
    call.cancel()
    return [(revision, value) for revision, value in found if revision < last]


def current(cluster: Cluster, key: bytes) -> bytes:
    """The value of a key now; empty without one, or while nobody answers."""
    for index in range(len(cluster.members)):
        try:
            answer = cluster.stub(index).Range(pb.RangeRequest(key=key), timeout=5)
        except grpc.RpcError:
            continue
        return bytes(answer.kvs[0].value) if answer.kvs else b""
    return b""


@pytest.mark.parametrize(
    ("kind", "leader_dies"),
    [
        pytest.param("lock", True, id="lock, and the leader dies"),
        pytest.param("election", False, id="election"),
        pytest.param("lock", False, id="lock", marks=pytest.mark.soak),
        pytest.param("election", True, id="election, and the leader dies", marks=pytest.mark.soak),
    ],
)
def test_a_paused_holder_is_refused(
    new_cluster: ClusterFactory, started: list[Process], tmp_path: Path, kind: str, leader_dies: bool
) -> None:
    """Our client. No write of the first holder stands after the first write of the second one."""
    cluster = new_cluster()
    first = holder(cluster, started, tmp_path, kind, "first")
    wait_until(lambda: current(cluster, RESULT).startswith(b"first"), "the first holder to write")
    first.pause()
    second = holder(cluster, started, tmp_path, kind, "second")
    if leader_dies:
        leader = cluster.leader()
        cluster.kill(leader)
        cluster.launch(leader)
    wait_until(lambda: current(cluster, RESULT).startswith(b"second"), "the second holder to write", 40)
    first.resume()
    assert first.wait(30) == REFUSED, first.output()
    before = current(cluster, RESULT)
    wait_until(lambda: current(cluster, RESULT) != before, "the second holder to go on, undisturbed")
    assert second.running
    assert token(second) > token(first) > 0
    writers = [value.split()[0] for _, value in history(cluster, RESULT)]
    turn = writers.index(b"second")
    assert set(writers[:turn]) == {b"first"}
    assert set(writers[turn:]) == {b"second"}


@pytest.mark.parametrize("version", ["3.5", pytest.param("3.4", marks=pytest.mark.soak)])
def test_a_paused_etcdctl_is_refused(
    new_cluster: ClusterFactory, started: list[Process], tmp_path: Path, version: Version
) -> None:
    """etcdctl lock, twice: the sleeper's plain put arrives, which is the danger; its fenced one does not."""
    cluster = new_cluster()
    ctl = require(f"etcdctl-{version}")

    def lock(value: str) -> Process:
        words = ["lock", "printer", f"--ttl={TTL}", sys.executable, str(COMMAND), ctl, cluster.endpoints[0]]
        process = etcdctl_background(
            version, *words, str(tmp_path), value, endpoints=cluster.endpoints, log=tmp_path / f"{value}.log"
        )
        started.append(process)
        return process

    first = lock("first")
    wait_until((tmp_path / "first.token").exists, "the first to hold the lock")
    first.pause()
    lock("second")
    wait_until((tmp_path / "second.token").exists, "the second to hold the lock, once the lease is over", 40)
    (tmp_path / "second.go").touch()
    wait_until((tmp_path / "second.said").exists, "the second to write")
    (tmp_path / "first.go").touch()
    first.resume()
    wait_until((tmp_path / "first.said").exists, f"the first to write: {first.output()}")
    assert [(tmp_path / f"{who}.said").read_text() for who in ("first", "second")] == ["FAILURE", "SUCCESS"]
    assert int((tmp_path / "second.token").read_text()) > int((tmp_path / "first.token").read_text())
    assert current(cluster, b"fenced") == b"second"
    assert current(cluster, b"unfenced") == b"first"
