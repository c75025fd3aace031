"""Kubeconfig files: what counts, and what is said of those that cannot be used."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from control.client import ConfigError, kubeconfig
from control.pki import kubeconfig as pki


def write(path: Path, **parts: Any) -> Path:
    """A kubeconfig file with one context, overridden by parts."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "ns"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443/"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        **parts,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_plain_one(tmp_path: Path) -> None:
    config = kubeconfig.load(write(tmp_path / "config"))
    assert (config.servers, config.token, config.namespace) == (("https://10.0.0.1:6443",), "secret", "ns")
    assert "secret" not in repr(config)
    other = kubeconfig.load(tmp_path / "config", servers=["https://a", "https://b"])
    assert (other.servers, other.token) == (("https://a", "https://b"), "secret")


def test_inline_data_wins_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    pem = base64.b64encode(b"PEM").decode()
    cluster = {"server": "https://x", "certificate-authority": "ca.crt", "certificate-authority-data": pem}
    user = {"client-certificate": "me.crt", "client-key": "/me.key", "tokenFile": "token"}
    path = write(
        tmp_path / "config",
        clusters=[{"name": "k", "cluster": {**cluster, "tls-server-name": "kubernetes"}}],
        users=[{"name": "u", "user": user}],
    )
    config = kubeconfig.load(path)
    assert (config.ca, config.server_name) == (b"PEM", "kubernetes")
    assert (config.cert, config.key, config.token_file) == (
        tmp_path / "me.crt",
        Path("/me.key"),
        tmp_path / "token",
    )


def test_further_servers_are_those_that_pki_writes(tmp_path: Path) -> None:
    content = pki.kubeconfig("https://a", b"PEM", "me", pki.Login(token="t"), others=("https://b", "https://c"))
    pki.write_kubeconfig(tmp_path / "config", content)
    assert kubeconfig.load(tmp_path / "config").servers == ("https://a", "https://b", "https://c")
    assert pki.other_servers(content) == ("https://b", "https://c")


def test_several_files_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write(tmp_path / "one", users=[])
    two = write(tmp_path / "two", clusters=[{"name": "k", "cluster": {"server": "https://not-me"}}])
    monkeypatch.setenv("KUBECONFIG", f"{one}:{tmp_path / 'none'}:{two}")
    config = kubeconfig.load()
    assert (config.servers, config.token) == (("https://10.0.0.1:6443",), "secret")


def test_in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    for name, text in (("token", "t"), ("ca.crt", "PEM"), ("namespace", "mine\n")):
        (tmp_path / name).write_text(text)
    config = kubeconfig.in_cluster(tmp_path)
    assert (config.servers, config.namespace) == (("https://[fd00::1]:6443",), "mine")
    assert (config.ca, config.token_file) == (tmp_path / "ca.crt", tmp_path / "token")
    with pytest.raises(ConfigError, match="no pod"):
        kubeconfig.in_cluster(tmp_path / "none")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"current-context": ""}, "has no current-context; choose one by --context"),
        ({"current-context": "x"}, r"current-context names context 'x', which is not there \(c\)"),
        ({"clusters": []}, r"context 'c' names cluster 'k', which is not there \(none\)"),
        ({"clusters": [{"name": "k", "cluster": {}}]}, "names no server"),
        ({"users": [{"name": "u", "user": {"exec": {"command": "x"}}}]}, "uses exec, which is not supported"),
        ({"users": [{"user": {}}]}, "an entry of users has no name"),
        ({"users": [{"name": "u", "user": {"client-key-data": "%"}}]}, "client-key-data is no base64"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kubeconfig.load(write(tmp_path / "config", **parts))


@pytest.mark.parametrize("text", ["[1]", "a: [", "\x00"])
def test_what_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError, match="config"):
        kubeconfig.load(path)


def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="there is no kubeconfig at"):
        kubeconfig.load(tmp_path / "none")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="--kubeconfig or KUBECONFIG"):
        kubeconfig.load()


def test_certificates_that_are_none(tmp_path: Path) -> None:
    config = kubeconfig.load(
        write(
            tmp_path / "config",
            clusters=[{"name": "k", "cluster": {"server": "https://x", "certificate-authority-data": "UEVN"}}],
        )
    )
    with pytest.raises(ConfigError, match="certificates for https://x cannot be used"):
        config.ssl_context()
