"""The credentials of a cluster: made once, renewed in time, nobody's overwritten; and `fluyt kubeconfig`."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from control.apiserver import process
from control.apiserver.agents import Agents
from control.apiserver.settings import Settings
from control.cli.kubeconfig import kubeconfig
from control.pki import files
from control.pki.cluster import Server, ensure_cluster, ensure_node
from control.pki.renewal import hosts_of
from control.pki.token_keys import read_signing_key, read_verifying_keys
from kvstore.cli.exits import CommandError
from kvstore.pki.certificates import make_self_signed

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SERVER = Server("https://127.0.0.1:6443", ("master-1", "10.0.0.1"))


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def login_of(path: Path) -> x509.Certificate:
    user = yaml.safe_load(path.read_text())["users"][0]["user"]
    return x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))


def test_one_call_makes_all_and_a_second_nothing(tmp_path: Path) -> None:
    assert ensure_cluster(tmp_path, SERVER, NOW)
    made = contents(tmp_path)
    names = ("ca", "front-proxy-ca", "apiserver", "apiserver-kubelet-client")
    pki = {f"pki/{name}{end}" for name in names for end in (".crt", ".key")} | {"pki/sa.key", "pki/sa.pub"}
    assert set(made) == pki | {"admin.conf", "controllers.conf", "scheduler.conf"}
    for name in made:
        mode = (tmp_path / name).stat().st_mode & 0o777
        assert mode == (0o600 if name.endswith((".key", ".conf")) else 0o644), name
    assert ensure_cluster(tmp_path, SERVER, NOW) == []
    assert contents(tmp_path) == made


def test_who_the_certificates_name(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, SERVER, NOW)
    ensure_node(tmp_path, "n1", SERVER.url, ["10.0.0.7"], NOW)
    assert hosts_of(certificate(tmp_path / "pki" / "apiserver.crt")) == {
        *("localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"),
        *("kubernetes.default.svc.cluster.local", "10.96.0.1", "master-1", "10.0.0.1"),
    }
    subjects = {
        name: (
            [a.value for a in login_of(tmp_path / name).subject.get_attributes_for_oid(NameOID.COMMON_NAME)],
            [a.value for a in login_of(tmp_path / name).subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)],
        )
        for name in ("admin.conf", "controllers.conf", "scheduler.conf", "node-n1.conf")
    }
    assert subjects == {
        "admin.conf": (["kubernetes-admin"], ["system:masters"]),
        "controllers.conf": (["system:kube-controller-manager"], []),
        "scheduler.conf": (["system:kube-scheduler"], []),
        "node-n1.conf": (["system:node:n1"], ["system:nodes"]),
    }
    assert "10.0.0.7" in hosts_of(certificate(tmp_path / "pki" / "node-n1.crt"))


def test_the_chain_holds_in_openssl(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, SERVER, datetime.now(UTC))
    context = ssl.create_default_context(cafile=tmp_path / "pki" / "ca.crt")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(tmp_path / "pki" / "apiserver.crt", tmp_path / "pki" / "apiserver.key")
    authority = certificate(tmp_path / "pki" / "ca.crt")
    certificate(tmp_path / "pki" / "apiserver.crt").verify_directly_issued_by(authority)
    login_of(tmp_path / "admin.conf").verify_directly_issued_by(authority)


def test_what_is_old_is_renewed_and_authorities_are_not(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, SERVER, NOW)
    before = contents(tmp_path)
    later = NOW + timedelta(days=310)
    assert len(ensure_cluster(tmp_path, SERVER, later)) == 5
    after = contents(tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    leaves = {"pki/apiserver.crt", "pki/apiserver.key"}
    leaves |= {"pki/apiserver-kubelet-client.crt", "pki/apiserver-kubelet-client.key"}
    assert changed == leaves | {"admin.conf", "controllers.conf", "scheduler.conf"}
    assert certificate(tmp_path / "pki" / "apiserver.crt").not_valid_after_utc > later + timedelta(days=300)


def test_a_new_address_is_vouched_for(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, SERVER, NOW)
    done = ensure_cluster(tmp_path, Server(SERVER.url, ("10.9.9.9", "::1")), NOW)
    assert done == [f"made {tmp_path / 'pki' / 'apiserver.crt'}: it lacks 10.9.9.9"]


def test_a_certificate_that_somebody_brought_is_theirs(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, SERVER, NOW)
    brought = make_self_signed("mine", ["localhost"], NOW, timedelta(days=1))
    files.replace_pair(tmp_path / "pki", "apiserver", brought)
    assert ensure_cluster(tmp_path, SERVER, NOW) == []
    assert files.load_pair(tmp_path / "pki", "apiserver").certificate == brought.certificate


def test_another_master_needs_no_authoritys_key_while_nothing_is_old(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, SERVER, NOW)
    (tmp_path / "pki" / "ca.key").unlink()
    assert ensure_cluster(tmp_path, SERVER, NOW) == []
    with pytest.raises(ValueError, match=r"ca\.key is not there.*copy it from the first master"):
        ensure_cluster(tmp_path, SERVER, NOW + timedelta(days=330))


@pytest.mark.parametrize(("gone", "says"), [("ca.crt", "bring that back"), ("sa.key", "copy the key")])
def test_half_of_an_authority_is_not_replaced(tmp_path: Path, gone: str, says: str) -> None:
    ensure_cluster(tmp_path, SERVER, NOW)
    (tmp_path / "pki" / gone).unlink()
    with pytest.raises(ValueError, match=says):
        ensure_cluster(tmp_path, SERVER, NOW)


def test_a_pair_torn_by_a_crash_is_made_again(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, SERVER, NOW)
    other = make_self_signed("x", ["localhost"], NOW, timedelta(days=1))
    (tmp_path / "pki" / "apiserver.key").write_bytes(other.key_pem)
    assert ensure_cluster(tmp_path, SERVER, NOW)
    files.load_pair(tmp_path / "pki", "apiserver")


def test_token_keys_of_both_kinds(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, SERVER, NOW)
    made = read_signing_key(tmp_path / "pki" / "sa.key")
    [public] = read_verifying_keys(tmp_path / "pki" / "sa.pub")
    assert (public.id, public.algorithm) == (made.verifying.id, "ES256")
    old = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "pki" / "sa.pub").read_bytes() + b"\n" + old)
    assert [key.algorithm for key in read_verifying_keys(both)] == ["ES256", "RS256"]


@pytest.mark.parametrize("text", [b"", b"hello", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_without_keys_is_refused_by_name(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "keys.pem"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"keys\.pem.*give RSA or EC"):
        read_verifying_keys(path)


def test_kubeconfig_for_a_user(tmp_path: Path) -> None:
    ensure_cluster(tmp_path, Server("https://10.0.0.1:7443"), NOW)
    out = tmp_path / "alice.conf"
    words = [
        "--pki-dir",
        str(tmp_path / "pki"),
        "--user",
        "alice",
        "--group",
        "dev",
        "--group",
        "ops",
        "--out",
        str(out),
    ]
    assert CliRunner().invoke(kubeconfig, words, catch_exceptions=False).exit_code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert login_of(out).subject.rfc4514_string() == "CN=alice,O=ops,O=dev"
    assert yaml.safe_load(out.read_text())["clusters"][0]["cluster"]["server"] == "https://10.0.0.1:7443"


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--server", "http://x"], "https:// URL"), (["--user", "u" * 65], "64"), (["--user", ""], "must not be empty")],
)
def test_kubeconfig_refuses_what_cannot_work(tmp_path: Path, words: list[str], says: str) -> None:
    ensure_cluster(tmp_path, SERVER, NOW)
    with pytest.raises(CommandError, match=says):
        kubeconfig.main(["--pki-dir", str(tmp_path / "pki"), *words], standalone_mode=False)


def test_a_server_takes_up_files_that_are_renewed_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "CERTIFICATE_SECONDS", 0.001)
    caplog.set_level(logging.INFO)
    ensure_cluster(tmp_path, SERVER, NOW)
    pki = tmp_path / "pki"
    name = "apiserver-kubelet-client"
    found = Settings(
        etcd_servers=["http://127.0.0.1:1"],
        kubelet_cert=str(pki / f"{name}.crt"),
        kubelet_key=str(pki / f"{name}.key"),
        kubelet_ca=str(pki / "ca.crt"),
    )
    agents = Agents(found)
    assert agents.context
    loaded: list[bytes] = []

    def load() -> None:
        agents.renew()
        loaded.append((pki / f"{name}.crt").read_bytes())

    async def work() -> None:
        assert agents.files is not None
        following = asyncio.create_task(process._renew(agents.files, load))
        await asyncio.sleep(0)
        files.replace(pki / f"{name}.key", b"half of a pair", files.PRIVATE)
        async with asyncio.timeout(5):
            while "cannot be loaded" not in caplog.text:
                await asyncio.sleep(0.001)
        ensure_cluster(tmp_path, SERVER, NOW + timedelta(days=320))
        async with asyncio.timeout(5):
            while not loaded:
                await asyncio.sleep(0.001)
        following.cancel()

    asyncio.run(work())
    assert certificate(pki / f"{name}.crt").not_valid_after_utc > NOW + timedelta(days=600)
