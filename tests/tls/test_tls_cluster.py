"""TLS on all ports of a real cluster: who may come in, who is refused and how, and what a change of files does."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from harness.binaries import subject
from harness.etcdctl import VERSIONS, Version, etcdctl
from harness.fluyt_here import fluyt_here
from harness.process import clean_environment
from harness.require import require
from harness.tls import DAY, Certificates, TlsCluster, server_flags
from harness.wait import wait_until


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.make("server")
    for user in ("root", "alice"):
        made.make(user)
    return made


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of another authority."""
    made = Certificates(tmp_path_factory.mktemp("strangers"))
    made.make("root")
    made.make("server")
    return made


@pytest.fixture(scope="module")
def cluster(certificates: Certificates) -> Iterator[TlsCluster]:
    kind = subject()
    require(kind)
    made = TlsCluster(kind, 3, flags=server_flags(certificates))
    made.trust(certificates, "root")
    with made:
        yield made


def fluyt(cluster: TlsCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [require("fluyt"), f"--endpoints={','.join(cluster.urls)}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False)


@pytest.mark.parametrize("version", VERSIONS)
def test_etcdctl_reads_writes_and_sees_all_members(
    cluster: TlsCluster, certificates: Certificates, version: Version
) -> None:
    flags = certificates.client_flags("root")
    put = etcdctl(version, *flags, "put", f"k{version}", "v", endpoints=cluster.urls)
    assert (put.code, put.stdout) == (0, "OK\n")
    for url in cluster.urls:
        found = etcdctl(version, *flags, "get", f"k{version}", endpoints=[url])
        assert found.stdout == f"k{version}\nv\n"
    health = etcdctl(version, *flags, "endpoint", "health", "--cluster", endpoints=cluster.urls[:1])
    assert health.code == 0, health.stderr
    assert all(f"{url} is healthy" in health.stdout + health.stderr for url in cluster.urls)


def test_our_client_takes_the_same_flags(cluster: TlsCluster, certificates: Certificates) -> None:
    assert fluyt(cluster, *certificates.client_flags("alice"), "put", "ours", "1").stdout == "OK\n"
    assert fluyt(cluster, *certificates.client_flags("root"), "get", "ours").stdout == "ours\n1\n"


def test_a_client_of_another_authority_is_refused(
    cluster: TlsCluster, certificates: Certificates, strangers: Certificates
) -> None:
    """It trusts our servers, but shows a certificate that they do not trust."""
    flags = ["--cacert", certificates.ca, "--cert", strangers.cert("root"), "--key", strangers.key("root")]
    refused = etcdctl("3.5", "--command-timeout=2s", *flags, "put", "strange", "1", endpoints=cluster.urls)
    assert refused.code != 0
    assert not fluyt(cluster, *certificates.client_flags("root"), "get", "strange").stdout


def test_a_client_without_a_certificate_is_refused(cluster: TlsCluster, certificates: Certificates) -> None:
    refused = etcdctl("3.5", "--command-timeout=2s", "--cacert", certificates.ca, "get", "x", endpoints=cluster.urls)
    assert refused.code != 0


def test_a_client_refuses_a_server_of_another_authority(cluster: TlsCluster, strangers: Certificates) -> None:
    refused = fluyt(cluster, "--command-timeout=2s", *strangers.client_flags("root"), "get", "x")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_plain_http_is_served_over_tls_in_both_versions(
    cluster: TlsCluster, certificates: Certificates, version: str
) -> None:
    flags = ["--cacert", certificates.ca, "--cert", certificates.cert("root"), "--key", certificates.key("root")]

    def curl(path: str, *words: str) -> str:
        command = ["curl", "-sS", version, "--max-time", "20", *flags, cluster.urls[0] + path, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert curl("/health") == '{"health":"true","reason":""}'
    assert "etcd_server_has_leader 1" in curl("/metrics")
    curl("/v3/kv/put", "-d", '{"key":"aHR0cA==","value":"MQ=="}')
    assert '"value":"MQ=="' in curl("/v3/kv/range", "-d", '{"key":"aHR0cA=="}')
    assert '"TTL"' not in curl("/v3/lease/keepalive", "-d", '{"ID":"404"}')


@pytest.mark.parametrize(
    "said", [b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0"]
)
def test_plain_text_on_a_tls_port_is_cut_off_and_hurts_nobody(
    cluster: TlsCluster, certificates: Certificates, said: bytes
) -> None:
    for port in (cluster.members[0].client_port, cluster.members[0].peer_port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.sendall(said)
            plain.shutdown(socket.SHUT_WR)
            assert b"HTTP/1.1 200" not in plain.recv(4096)
    assert cluster.healthy(0)
    assert "Traceback" not in cluster.log_tail(0)


def test_old_tls_versions_are_refused(cluster: TlsCluster, certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.ca)
    context.load_cert_chain(certificates.cert("root"), certificates.key("root"))
    # OpenSSL 3 speaks TLS 1.1 at security level 0 only.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    address = ("127.0.0.1", cluster.members[0].client_port)
    with socket.create_connection(address, timeout=20) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain, server_hostname="localhost")


def test_peers_of_another_authority_are_refused(certificates: Certificates, strangers: Certificates) -> None:
    """A member with strange certificates cannot make a quorum with one of ours."""
    cluster = TlsCluster(subject(), 2, flags=server_flags(certificates))
    cluster.trust(certificates, "root")
    flags = {0: server_flags(certificates), 1: server_flags(strangers)}
    try:
        for index in range(2):
            cluster.flags = flags[index]
            cluster.launch(index)
        wait_until(lambda: "certificate" in cluster.log_tail(0).lower(), "a refused handshake in the log")
        assert cluster.status(0) is None or not cluster.status(0).leader  # type: ignore[union-attr]
        # With the right ones they find each other.
        cluster.flags = flags[0]
        cluster.stop(1)
        cluster.launch(1)
        cluster.wait_healthy()
    finally:
        cluster.close()


def test_renewed_certificates_are_shown_without_a_restart(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.make("root")
    before = certificates.make("server")
    cluster = TlsCluster(subject(), 1, flags=server_flags(certificates, client_auth=False))
    cluster.trust(certificates, "root")
    with cluster:
        assert _shown(cluster) == before.certificate_pem.decode()
        after = certificates.renew("server")
        assert _shown(cluster) == after.certificate_pem.decode()
        if cluster.kind == "fluyt":
            # A half-finished replacement: the last whole pair stays in use (etcd takes no connections then).
            Path(certificates.key("server")).write_text("half a key")
            assert _shown(cluster) == after.certificate_pem.decode()
        assert cluster.healthy(0), "connections that stood before go on"
        assert cluster.members[0].running


def _shown(cluster: TlsCluster) -> str:
    """The certificate that a new connection is shown."""
    return ssl.get_server_certificate(("127.0.0.1", cluster.members[0].client_port))


def test_the_common_name_is_the_user(certificates: Certificates) -> None:
    cluster = TlsCluster(subject(), 1, flags=server_flags(certificates))
    cluster.trust(certificates, "root")
    with cluster:
        root, alice = certificates.client_flags("root"), certificates.client_flags("alice")
        for words in (
            ["user", "add", "root", "--no-password"],
            ["role", "add", "root"],
            ["user", "grant-role", "root", "root"],
            ["role", "add", "reader"],
            ["role", "grant-permission", "reader", "read", "public"],
            ["user", "add", "alice", "--no-password"],
            ["user", "grant-role", "alice", "reader"],
            ["auth", "enable"],
        ):
            done = etcdctl("3.5", *root, *words, endpoints=cluster.urls)
            assert done.code == 0, (words, done.stderr)
        assert etcdctl("3.5", *root, "put", "public", "1", endpoints=cluster.urls).code == 0
        assert etcdctl("3.5", *root, "put", "secret", "1", endpoints=cluster.urls).code == 0
        assert etcdctl("3.5", *alice, "get", "public", endpoints=cluster.urls).stdout == "public\n1\n"
        denied = etcdctl("3.5", *alice, "get", "secret", endpoints=cluster.urls)
        assert denied.code != 0
        assert "permission denied" in denied.stderr
        assert etcdctl("3.5", *alice, "put", "public", "2", endpoints=cluster.urls).code != 0
        # The gateway does not pass a certificate's name on, here as in etcd (whose words are others).
        command = ["curl", "-sS", "--max-time", "20", *root, cluster.urls[0] + "/v3/kv/range", "-d", '{"key":"YQ=="}']
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        assert "kvs" not in answer
        assert ("user name is empty" in answer) == (cluster.kind == "fluyt")


@pytest.mark.parametrize(("name", "admitted"), [("server", True), ("other", False)])
def test_peers_need_the_common_name_asked_for(certificates: Certificates, name: str, admitted: bool) -> None:
    cluster = TlsCluster(subject(), 2, flags=[*server_flags(certificates), "--peer-cert-allowed-cn", name])
    cluster.trust(certificates, "root")
    try:
        for index in range(2):
            cluster.launch(index)
        if admitted:
            cluster.wait_healthy()
        else:
            wait_until(lambda: "peer" in cluster.log_tail(0), "attempts to connect")
            with pytest.raises(TimeoutError):
                cluster.wait_healthy([0], timeout=5)
    finally:
        cluster.close()


def test_auto_tls_encrypts_all_ports(tmp_path: Path) -> None:
    flags = ["--auto-tls", "--peer-auto-tls", "--self-signed-cert-validity", "2"]
    cluster = TlsCluster(subject(), 3, flags=flags)
    try:
        for index in range(3):
            cluster.launch(index)
        skip = ["--insecure-skip-tls-verify", "--insecure-transport=false", "--command-timeout=2s", "put", "a", "b"]

        def works() -> bool:
            return etcdctl("3.5", *skip, endpoints=cluster.urls).code == 0

        wait_until(works, "the cluster to take a put", timeout=40)
        plain = etcdctl("3.5", "--command-timeout=2s", "get", "a", endpoints=[f"http://{cluster.endpoints[0]}"])
        assert plain.code != 0
    finally:
        cluster.close()


def test_a_revoked_client_is_refused(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.make("server")
    certificates.make("root")
    bad = certificates.make("bad")
    now = datetime.now(UTC)
    entry = x509.RevokedCertificateBuilder().serial_number(bad.certificate.serial_number).revocation_date(now).build()
    authority = certificates.authority
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    revoked = builder.last_update(now).next_update(now + DAY).add_revoked_certificate(entry)
    crl = tmp_path / "crl.pem"
    crl.write_bytes(revoked.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    if subject() != "fluyt":
        crl.write_bytes(revoked.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    cluster = TlsCluster(subject(), 1, flags=[*server_flags(certificates), "--client-crl-file", str(crl)])
    cluster.trust(certificates, "root")
    with cluster:
        assert etcdctl("3.5", *certificates.client_flags("root"), "put", "a", "1", endpoints=cluster.urls).code == 0
        refused = etcdctl(
            "3.5", "--command-timeout=2s", *certificates.client_flags("bad"), "get", "a", endpoints=cluster.urls
        )
        assert refused.code != 0


# ---- bad files and flags: one line, exit code 1

HTTPS = ["--listen-client-urls", "https://127.0.0.1:1"]
CASES: list[tuple[str, list[str], str]] = [
    ("no certificate", HTTPS, "needs --cert-file and --key-file"),
    ("no key", [*HTTPS, "--cert-file", "{server}"], "--cert-file is given without --key-file"),
    ("missing file", [*HTTPS, "--cert-file", "{server}", "--key-file", "/nowhere.pem"], "cannot read /nowhere.pem"),
    ("mismatch", [*HTTPS, "--cert-file", "{server}", "--key-file", "{rootkey}"], "does not belong to certificate"),
    ("no PEM", [*HTTPS, "--cert-file", "{text}", "--key-file", "{text}"], "is not PEM"),
    (
        "no authority",
        [*HTTPS, "--cert-file", "{server}", "--key-file", "{serverkey}", "--trusted-ca-file", "/nowhere.pem"],
        "cannot read /nowhere.pem",
    ),
    (
        "authority is no PEM",
        [*HTTPS, "--cert-file", "{server}", "--key-file", "{serverkey}", "--trusted-ca-file", "{text}"],
        "holds no PEM certificate",
    ),
    (
        "unknown cipher suite",
        [*HTTPS, "--cert-file", "{server}", "--key-file", "{serverkey}", "--cipher-suites", "TLS_NONE"],
        "unknown TLS cipher suite 'TLS_NONE'",
    ),
    ("peer port", ["--listen-peer-urls", "https://127.0.0.1:1"], "needs --peer-cert-file and --peer-key-file"),
    ("unreadable", [*HTTPS, "--cert-file", "{server}", "--key-file", "{folder}"], "Is a directory"),
]


@pytest.mark.parametrize(("flags", "line"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_cannot_be_used_is_one_clear_line(
    certificates: Certificates, tmp_path: Path, flags: list[str], line: str
) -> None:
    text = tmp_path / "text.pem"
    text.write_text("this is no certificate\n")
    names = {
        "server": certificates.cert("server"),
        "serverkey": certificates.key("server"),
        "rootkey": certificates.key("root"),
        "text": str(text),
        "folder": str(tmp_path),
    }
    run = fluyt_here("store", "--data-dir", str(tmp_path / "d"), *(flag.format(**names) for flag in flags))
    assert run.code == 1
    assert line in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    assert not os.path.exists(tmp_path / "d"), "nothing was made"
