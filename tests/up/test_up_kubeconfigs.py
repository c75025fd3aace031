"""Kubeconfig files of the user's own: neither `fluyt up` nor `fluyt kubeconfig` writes over other logins."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from control.cli.kubeconfig import kubeconfig
from control.cli.kubeconfig_files import ADMIN, refuse_foreign
from control.pki.cluster import Server, ensure_cluster
from control.pki.kubeconfig import Login, as_yaml
from control.pki.kubeconfig import kubeconfig as content_of
from kvstore.cli.exits import CommandError

URL = "https://10.0.0.1:6443"
OURS = content_of(URL, b"", ADMIN, Login(token="t"))
FOREIGN = content_of("https://elsewhere", b"", "somebody", Login(token="t"))
MERGED = {**OURS, "clusters": OURS["clusters"] + FOREIGN["clusters"], "users": OURS["users"] + FOREIGN["users"]}


def write(path: Path, content: object) -> None:
    path.write_text(content if isinstance(content, str) else as_yaml(dict(content)))  # type: ignore[call-overload]


@pytest.mark.parametrize("content", [OURS, "", None])
def test_files_that_may_be_replaced(tmp_path: Path, content: object) -> None:
    path = tmp_path / "config"
    if content is not None:
        write(path, content)
    refuse_foreign(path, [URL], ADMIN, "cure")


@pytest.mark.parametrize(
    "content",
    [
        FOREIGN,
        MERGED,
        content_of(URL, b"", "alice", Login(token="t")),
        "not: a kubeconfig",
        "users: [x]",
        "users: []\nclusters: [{}]",
        "[",
    ],
)
def test_files_that_may_not(tmp_path: Path, content: object) -> None:
    path = tmp_path / "config"
    write(path, content)
    with pytest.raises(ValueError, match=r"config exists and is not this cluster's login of .* alone; cure"):
        refuse_foreign(path, [URL], ADMIN, "cure")


def test_the_command(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, Server(URL), datetime.now(UTC))
    out = tmp_path / "config"
    words = ["--pki-dir", str(tmp_path / "pki"), "--out", str(out)]

    def run(*more: str) -> None:
        found = CliRunner().invoke(kubeconfig, [*words, *more], standalone_mode=False).exception
        if found:
            raise found

    write(out, MERGED)
    with pytest.raises(CommandError, match="choose another --out, or --force"):
        run()
    assert "elsewhere" in out.read_text()
    run("--force")
    assert "elsewhere" not in out.read_text()
    # Again, as before its certificate ends.
    run()
    with pytest.raises(CommandError, match="is not this cluster's login of alice alone"):
        run("--user", "alice")
