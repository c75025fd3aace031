"""The data directory: made once, locked, and refused in one line when it can't be ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvstore.storage import DataDir, DataDirError, Identity

IDENTITY = Identity(0x1234, 0xABCD, "m1")


def started(path: Path) -> None:
    """A first start that was finished."""
    opened = DataDir.open(path)
    opened.log.mkdir()
    opened.write_identity(IDENTITY)
    opened.close()


def listing(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


def test_a_new_directory(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "data"
    opened = DataDir.open(path)
    assert path.stat().st_mode & 0o777 == 0o700
    assert opened.identity() is None
    assert (opened.log, opened.backend, opened.snapshots) == (path / "log", path / "backend", path / "snapshots")
    assert opened.snapshots.is_dir()
    opened.log.mkdir()
    opened.write_identity(IDENTITY)
    assert opened.identity() == IDENTITY
    opened.close()
    again = DataDir.open(path)
    assert again.identity() == IDENTITY
    again.write_identity(IDENTITY)
    again.close()


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    opened = DataDir.open(tmp_path)
    assert opened.identity() is None
    opened.close()


def test_another_identity_is_refused(tmp_path: Path) -> None:
    started(tmp_path)
    before = (tmp_path / "identity.json").read_bytes()
    opened = DataDir.open(tmp_path)
    with pytest.raises(DataDirError, match=r"belongs to member abcd \(m1\) of cluster 1234, not to member abcd"):
        opened.write_identity(Identity(0x9999, 0xABCD, "m1"))
    assert (tmp_path / "identity.json").read_bytes() == before
    opened.close()


def test_a_directory_in_use_by_another_process(tmp_path: Path) -> None:
    started(tmp_path)
    code = (
        "import sys; from kvstore.storage import DataDir; d = DataDir.open(sys.argv[1]); print('open', flush=True); "
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(DataDirError, match="in use by another process"):
            DataDir.open(tmp_path)
        other.kill()
    DataDir.open(tmp_path).close()


def test_a_refusal_releases_the_lock(tmp_path: Path) -> None:
    started(tmp_path)
    good = (tmp_path / "identity.json").read_bytes()
    (tmp_path / "identity.json").write_bytes(b"{")
    for _ in range(2):
        with pytest.raises(DataDirError, match="is damaged"):
            DataDir.open(tmp_path)
    (tmp_path / "identity.json").write_bytes(good)
    DataDir.open(tmp_path).close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"format": 1}',
        b'{"format": "1", "cluster_id": 1, "member_id": 1, "name": ""}',
    ],
)
def test_a_damaged_identity(tmp_path: Path, content: bytes) -> None:
    started(tmp_path)
    (tmp_path / "identity.json").write_bytes(content)
    with pytest.raises(DataDirError, match=r"identity.json: is damaged .*restore it"):
        DataDir.open(tmp_path)


def test_a_newer_format(tmp_path: Path) -> None:
    started(tmp_path)
    found = json.loads((tmp_path / "identity.json").read_text())
    found["format"] = 2
    (tmp_path / "identity.json").write_text(json.dumps(found))
    with pytest.raises(DataDirError, match=r"newer release \(format 2, this one knows 1\)"):
        DataDir.open(tmp_path)


def make_file(path: Path) -> None:
    path.write_text("a file")


def make_etcd(path: Path) -> None:
    (path / "member" / "snap").mkdir(parents=True)
    (path / "member" / "wal").mkdir()


def make_strange(path: Path) -> None:
    path.mkdir()
    (path / "photos").mkdir()


def make_half(path: Path) -> None:
    opened = DataDir.open(path)
    opened.close()
    (path / "log").mkdir()
    (path / "log" / "00000001-0000000000000001.wal").write_bytes(b"x")


def make_without_log(path: Path) -> None:
    started(path)
    (path / "log").rmdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_file, "is not a directory; choose another"),
        (make_etcd, "is etcd's data directory.*fluyt snapshot restore"),
        (make_strange, r"holds other files \(photos\); choose"),
        (make_half, "first start was interrupted.*start again"),
        (make_without_log, "has an identity but no log"),
    ],
)
def test_what_is_refused_stays_as_it_was(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "data"
    make(path)  # type: ignore[operator]
    before = listing(tmp_path)
    with pytest.raises(DataDirError, match=message) as refused:
        DataDir.open(path)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")
    assert listing(tmp_path) == before


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataDirError, match=r"Permission denied \(.*lock\); check its owner"):
        DataDir.open(tmp_path)


def test_half_written_snapshots_go_and_whole_ones_stay(tmp_path: Path) -> None:
    started(tmp_path)
    (tmp_path / "snapshots" / "5.db.tmp").write_bytes(b"half")
    (tmp_path / "snapshots" / "4.db").write_bytes(b"whole")
    DataDir.open(tmp_path).close()
    assert listing(tmp_path / "snapshots") == ["4.db"]


def test_a_crash_while_the_identity_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = DataDir.open(tmp_path)
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(DataDirError, match="Input/output error"):
        opened.write_identity(IDENTITY)
    assert opened.identity() is None
    opened.close()
    monkeypatch.undo()
    again = DataDir.open(tmp_path)
    assert again.identity() is None
    again.write_identity(IDENTITY)
    again.close()
    assert not list(tmp_path.glob("*.tmp"))
