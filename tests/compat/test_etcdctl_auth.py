"""etcdctl 3.4 and 3.5 setting up and using auth: the same on a real etcd and here; its locks and elections, too."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.binaries import subject
from harness.cluster import Cluster
from harness.etcdctl import Outcome, Version, etcdctl, etcdctl_background
from harness.require import require
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

FLAGS = ["--bcrypt-cost", "4"]

SETTING_UP = [
    "user add root:rootpw",
    "user add ann:annpw",
    "user add ann:annpw",
    "role add reader",
    "role grant-permission reader read /app/ --prefix",
    "role grant-permission reader readwrite /app/own",
    "user grant-role ann reader",
    "role get reader",
    "user get ann",
    "user list",
    "role list",
    "auth enable",
    "put /app/own 1",
    "--user root:rootpw put /app/x 1",
    "--user ann:annpw put /app/own 2",
    "--user ann:annpw get /app/ --prefix",
    "--user ann:annpw put /app/x 2",
    "--user ann:annpw get /other",
    "--user ann:annpw del /app/own",
    "--user ann:wrong get /app/x",
    "--user nobody:pw get /app/x",
    "--user ann:annpw user list",
    "--user ann:annpw user get ann",
    "--user ann:annpw role get reader",
    "--user ann:annpw role add mine",
    "--user root:rootpw user get ann --detail",
    "--user root:rootpw endpoint health",
    "--user root:rootpw compaction 2",
    "--user root:rootpw lease grant 600",
    "--user root:rootpw user revoke-role ann reader",
    "--user ann:annpw get /app/x",
    "--user root:rootpw role revoke-permission reader /app/ --prefix",
    "--user root:rootpw role delete reader",
    "--user root:rootpw user delete ann",
    "--user ann:annpw get /app/x",
    "--user root:rootpw user delete root",
    "--user root:rootpw auth disable",
    "get /app/x",
    "user delete root",
    "role delete root",
    "auth enable",
]
# Times, addresses and lease ids differ by chance.
_CHANCE = re.compile(r"took = \S+|lease [0-9a-f]+|127\.0\.0\.1:\d+")


@pytest.fixture
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """etcd 3.5.1 and the subject, empty, one member each."""
    require("etcd-3.5")
    with Cluster("etcd-3.5", 1, FLAGS) as oracle, Cluster(subject(), 1, FLAGS) as ours:
        yield oracle, ours


def _comparable(outcome: Outcome) -> Any:
    error = next((line for line in reversed(outcome.stderr.splitlines()) if line.startswith("Error:")), "")
    return outcome.code, _CHANCE.sub("…", outcome.stdout), _CHANCE.sub("…", error)


@pytest.mark.parametrize("version", ["3.4", pytest.param("3.5", marks=pytest.mark.soak)])
def test_a_session(pair: tuple[Cluster, Cluster], version: Version) -> None:
    oracle, ours = pair
    for line in SETTING_UP:
        words = shlex.split(line)
        expected = _comparable(etcdctl(version, *words, endpoints=oracle.endpoints))
        got = _comparable(etcdctl(version, *words, endpoints=ours.endpoints))
        assert (line, got) == (line, expected)


@pytest.mark.parametrize("version", [pytest.param("3.4", marks=pytest.mark.soak), "3.5"])
def test_every_member_serves_a_user(new_cluster: Any, version: Version) -> None:
    """etcdctl asks one member for a token and may use it on another."""
    cluster = new_cluster(subject(), 3, flags=FLAGS)
    for line in ("user add root:pw", "auth enable"):
        assert etcdctl(version, *line.split(), endpoints=cluster.endpoints).code == 0
    for index in range(6):
        put = etcdctl(version, "--user", "root:pw", "put", f"k{index}", "v", endpoints=cluster.endpoints)
        assert (put.code, put.stdout) == (0, "OK\n"), put.stderr
    health = etcdctl(version, "--user", "root:pw", "endpoint", "status", endpoints=cluster.endpoints)
    assert (health.code, len(health.stdout.splitlines())) == (0, 3)


@pytest.mark.parametrize("version", ["3.4", pytest.param("3.5", marks=pytest.mark.soak)])
def test_one_queue_for_etcdctls_lock_and_the_service(new_cluster: Any, tmp_path: Path, version: Version) -> None:
    """etcdctl holds the lock; a call of the service waits for it, and a second etcdctl for that one."""
    cluster = new_cluster(subject(), 1)
    stub = cluster.stub()
    queue = pb.RangeRequest(key=b"shared/", range_end=b"shared0", count_only=True)

    def waiting(count: int) -> None:
        wait_until(lambda: stub.Range(queue, timeout=5).count == count, f"{count} in the queue")

    first = etcdctl_background(version, "lock", "shared", endpoints=cluster.endpoints, log=tmp_path / "first")
    second = None
    try:
        wait_until(lambda: "shared/" in first.output().partition("\n")[2], "etcdctl to hold the lock")
        call = stub.Lock.future(pb.LockRequest(name=b"shared"), timeout=30)
        waiting(2)
        second = etcdctl_background(version, "lock", "shared", endpoints=cluster.endpoints, log=tmp_path / "second")
        waiting(3)
        assert not call.done()
        first.stop()
        held = call.result()
        assert "shared/" not in second.output().partition("\n")[2]
        stub.Unlock(pb.UnlockRequest(key=held.key), timeout=10)
        wait_until(lambda: "shared/" in second.output().partition("\n")[2], "the second etcdctl to hold the lock")
    finally:
        first.kill()
        if second is not None:
            second.kill()


@pytest.mark.parametrize("version", [pytest.param("3.4", marks=pytest.mark.soak), "3.5"])
def test_etcdctl_sees_the_services_leaders(new_cluster: Any, tmp_path: Path, version: Version) -> None:
    """`etcdctl elect --listen` follows campaigns of the service; a campaign of etcdctl's is waited for by it."""
    cluster = new_cluster(subject(), 1)
    stub = cluster.stub()
    won = stub.Campaign(pb.CampaignRequest(name=b"vote", value=b"one"), timeout=10)
    observer = etcdctl_background(version, "elect", "--listen", "vote", endpoints=cluster.endpoints, log=tmp_path / "o")
    candidate = None
    try:
        wait_until(lambda: "one" in observer.output(), "the observer to see the leader")
        stub.Proclaim(pb.ProclaimRequest(leader=won.leader, value=b"uno"), timeout=10)
        wait_until(lambda: "uno" in observer.output(), "the observer to see the proclamation")
        candidate = etcdctl_background(version, "elect", "vote", "two", endpoints=cluster.endpoints, log=tmp_path / "c")
        queue = pb.RangeRequest(key=b"vote/", range_end=b"vote0", count_only=True)
        wait_until(lambda: stub.Range(queue, timeout=5).count == 2, "etcdctl to stand for election")
        stub.Resign(pb.ResignRequest(leader=won.leader), timeout=10)
        wait_until(lambda: "two" in observer.output(), "the observer to see etcdctl lead")
        assert stub.Leader(pb.LeaderRequest(name=b"vote"), timeout=10).kv.value == b"two"
    finally:
        observer.kill()
        if candidate is not None:
            candidate.kill()
