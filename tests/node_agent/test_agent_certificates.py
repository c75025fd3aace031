"""A node's certificates near their end: who asks for new ones, when, and what is shown afterwards."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from control.client.config import Config
from control.pki.requests import NODE_SERVER, Signer
from kvstore.pki.certificates import Pair, issue, make_authority, make_self_signed
from node_agent import certificates
from node_agent.certificates import CLIENT, SERVER, Rotation
from node_agent.server import serving
from node_agent.server.serving import Serving

Object = dict[str, Any]
NOW = datetime.now(UTC)
CA = make_authority("fluyt", NOW, timedelta(days=10))
HOSTS = ["n1", "127.0.0.1"]


def pair(lifetime: timedelta, *, server: bool = False, user: str = "system:node:n1", begins: datetime = NOW) -> Pair:
    hosts = HOSTS if server else []
    return issue(CA, user, hosts, begins, lifetime, server=server, client=not server, organizations=["system:nodes"])


SHORT, LONG = pair(timedelta(seconds=30)), pair(timedelta(days=3))


class Api:
    """Answers requests with what `decide` makes of them: a status, after the first look."""

    def __init__(self, decide: Callable[[Object], Object]) -> None:
        self.decide = decide
        self.asked: list[Object] = []
        self.looks = 0

    async def create(self, resource: str, obj: Object) -> Object:
        self.asked.append(obj)
        return {**obj, "metadata": {**obj["metadata"], "name": f"csr-{len(self.asked)}"}}

    async def get(self, resource: str, name: str) -> Object:
        self.looks += 1
        return {"status": self.decide(self.asked[-1])} if self.looks % 2 == 0 else {}


def sign(request: Object) -> Object:
    spec = request["spec"]
    pem = base64.b64decode(spec["request"])
    signer = Signer(CA, timedelta(days=2))
    assert signer.objection(pem, spec["signerName"], spec["usages"]) == ""
    made = signer.certificate(pem, spec["usages"], None, NOW)
    return {"certificate": base64.b64encode(made).decode()}


def rotated(api: Api, file: Path, present: Pair, wish: certificates.Wish = CLIENT, times: int = 1) -> list[Pair]:
    """What a rotation takes up until it has done so that often, or was refused that often."""
    taken: list[Pair] = []

    async def work() -> None:
        rotation = Rotation(api, wish, file, present, taken.append, look_every=0.001, pauses=(0.001, 0.001))
        running = asyncio.create_task(rotation.run())
        async with asyncio.timeout(5):
            while len(taken) < times and len(api.asked) <= times:
                await asyncio.sleep(0.001)
        running.cancel()

    asyncio.run(work())
    return taken


def test_a_login_is_renewed_before_it_ends(tmp_path: Path) -> None:
    api = Api(sign)
    (new,) = rotated(api, tmp_path / "pki" / "client.pem", SHORT)
    assert new.certificate.subject == SHORT.certificate.subject
    assert new.certificate.public_key() != SHORT.certificate.public_key()
    stored = certificates.read(tmp_path / "pki" / "client.pem")
    assert stored is not None
    assert stored.certificate == new.certificate
    assert (tmp_path / "pki" / "client.pem").stat().st_mode & 0o777 == 0o600
    config = Config(servers=["https://x"], ca=CA.certificate_pem, cert=SHORT.certificate_pem, key=SHORT.key_pem)
    again, login = certificates.login(config, tmp_path / "pki" / "client.pem")
    assert login is not None
    assert (again.cert, again.key) == (new.certificate_pem, new.key_pem)


def test_a_server_is_renewed_with_its_names_and_shows_what_it_has(tmp_path: Path) -> None:
    api, present = Api(sign), pair(timedelta(seconds=30), server=True)
    (new,) = rotated(api, tmp_path / "server.pem", present, SERVER)
    (request,) = api.asked
    assert request["spec"]["signerName"] == NODE_SERVER
    shown = request["metadata"]["annotations"][certificates.PRESENT].encode()
    assert x509.load_pem_x509_certificate(shown) == present.certificate
    assert Signer(CA, timedelta(1)).renews(base64.b64decode(request["spec"]["request"]), shown)
    kind = x509.SubjectAlternativeName
    old_names = present.certificate.extensions.get_extension_for_class(kind)
    assert new.certificate.extensions.get_extension_for_class(kind).value == old_names.value


@pytest.mark.parametrize("kind", ["Denied", "Failed"])
def test_a_refusal_is_said_and_asked_again(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    api = Api(lambda _: {"conditions": [{"type": kind, "message": "not you"}]})
    assert rotated(api, tmp_path / "client.pem", SHORT) == []
    assert f"{kind}: not you" in caplog.text
    assert not (tmp_path / "client.pem").exists()


def test_a_certificate_of_long_life_is_left_alone(tmp_path: Path) -> None:
    api = Api(sign)

    async def work() -> None:
        running = asyncio.create_task(Rotation(api, CLIENT, tmp_path / "c", LONG, lambda _: None).run())
        await asyncio.sleep(0)
        running.cancel()

    asyncio.run(work())
    assert api.asked == []
    life = LONG.certificate.not_valid_after_utc - LONG.certificate.not_valid_before_utc
    for chance, part in ((0.0, 0.7), (1.0, 0.9)):
        assert certificates.due(LONG.certificate, chance) == LONG.certificate.not_valid_before_utc + life * part


def test_whoever_renewed_last_wins() -> None:
    assert certificates.later(SHORT, LONG) is LONG
    assert certificates.later(LONG, SHORT) is LONG
    assert certificates.later(SHORT, None) is SHORT
    assert certificates.later(SHORT, pair(timedelta(days=9), user="system:node:n2")) is SHORT


def test_only_a_node_s_login_is_renewed(tmp_path: Path) -> None:
    admin = issue(CA, "admin", [], NOW, timedelta(days=1), client=True, organizations=["system:masters"])
    config = Config(servers=["https://x"], cert=admin.certificate_pem, key=admin.key_pem)
    assert certificates.login(config, tmp_path / "client.pem") == (config, None)
    assert certificates.login(Config(servers=["https://x"], token="t"), tmp_path / "client.pem")[1] is None


# ---- what the server shows ----


def shown(tls: ssl.SSLContext) -> x509.Certificate:
    """The certificate that a new connection sees."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one, two = client.wrap_bio(back, there), tls.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (one, two):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    der = one.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der)


