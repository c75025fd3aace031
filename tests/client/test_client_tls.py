"""TLS against a real etcd: whom the client trusts, who it says it is, and what a user is told when that fails."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.ports import free_port
from harness.process import Process
from harness.require import missing, require
from harness.wait import wait_until

from kvstore.client import BadCertificates, Client, ClientError, Tls, Unreachable

pytestmark = pytest.mark.usefixtures("library")

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@dataclass(frozen=True)
class Secured:
    """An etcd that speaks TLS only and wants certificates, and the folder with all of them."""

    endpoint: str
    folder: Path

    def tls(self, who: str | None = "client") -> Tls:
        """The certificate authority, and a client's certificate."""
        path = self.folder / f"{who}"
        ca = str(self.folder / "ca.pem")
        return Tls(ca=ca, cert=f"{path}.pem", key=f"{path}.key") if who else Tls(ca=ca)


def openssl(folder: Path, *words: str) -> None:
    """Run openssl in the folder."""
    program = shutil.which("openssl") or missing("openssl is not on this machine; cure: apt-get install openssl")
    subprocess.run([program, *words], cwd=folder, check=True, capture_output=True, timeout=30)


def certificates(folder: Path) -> None:
    """A certificate authority, and a server and a client certified by it."""
    openssl(folder, "req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    for who in ("server", "client"):
        openssl(folder, "req", *_KEY, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
        openssl(folder, "x509", "-req", "-in", f"{who}.csr", "-out", f"{who}.pem", *signed)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One etcd with --client-cert-auth."""
    folder = tmp_path_factory.mktemp("tls")
    certificates(folder)
    client, peer = (f"127.0.0.1:{free_port()}" for _ in range(2))
    flags = {
        "--name": "m1",
        "--data-dir": "data",
        "--listen-client-urls": f"https://{client}",
        "--advertise-client-urls": f"https://{client}",
        "--listen-peer-urls": f"http://{peer}",
        "--initial-advertise-peer-urls": f"http://{peer}",
        "--initial-cluster": f"m1=http://{peer}",
        "--cert-file": "server.pem",
        "--key-file": "server.key",
        "--trusted-ca-file": "ca.pem",
    }
    paths = {k: str(folder / v) if k.endswith(("-dir", "-file")) else v for k, v in flags.items()}
    words = [word for pair in paths.items() for word in pair]
    process = Process([require("etcd-3.5"), *words, "--client-cert-auth"], folder / "log")
    made = Secured(f"https://{client}", folder)
    try:
        wait_until(lambda: _answers(made), "etcd to answer over TLS")
        yield made
    finally:
        process.kill()


def _answers(secured: Secured) -> bool:
    with Client(secured.endpoint, tls=secured.tls(), timeout=1) as client:
        try:
            client.get("health")
        except ClientError:
            return False
    return True


def test_both_sides_show_their_certificates(secured: Secured) -> None:
    with Client(secured.endpoint, tls=secured.tls()) as client, client.watch("k") as events:
        client.put("k", "v")
        assert events.next(5).kv.value == b"v"
    # TLS options mean TLS, whatever the endpoint says.
    with Client(secured.endpoint.removeprefix("https://"), tls=secured.tls()) as client:
        assert client.get("k") is not None


def test_verification_can_be_left_out(secured: Secured) -> None:
    files = secured.tls()
    with Client(secured.endpoint, tls=Tls(cert=files.cert, key=files.key, skip_verify=True)) as client:
        client.put("k", "v")


def test_a_name_can_be_demanded(secured: Secured) -> None:
    files = secured.tls()
    for name, good in (("localhost", True), ("elsewhere", False)):
        tls = Tls(ca=files.ca, cert=files.cert, key=files.key, server_name=name)
        with Client(secured.endpoint, tls=tls, timeout=20 if good else 1) as client:
            if good:
                client.get("k")
                continue
            with pytest.raises(Unreachable):
                client.get("k")


@pytest.mark.parametrize(
    ("who", "scheme", "reason"),
    [
        ("nobody", "https://", "not one that we trust"),
        (None, "https://", "wants a certificate"),
        ("plain", "", "TLS"),
    ],
)
def test_why_it_failed_is_told(secured: Secured, who: str | None, scheme: str, reason: str) -> None:
    strangers = {"nobody": Tls(), "plain": None, None: secured.tls(None)}
    endpoint = scheme + secured.endpoint.removeprefix("https://")
    with Client(endpoint, tls=strangers[who], timeout=2) as client, pytest.raises(ClientError, match=reason):
        client.put("k", "v")


def test_unreadable_files_are_named(secured: Secured) -> None:
    with pytest.raises(BadCertificates, match="cannot read /none"):
        Client(secured.endpoint, tls=Tls(ca="/none"))


def test_files_that_hold_something_else_are_named(secured: Secured) -> None:
    files = secured.tls()
    with pytest.raises(BadCertificates, match=f"{__file__} holds no PEM certificate"):
        Client(secured.endpoint, tls=Tls(ca=__file__))
    with pytest.raises(BadCertificates, match="not PEM"):
        Client(secured.endpoint, tls=Tls(ca=files.ca, cert=files.cert, key=__file__))


@pytest.mark.parametrize("given", ["cert", "key"])
def test_half_a_pair_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=f"{given} is given without"):
        Tls(**{given: "x"})  # type: ignore[arg-type]
