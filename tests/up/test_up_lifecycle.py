"""`fluyt up` and `fluyt down` as processes: ready, refused, restarted, killed, failing at the start."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fluyt_up import FLUYT, fluyt, status
from harness.process import Process
from harness.real_store import store_words
from harness.wait import wait_until

from control.client import kubeconfig
from control.pki import files
from control.up.cluster import Cluster
from control.up.plan import Wishes
from control.up.ready import Probe
from kvstore.pki.certificates import issue


@pytest.fixture
def store() -> Iterator[list[str]]:
    """Words for `fluyt up` when FLUYT_TEST_STORE names a store that is not ours."""
    with store_words() as words:
        yield words


def probe(folder: Path) -> Probe:
    return Probe(kubeconfig.load(folder / "admin.conf").ssl_context())


def make(name: str, folder: Path) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    assert status(folder, "POST", "/api/v1/namespaces/default/configmaps", body) == 201


def has(name: str, folder: Path) -> bool:
    return status(folder, "GET", f"/api/v1/namespaces/default/configmaps/{name}") == 200


def test_detached_masters(folder: Path, tmp_path: Path, store: list[str]) -> None:
    copy = tmp_path / "kube" / "config"
    words = ["--data-dir", str(folder), "--detach", "--kubeconfig", str(copy)]
    told = fluyt("up", "--masters", "2", *words, *store).stdout
    assert "ready in" in told
    assert f"export KUBECONFIG={copy}" in told
    assert copy.read_bytes() == (folder / "admin.conf").read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600
    cluster = Cluster(folder)
    assert cluster.running() == [row.name for row in cluster.rows]
    assert all(probe(folder).serving(url) for url in cluster.planned().api_urls)
    make("a", folder)
    now = datetime.now(UTC)
    ending = issue(files.load_pair(folder / "pki", "ca"), "kube-apiserver-kubelet-client", [], now, timedelta(days=9))
    files.replace_pair(folder / "pki", "apiserver-kubelet-client", ending)
    # As in a cron job that has its certificates looked after.
    assert "up already: 2 masters" in fluyt("up", "--data-dir", str(folder), "--detach").stdout
    refused = fluyt("up", "--data-dir", str(folder), code=1).stderr
    assert f"is up already; stop it with fluyt down --data-dir {folder}" in refused
    renewed = files.load_pair(folder / "pki", "apiserver-kubelet-client").certificate
    assert renewed.not_valid_after_utc > now + timedelta(days=300)
    # What died is started again, and nothing else.
    pids = {name: cluster.children.pid(name) for name in cluster.running()}
    os.kill(pids["m2-apiserver"] or 0, signal.SIGKILL)
    wait_until(lambda: cluster.children.pid("m2-apiserver") is None, "its end")
    fluyt("up", "--data-dir", str(folder), "--detach")
    again = {name: cluster.children.pid(name) for name in cluster.running()}
    assert {name for name in pids if pids[name] != again[name]} == {"m2-apiserver"}
    assert "ended" in fluyt("down", "--data-dir", str(folder)).stdout
    assert cluster.running() == []
    assert "holds a cluster of 2 masters" in fluyt("up", "--masters", "1", "--data-dir", str(folder), code=1).stderr


def test_in_the_foreground_and_again_in_one_process(folder: Path, tmp_path: Path, store: list[str]) -> None:
    log = tmp_path / "log"
    up = Process([FLUYT, "up", "--data-dir", str(folder), *store], log)
    wait_until(lambda: "ready in" in log.read_text(), "the cluster", timeout=60)
    make("a", folder)
    plan = Cluster(folder).planned()
    refused = fluyt("up", "--data-dir", str(folder), code=1).stderr
    assert f"another fluyt up (pid {up.pid}) is at work on {folder}" in refused
    up.popen.send_signal(signal.SIGINT)
    assert up.popen.wait(30) == 0, log.read_text()
    assert Cluster(folder).running() == []
    # The other way of starting, on the same folder: same ports, same data.
    other = Process([FLUYT, "up", "--data-dir", str(folder), "--in-process"], log)
    wait_until(lambda: log.read_text().count("ready in") == 2, "the cluster", timeout=60)
    assert Cluster(folder).planned() == plan
    assert has("a", folder)
    assert "removed" in fluyt("down", "--data-dir", str(folder), "--wipe").stdout
    assert other.popen.wait(30) == 0
    assert not folder.exists()


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    cluster = Cluster(folder)
    with cluster.locked():
        plan = cluster.prepare(Wishes())
    with socket.create_server(("127.0.0.1", plan.masters[0].api)):
        refused = fluyt("up", "--data-dir", str(folder), "--detach", code=1).stderr
    assert "m1-apiserver ended at its start (exit code 1). Its last words:" in refused
    assert "Address already in use" in refused
    assert Cluster(folder).running() == []


def test_mistakes(folder: Path, tmp_path: Path) -> None:
    assert "there is no cluster in" in fluyt("down", "--data-dir", str(folder), code=1).stderr
    assert "exclude each other" in fluyt("up", "--detach", "--in-process", code=1).stderr
    assert (
        "one master and no nodes"
        in fluyt("up", "--in-process", "--masters", "3", "--data-dir", str(folder), code=1).stderr
    )
    foreign = tmp_path / "config"
    foreign.write_text("clusters:\n- {name: x, cluster: {server: https://elsewhere}}\nusers: []\n")
    told = fluyt("up", "--data-dir", str(tmp_path / "b"), "--kubeconfig", str(foreign), code=1).stderr
    assert f"{foreign} exists and is not this cluster's" in told
    assert "elsewhere" in foreign.read_text()
    (tmp_path / "file").touch()
    assert "file" in fluyt("up", "--data-dir", str(tmp_path / "file" / "x"), code=1).stderr