def given(folder: Path, of: Pair) -> tuple[str, str]:
    (folder / "s.crt").write_bytes(of.certificate_pem)
    (folder / "s.key").write_bytes(of.key_pem)
    return str(folder / "s.crt"), str(folder / "s.key")


def test_new_connections_see_the_renewed_certificate(tmp_path: Path) -> None:
    old, new = pair(timedelta(seconds=30), server=True), pair(timedelta(days=1), server=True)
    files = given(tmp_path, old)
    server = Serving(tmp_path / "pki", files, HOSTS, "")
    assert shown(server.tls) == old.certificate
    assert server.pair() is not None
    (tmp_path / "pki").mkdir()
    server.renewed.write_bytes(new.certificate_pem + new.key_pem)
    server.use(new)
    assert shown(server.tls) == new.certificate
    assert shown(Serving(tmp_path / "pki", files, HOSTS, "").tls) == new.certificate
    newest = pair(timedelta(days=2), server=True)
    given(tmp_path, newest)
    server.look()
    assert shown(server.tls) == newest.certificate


def test_half_a_pair_is_not_shown(tmp_path: Path) -> None:
    old = pair(timedelta(days=1), server=True)
    server = Serving(tmp_path / "pki", given(tmp_path, old), HOSTS, "")
    new = pair(timedelta(days=2), server=True)
    (tmp_path / "s.key").write_bytes(new.key_pem)
    with pytest.raises(ValueError):
        server.look()
    assert shown(server.tls) == old.certificate
    (tmp_path / "s.crt").write_bytes(new.certificate_pem)
    server.look()
    assert shown(server.tls) == new.certificate


def test_its_own_certificate_is_made_anew_while_it_runs(tmp_path: Path) -> None:
    server = Serving(tmp_path, ("", ""), HOSTS, "")
    assert server.pair() is None
    ending = make_self_signed("n1", HOSTS, NOW, timedelta(days=1))
    (tmp_path / "agent.key").write_bytes(ending.key_pem)
    (tmp_path / "agent.crt").write_bytes(ending.certificate_pem)
    server.look()
    assert shown(server.tls).not_valid_after_utc > NOW + timedelta(days=300)


def test_a_broken_file_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "client.pem").write_text("nonsense")
    assert certificates.read(tmp_path / "client.pem") is None
    assert "cannot be used" in caplog.text
    assert serving._EVERY <= 60
