"""The generated code in kvstore/pb and node_agent/pb is what scripts/gen-proto makes of proto/, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from harness.binaries import find
from harness.require import missing

from kvstore.pb import etcd_pb2, health_pb2, raft_pb2
from node_agent.pb import cri_pb2

ROOT = Path(__file__).resolve().parent.parent


def test_generated_code_was_made_of_its_source() -> None:
    """Each module ends with a digest of its source, of the pinned generator, and of itself."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "support" / "proto_digest.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.soak
def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    """Generate again and compare. The generator has an environment of its own, made with pip the first time."""
    environment = dict(os.environ)
    if not (ROOT / ".gen-venv").exists():
        environment["FLUYT_GEN_VENV"] = str(tmp_path / "venv")
    run = subprocess.run(
        [str(ROOT / "scripts" / "gen-proto"), str(tmp_path / "made")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if run.returncode:
        missing(f"the generator cannot be installed here: {run.stderr.strip()[-300:]}")
    for package in ("kvstore", "node_agent"):
        made = {p.name: p.read_text() for p in (tmp_path / "made" / package / "pb").iterdir()}
        committed = {p.name: p.read_text() for p in (ROOT / package / "pb").glob("*_pb2.py*")}
        assert set(made) == set(committed)
        for name, text in made.items():
            assert committed[name] == text, f"{package}/pb/{name} is stale: run scripts/gen-proto"


@pytest.mark.parametrize("module", [etcd_pb2, health_pb2, raft_pb2, cri_pb2], ids=lambda module: module.__name__)
def test_packages_are_our_own(module: object) -> None:
    """Another etcd client's definitions must load beside ours: no message of ours has etcd's package."""
    file = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)  # type: ignore[attr-defined]
    assert file.package.startswith("fluyt.")


def test_etcds_own_definitions_load_beside_ours() -> None:
    """The same message names in etcd's package, in the same pool."""
    file = descriptor_pb2.FileDescriptorProto()
    etcd_pb2.DESCRIPTOR.CopyToProto(file)
    text = file.SerializeToString().replace(b".fluyt.etcd.", b".etcdsrvrpb.")
    other = descriptor_pb2.FileDescriptorProto.FromString(text)
    other.package, other.name = "etcdsrvrpb", "rpc.proto"
    added = descriptor_pool.Default().AddSerializedFile(other.SerializeToString())
    assert added.package == "etcdsrvrpb"
    assert find("fluyt") is None or etcd_pb2.PutRequest(key=b"a").SerializeToString() == b"\n\x01a"
