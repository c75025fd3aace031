"""Credentials for clusters on several machines: what each folder holds, and what must not be in it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from harness.process import clean_environment

from control.client import kubeconfig
from control.up.machines import make_master, make_node

URLS = ("https://10.0.0.1:6443", "https://10.0.0.2:6443")
NOW = datetime.now(UTC)


def made(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file() and path.name != "lock"}


def names(path: Path) -> set[str]:
    found = x509.load_pem_x509_certificate(path.read_bytes())
    alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(entry.value) for entry in alternative}


def test_a_master_s_folder_has_all_it_needs_and_no_authority_s_key(tmp_path: Path) -> None:
    one = make_master(tmp_path, "m1", URLS, ["10.0.0.1", "m1.example"], NOW)
    two = make_master(tmp_path, "m2", URLS[::-1], ["10.0.0.2"], NOW)
    found = made(one)
    pairs = ("apiserver", "apiserver-kubelet-client", "etcd/server", "apiserver-etcd-client")
    assert {f"pki/{name}{suffix}" for name in pairs for suffix in (".crt", ".key")} <= found
    assert {"pki/ca.crt", "pki/front-proxy-ca.crt", "pki/etcd/ca.crt", "pki/sa.key", "pki/sa.pub"} <= found
    assert {"admin.conf", "controllers.conf", "scheduler.conf"} <= found
    assert not {"pki/ca.key", "pki/front-proxy-ca.key", "pki/etcd/ca.key"} & found
    for name in ("apiserver", "etcd/server"):
        assert {"10.0.0.1", "m1.example"} <= names(one / "pki" / f"{name}.crt")
    # They are one cluster: the same authorities and token keys; each asks its own API server first.
    for shared in ("ca.crt", "etcd/ca.crt", "sa.key"):
        assert (one / "pki" / shared).read_bytes() == (two / "pki" / shared).read_bytes()
    assert list(kubeconfig.load(two / "controllers.conf").servers) == list(URLS[::-1])
    assert all(path.stat().st_mode & 0o077 == 0 for path in (*one.rglob("*.key"), *one.glob("*.conf")))


def test_a_master_that_signs_has_one_authority_s_key(tmp_path: Path) -> None:
    found = made(make_master(tmp_path, "m1", URLS, ["10.0.0.1"], NOW, signing=True))
    assert {"pki/ca.key", "pki/front-proxy-ca.key", "pki/etcd/ca.key"} & found == {"pki/ca.key"}
    assert "pki/ca.key" not in made(make_master(tmp_path, "m1", URLS, ["10.0.0.1"], NOW))


def test_a_master_that_is_a_node_as_well_still_signs(tmp_path: Path) -> None:
    """The node's credentials took the key away, and no node's certificate was renewed any more."""
    make_master(tmp_path, "m1", URLS, ["10.0.0.1"], NOW, signing=True)
    found = made(make_node(tmp_path, "m1", URLS, ["10.0.0.1"], NOW))
    assert {"admin.conf", "node-m1.conf", "pki/ca.key"} <= found
    make_master(tmp_path, "m2", URLS, ["10.0.0.2"], NOW)
    assert "pki/ca.key" not in made(make_node(tmp_path, "m2", URLS, ["10.0.0.2"], NOW))


def test_a_node_s_folder_lets_it_be_no_other(tmp_path: Path) -> None:
    node = make_node(tmp_path, "n1", URLS, ["10.0.0.11"], NOW)
    assert made(node) == {"node-n1.conf", "pki/ca.crt", "pki/node-n1.crt", "pki/node-n1.key"}
    assert {"10.0.0.11", "n1"} <= names(node / "pki" / "node-n1.crt")
    before = (node / "node-n1.conf").read_bytes()
    make_node(tmp_path, "n1", URLS, ["10.0.0.11"], NOW)
    assert (node / "node-n1.conf").read_bytes() == before


@pytest.mark.parametrize("name", ["", "..", "a/b", "authorities"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        make_node(tmp_path, name, URLS, [], NOW)


def test_the_command(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kvstore.cli.main", "credentials", *words]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False
        )

    done = run("node", "n1", "--server", URLS[0], "--host", "10.0.0.11")
    assert done.stdout == "credentials/n1 is for n1; copy it there as /etc/fluyt\n"
    for url in ("http://x", "https://", "https://:6443", "https://x:port", "https://[::1"):
        assert "an https:// URL with a host is needed" in run("node", "n2", "--server", url).stderr
    assert not (tmp_path / "credentials" / "n2").exists()
