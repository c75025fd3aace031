"""Programs written for etcd with other people's clients, run unchanged: PyPI's etcd3 and npm's etcd3 (grpc-js).

Each client lives in an environment of its own below .clients/, made the first time: PyPI's wants an older protobuf than
ours, and what npm installs is none of this project's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.binaries import Kind, subject
from harness.cluster import Cluster
from harness.process import clean_environment
from harness.require import missing, require

HERE = Path(__file__).parent
CLIENTS = Path(__file__).resolve().parents[2] / ".clients"


@pytest.fixture(scope="module", params=["etcd-3.5", "fluyt"])
def store(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The program must run on etcd as well, or it proves nothing."""
    kind: Kind = subject() if request.param == "fluyt" else request.param
    require(kind)
    with Cluster(kind, 1) as cluster:
        yield cluster


def installed(*command: str | Path, cwd: Path) -> None:
    """Run an installer. Without a registry this machine cannot tell."""
    run = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if run.returncode:
        missing(f"{command[0]} cannot install the client here: {run.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def python_client() -> Path:
    """An interpreter with etcd3 0.12."""
    folder = CLIENTS / "python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        installed(sys.executable, "-m", "venv", folder, cwd=HERE)
        packages = ("etcd3==0.12.0", "protobuf<3.21", "setuptools<81")
        installed(folder / "bin/python", "-m", "pip", "install", "--quiet", *packages, cwd=HERE)
        (folder / "ready").touch()
    return folder / "bin/python"


@pytest.fixture(scope="module")
def node_client() -> Path:
    """A folder with npm's etcd3."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        missing("no node and npm on this machine; cure: apt-get install nodejs npm")
    folder = CLIENTS / "node"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        installed(str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", "etcd3@1", cwd=folder)
        (folder / "ready").touch()
    return folder


def run(store: Cluster, *command: str | Path, **environment: str) -> str:
    """What the program prints; it must end well."""
    words = [*map(str, command), store.endpoints[0]]
    result = subprocess.run(
        words, capture_output=True, text=True, timeout=60, env={**clean_environment(), **environment}, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_python_client(store: Cluster, python_client: Path) -> None:
    said = run(store, python_client, HERE / "with_python_etcd3.py")
    tasks = ["kv", "transactions", "watches", "leases_and_locks", "members_and_maintenance"]
    assert said.splitlines() == [f"ok {task}" for task in tasks]


def test_the_node_client(store: Cluster, node_client: Path) -> None:
    said = run(store, "node", HERE / "with_node_etcd3.js", NODE_PATH=str(node_client / "node_modules"))
    tasks = ["kv", "transactions", "watches", "leasesAndLocks", "elections", "maintenance"]
    assert said.splitlines() == [f"ok {task}" for task in tasks]
