"""The scripts a user meets first: they explain themselves, do what they say, and clean up."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.binaries import subject
from harness.etcdctl import etcdctl
from harness.process import clean_environment
from harness.require import require
from harness.wait import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = ROOT / "scripts"

pytestmark = pytest.mark.skipif(subject() != "fluyt", reason="about our own scripts")


def run(name: str, *words: str, timeout: float = 110) -> subprocess.CompletedProcess[str]:
    """A script to its end."""
    return subprocess.run(
        [str(SCRIPTS / name), *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(
    "name", ["venv", "quickstart", "test", "check", "start-cluster", "stop-cluster", "partition", "bench"]
)
def test_help_teaches(name: str) -> None:
    """What it does, and examples to copy."""
    outcome = run(name, "--help", timeout=60)
    assert outcome.returncode == 0, outcome.stderr
    assert f"scripts/{name}" in outcome.stdout
    assert len(outcome.stdout.splitlines()) >= 4


@pytest.mark.timeout(300)
def test_quickstart_shows_what_it_says() -> None:
    """Exit code 0, an outage in milliseconds, and no process left behind."""
    require("fluyt")
    outcome = run("quickstart", "--exit", timeout=280)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "ms without a write" in outcome.stdout
    assert "all of it held" in outcome.stdout


def test_a_cluster_that_stays(tmp_path: Path) -> None:
    """start, use, kill one, start again, stop, start again with the data of before, stop and wipe."""
    require("fluyt")
    folder = tmp_path / "cluster"
    where = ["--data", str(folder)]
    try:
        started = run("start-cluster", *where, "--free-ports")
        assert started.returncode == 0, started.stderr
        endpoints = next(
            line.split("ETCDCTL_ENDPOINTS=")[1].split(",")
            for line in started.stdout.splitlines()
            if "ENDPOINTS=" in line
        )
        assert etcdctl("3.5", "put", "kept", "yes", endpoints=endpoints).stdout == "OK\n"
        killed = int((folder / "m1.pid").read_text())
        os.kill(killed, 9)
        wait_until(lambda: not Path("/proc", str(killed)).exists(), "the killed master to be gone")
        again = run("start-cluster", *where)
        assert "1 of 3 masters started" in again.stdout, again.stdout + again.stderr
        assert run("start-cluster", *where, "--masters", "5").returncode == 1
        assert "3 of 3 masters were running" in run("stop-cluster", *where).stdout
        assert run("start-cluster", *where).returncode == 0
        assert etcdctl("3.5", "get", "kept", endpoints=endpoints).stdout == "kept\nyes\n"
    finally:
        stopped = run("stop-cluster", *where, "--wipe")
    assert "3 of 3 masters were running" in stopped.stdout
    assert not folder.exists()
    assert run("stop-cluster", *where).returncode == 1


def test_partition_lists_its_drills_and_refuses_others() -> None:
    """--list, and a name that is none."""
    listed = run("partition", "--list", timeout=60)
    assert listed.returncode == 0
    assert "leader-alone" in listed.stdout
    strange = run("partition", "--drill", "flood", timeout=60)
    assert strange.returncode == 2
    assert "flood" in strange.stderr


def test_bench_names_what_is_missing() -> None:
    """A contender that is not there."""
    outcome = run("bench", "--only", "zookeeper", timeout=60)
    assert outcome.returncode == 1
    assert "zookeeper" in outcome.stderr


def test_check_is_there_for_everyone() -> None:
    """Every script can be run as it is."""
    for path in (*SCRIPTS.iterdir(), ROOT / ".ci" / "run"):
        if path.is_file():
            assert os.access(path, os.X_OK), f"{path.name} is not executable"
            assert shutil.which("env")
