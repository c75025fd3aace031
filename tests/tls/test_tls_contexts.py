"""TLS contexts from files, over a real handshake in memory."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from harness.tls import Certificates

from kvstore.wire.tls import CIPHER_SUITES, ClientTls, ServerTls, TlsError, TlsFiles, common_name


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    made = Certificates(tmp_path)
    made.make("server")
    made.make("client", common_name="alice")
    return made


def server(certificates: Certificates, **options: object) -> ServerTls:
    files = TlsFiles(
        cert=certificates.cert("server"),
        key=certificates.key("server"),
        ca=certificates.ca,
        **options,  # type: ignore[arg-type]
    )
    return ServerTls(files)


def client(certificates: Certificates, name: str = "client") -> ClientTls:
    return ClientTls(TlsFiles(cert=certificates.cert(name), key=certificates.key(name), ca=certificates.ca))


def shake(server: ServerTls, context: ssl.SSLContext, host: str = "127.0.0.1") -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake. Raises what either end raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = context.wrap_bio(to_client, to_server, server_hostname=host)
    there = server.context.wrap_bio(to_server, to_client, server_side=True)
    pending = [here, there]
    for _ in range(10):
        for end in list(pending):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(end)
        if not pending:
            # TLS 1.3: the client learns of a refusal only when it reads.
            return here, there
    raise AssertionError("the handshake does not end")


def test_both_ends_know_each_other(certificates: Certificates) -> None:
    here, there = shake(server(certificates, verify_clients=True), client(certificates).context())
    assert common_name(there.getpeercert()) == "alice"
    assert common_name(here.getpeercert()) == "server"
    assert here.version() in ("TLSv1.2", "TLSv1.3")


def test_a_client_without_a_certificate_is_refused(certificates: Certificates) -> None:
    bare = ClientTls(TlsFiles(ca=certificates.ca)).context()
    with pytest.raises(ssl.SSLError):
        shake(server(certificates, verify_clients=True), bare)
    shake(server(certificates), bare)


def test_a_client_checks_the_host(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server(certificates), client(certificates).context(), "other.example")


def test_a_trusting_client_takes_anyone(certificates: Certificates, tmp_path: Path) -> None:
    trusting = ClientTls(TlsFiles(trust_anyone=True)).context()
    shake(server(certificates), trusting, "other.example")


def test_new_files_are_shown_to_the_next_connection(certificates: Certificates) -> None:
    standing, context = server(certificates), client(certificates).context()
    before, _ = shake(standing, context)
    made = certificates.renew("server")
    after, _ = shake(standing, context)
    assert after.getpeercert(True) == made.certificate.public_bytes(serialization.Encoding.DER)
    assert before.getpeercert(True) != after.getpeercert(True)


def test_alpn_and_client_checks_hold_after_a_renewal(certificates: Certificates) -> None:
    standing, context = server(certificates, verify_clients=True), client(certificates).context()
    context.set_alpn_protocols(["h2"])
    certificates.renew("server")
    here, _ = shake(standing, context)
    assert here.selected_alpn_protocol() == "h2"
    with pytest.raises(ssl.SSLError):
        shake(standing, ClientTls(TlsFiles(ca=certificates.ca)).context())


def test_broken_files_leave_the_old_ones_in_use_and_are_reported_once(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    standing, context = server(certificates), client(certificates).context()
    first, _ = shake(standing, context)
    Path(certificates.key("server")).write_text("half a key")
    for _ in range(3):
        again, _ = shake(standing, context)
        assert again.getpeercert(True) == first.getpeercert(True)
    assert sum("stay in use" in message for message in caplog.messages) == 1
    os.unlink(certificates.cert("server"))
    again, _ = shake(standing, context)
    assert again.getpeercert(True) == first.getpeercert(True)


def test_a_clients_own_certificate_is_renewed_too(certificates: Certificates) -> None:
    mine = client(certificates)
    assert mine.context() is mine.context()
    certificates.renew("client", common_name="bob")
    _, there = shake(server(certificates, verify_clients=True), mine.context())
    assert common_name(there.getpeercert()) == "bob"


@pytest.mark.parametrize(
    ("files", "certificate", "welcome"),
    [
        (TlsFiles(), None, True),
        (TlsFiles(allowed_cn="a"), None, False),
        (TlsFiles(allowed_cn="a"), {"subject": ((("commonName", "a"),),)}, True),
        (TlsFiles(allowed_cn="a"), {"subject": ((("commonName", "b"),),)}, False),
        (TlsFiles(allowed_hostname="h.x"), {"subjectAltName": (("DNS", "H.x"),)}, True),
        (TlsFiles(allowed_hostname="h.x"), {"subjectAltName": (("DNS", "*.x"),)}, True),
        (TlsFiles(allowed_hostname="h.x"), {"subjectAltName": (("DNS", "*.h.x"),)}, False),
        (TlsFiles(allowed_hostname="h.x"), {"subjectAltName": (("email", "h.x"),)}, False),
        (TlsFiles(allowed_hostname="1.2.3.4"), {"subjectAltName": (("IP Address", "1.2.3.4"),)}, True),
    ],
)
def test_who_is_admitted(files: TlsFiles, certificate: dict[str, object] | None, welcome: bool) -> None:
    assert files.admits(certificate) is welcome


def test_an_encrypted_key_is_refused_without_asking_for_its_passphrase(certificates: Certificates) -> None:
    pair = certificates.make("locked")
    encryption = serialization.BestAvailableEncryption(b"secret")
    locked = pair.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    Path(certificates.key("locked")).write_bytes(locked)
    with pytest.raises(TlsError, match="is encrypted"):
        ServerTls(TlsFiles(cert=certificates.cert("locked"), key=certificates.key("locked")))


@pytest.mark.parametrize("name", sorted(CIPHER_SUITES))
def test_every_cipher_suite_of_the_table_is_openssls(certificates: Certificates, name: str) -> None:
    context = server(certificates, ciphers=(name,)).context
    chosen = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert chosen == [CIPHER_SUITES[name]]


def test_the_machines_authorities_are_not_read_before_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every member makes contexts for its peers when it starts, and most peers are reached without TLS."""
    read: list[ssl.SSLContext] = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda context, purpose: read.append(context))
    dialer = ClientTls(TlsFiles())
    assert not read
    assert [dialer.context(), dialer.context()] == read * 2
    with pytest.raises(TlsError, match="unknown TLS cipher suite"):
        ClientTls(TlsFiles(ciphers=("TLS_NONE",)))
