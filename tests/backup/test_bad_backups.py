"""Files that are cut, altered or none at all, directories that hold something: one clear line, nothing changed."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from harness.backup import restore_arguments, run_program, run_tool, save
from harness.cluster import Cluster, ClusterFactory
from harness.fluyt_here import fluyt_here

from kvstore.backup import rows
from kvstore.pb import etcd_pb2 as pb
from kvstore.storage.bolt import BoltWriter


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot with a little of everything."""
    path = tmp_path_factory.mktemp("backup") / "good.db"
    with Cluster("fluyt", 1) as cluster:
        stub = cluster.stub()
        stub.LeaseGrant(pb.LeaseGrantRequest(ID=1, TTL=1000))
        for number in range(200):
            stub.Put(pb.PutRequest(key=b"k%d" % number, value=b"v" * 200, lease=1))
        save(stub, path)
    return path


@pytest.fixture
def target(new_cluster: ClusterFactory) -> Cluster:
    """A cluster that was never started: its directory is not there."""
    return new_cluster("fluyt", members=1, start=False)


def refuse(target: Cluster, path: Path, *more: str) -> str:
    """Restore, which must fail with one line and leave nothing; the line."""
    before = sorted(os.listdir(target.directory))
    outcome = fluyt_here("snapshot", *restore_arguments(target, 0, path, *more))
    assert outcome.code == 1, outcome
    assert not outcome.stdout
    assert outcome.stderr.startswith("Error: ")
    assert outcome.stderr.count("\n") == 1, outcome.stderr
    assert sorted(os.listdir(target.directory)) == before
    return outcome.stderr


def test_cut_files(backup: Path, target: Cluster, tmp_path: Path, seed: int) -> None:
    data = backup.read_bytes()
    cut = tmp_path / "cut.db"
    rng = random.Random(seed)
    for size in (0, 31, 4096, len(data) // 2, len(data) - 32, len(data) - 512, rng.randrange(len(data))):
        cut.write_bytes(data[:size])
        line = refuse(target, cut)
        assert "hash" in line or "sha256" in line


def test_altered_files(backup: Path, target: Cluster, tmp_path: Path, seed: int) -> None:
    data = backup.read_bytes()
    altered = tmp_path / "altered.db"
    rng = random.Random(seed)
    for _ in range(5):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1
        altered.write_bytes(changed)
        assert "expected sha256" in refuse(target, altered)


def test_a_file_without_its_checksum_wants_a_flag(backup: Path, target: Cluster, tmp_path: Path) -> None:
    bare = tmp_path / "bare.db"
    bare.write_bytes(backup.read_bytes()[:-32])
    assert "snapshot missing hash but --skip-hash-check=false" in refuse(target, bare)
    assert run_program("fluyt", *restore_arguments(target, 0, bare, "--skip-hash-check")).code == 0
    stub = target.start().stub()
    assert stub.Range(pb.RangeRequest(key=b"k", range_end=b"l")).count == 200


def test_cut_and_unchecked(backup: Path, target: Cluster, tmp_path: Path) -> None:
    cut = tmp_path / "cut.db"
    cut.write_bytes(backup.read_bytes()[:8192])
    assert "it is cut" in refuse(target, cut, "--skip-hash-check")


def test_something_else(target: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("milk, bread\n" * 1000)
    assert "hash" in refuse(target, other)
    assert "no snapshot" in refuse(target, other, "--skip-hash-check")
    assert "no such file" in refuse(target, tmp_path / "nothing.db")


BAD_ROWS = {
    "no bucket key": {rows.META: []},
    "no revision": {rows.KEY: [(b"short", b"")]},
    "no key-value": {rows.KEY: [(rows.revision_key(bytes(7) + b"\2" + bytes(4), False), b"\xff\xff\xff")]},
    "another revision": {
        rows.KEY: [
            (
                rows.revision_key(bytes(7) + b"\2" + bytes(4), False),
                pb.KeyValue(key=b"k", mod_revision=3, create_revision=3, version=1).SerializeToString(),
            )
        ]
    },
    "a lease's name": {rows.KEY: [], rows.LEASE: [(b"12345678", b"\x08\x01\x10\x02")]},
    "no lease": {rows.KEY: [], rows.LEASE: [(b"12345678", b"\x0a\xff")]},
    "a user's name": {rows.AUTH_USERS: [(b"bob", pb.User(name=b"eve").SerializeToString())], rows.KEY: []},
    "a compaction": {rows.KEY: [], rows.META: [(rows.SCHEDULED_COMPACT, b"now")]},
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_whole_files_with_wrong_rows(case: str, target: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "odd.db"
    with path.open("wb") as file:
        writer = BoltWriter(file)
        for name, pairs in BAD_ROWS[case].items():
            writer.bucket(name, pairs)
        writer.finish()
    assert "damaged, or no snapshot" in refuse(target, path, "--skip-hash-check")


def test_occupied_directories_are_left_alone(backup: Path, target: Cluster) -> None:
    folder = target.members[0].data_dir
    folder.mkdir()
    (folder / "diary").write_text("mine")
    assert "not empty or could not be read" in refuse(target, backup)
    assert (folder / "diary").read_text() == "mine"
    (folder / "diary").unlink()
    assert run_tool("fluyt", *restore_arguments(target, 0, backup)).code == 0  # an empty one is fine
    assert "not empty or could not be read" in refuse(target, backup)


def test_flags_that_do_not_fit(backup: Path, target: Cluster) -> None:
    wrong_name = run_program("fluyt", *restore_arguments(target, 0, backup), "--name", "stranger")
    assert wrong_name.code == 1
    assert "has no member named 'stranger'" in wrong_name.stderr
    for flags in (["--bump-revision", "5"], ["--mark-compacted"]):
        outcome = run_tool("fluyt", *restore_arguments(target, 0, backup, *flags))
        assert "--mark-compacted required if --bump-revision > 0" in outcome.stderr
    assert not target.members[0].data_dir.exists()


def test_status_of_damaged_files(backup: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.db"
    cut.write_bytes(backup.read_bytes()[:12_000])
    outcome = run_program("fluyt", "status", str(cut))
    assert (outcome.code, outcome.stdout, outcome.stderr.count("\n")) == (1, "", 1)
    assert "damaged" in outcome.stderr


def test_every_folder_that_a_restore_makes_is_on_the_disk(
    backup: Path, target: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder's name is in the folder above it: after a power cut the restored one would be gone with its parent."""
    synced: set[str] = set()
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        synced.add(os.path.realpath(f"/proc/self/fd/{fd}"))

    monkeypatch.setattr(os, "fsync", fsync)
    arguments = restore_arguments(target, 0, backup)
    arguments[arguments.index("--data-dir") + 1] = str(tmp_path / "one" / "two" / "data")
    outcome = fluyt_here("snapshot", *arguments)
    assert outcome.code == 0, outcome.stderr
    assert {str(folder) for folder in (tmp_path, tmp_path / "one", tmp_path / "one" / "two")} <= synced
