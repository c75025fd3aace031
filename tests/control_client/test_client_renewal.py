"""Credentials that are renewed in their files while a client runs."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control.client import kubeconfig
from control.client.renewal import Renewal
from control.client.transport import Transport
from control.pki.cluster import Server, Subject, ensure_cluster, user_login
from control.pki.kubeconfig import Login, write_kubeconfig
from control.pki.kubeconfig import kubeconfig as content

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    ensure_cluster(folder, Server("https://127.0.0.1:6443"), NOW)
    return folder / "pki"


def write(file: Path, pki: Path, login: Login | None = None) -> Login:
    """A kubeconfig with a fresh login, at a time of its own."""
    login = login or user_login(pki, Subject("alice"), NOW + timedelta(seconds=1))
    write_kubeconfig(file, content("https://127.0.0.1:6443", (pki / "ca.crt").read_bytes(), "alice", login))
    return login


def test_a_kubeconfig_that_changes_is_read_again(tmp_path: Path, pki: Path) -> None:
    file, clock = tmp_path / "a.conf", [0.0]
    write(file, pki)
    renewal = Renewal(kubeconfig.load(file), lambda: clock[0])
    second = write(file, pki)
    assert renewal.newer() is None  # looked at a moment ago
    clock[0] = 6.0
    newer = renewal.newer()
    assert newer is not None
    assert (newer.cert, newer.key) == (second.certificate, second.key)
    clock[0] = 12.0
    assert renewal.newer() is None


def test_what_cannot_be_used_is_not_and_is_tried_again(
    tmp_path: Path, pki: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "a.conf", [0.0]
    first = write(file, pki)
    renewal = Renewal(kubeconfig.load(file), lambda: clock[0])
    other = user_login(pki, Subject("alice"), NOW)
    for number, login in enumerate((Login(other.certificate, first.key), None)):
        clock[0] += 6.0
        if login is None:
            file.write_text("nonsense: [")
        else:
            write(file, pki, login)
        assert renewal.newer() is None
        assert caplog.text.count("cannot be used yet") == number + 1
    write(file, pki)
    clock[0] += 6.0
    assert renewal.newer() is not None


def test_certificates_in_files_of_their_own_are_followed(tmp_path: Path, pki: Path) -> None:
    login = user_login(pki, Subject("alice"), NOW)
    (tmp_path / "a.crt").write_bytes(login.certificate)
    (tmp_path / "a.key").write_bytes(login.key)
    user = f"{{client-certificate: a.crt, client-key: {tmp_path / 'a.key'}}}"
    (tmp_path / "a.conf").write_text(
        "{clusters: [{name: c, cluster: {server: 'https://x:1'}}], current-context: c, "
        f"contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {user}}}]}}"
    )
    clock = [0.0]
    renewal = Renewal(kubeconfig.load(tmp_path / "a.conf"), lambda: clock[0])
    os.utime(tmp_path / "a.crt", (1, 1))
    clock[0] = 6.0
    assert renewal.newer() is not None


def test_a_client_shows_them_from_its_next_connection_on(tmp_path: Path, pki: Path) -> None:
    async def work() -> None:
        file = tmp_path / "a.conf"
        write(file, pki)
        transport = Transport(kubeconfig.load(file))
        before = transport._connection()["ssl"]
        transport._renew()
        assert transport._connection()["ssl"] is before
        second = write(file, pki)
        transport._renewal._next = 0.0
        transport._renew()
        assert transport._connection()["ssl"] is not before
        assert transport.config.cert == second.certificate
        assert transport.config.servers == ("https://127.0.0.1:6443",)

    asyncio.run(work())
