"""Which program of a name the tests take, when the machine has several."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import binaries


def test_the_right_version_is_found_behind_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an activated environment, whose etcd 3.5 stands before the machine's 3.4."""
    for folder, version in (("environment", "3.5.1"), ("machine", "3.4.23")):
        program = tmp_path / folder / "etcd"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho etcd Version: {version}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/environment:{tmp_path}/machine:/usr/bin:/bin")
    monkeypatch.setattr(binaries, "find", binaries.find.__wrapped__)
    assert binaries.find("etcd-3.4") == str(tmp_path / "machine" / "etcd")
    assert binaries.find("etcd-2.0") is None
