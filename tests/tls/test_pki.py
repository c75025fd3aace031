"""`fluyt pki init` and the certificates it makes, read by OpenSSL's own tool."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness.etcdctl import Outcome
from harness.fluyt_here import fluyt_here
from harness.require import missing

from kvstore.pki.certificates import issue, make_authority, make_self_signed, read_pair
from kvstore.pki.files import load_pair, write_pair

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def pki(folder: Path, *words: str) -> Outcome:
    return fluyt_here("pki", "init", str(folder), *words)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_one_call_makes_all_of_a_cluster(tmp_path: Path) -> None:
    made = pki(tmp_path / "c", "--member", "m1=127.0.0.1,localhost", "--member", "m2=10.0.0.2", "--user", "alice")
    assert made.code == 0, made.stderr
    names = ["ca", "m1", "m2", "user-alice"]
    assert files(tmp_path / "c") == {f"{name}{end}" for name in names for end in (".pem", "-key.pem")}
    assert "--cert-file" in made.stdout
    for name in names:
        key = tmp_path / "c" / f"{name}-key.pem"
        assert key.stat().st_mode & 0o777 == 0o600
        assert load_pair(tmp_path / "c", name)


def test_openssl_agrees(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("openssl is not on this machine; cure: apt-get install openssl")
    pki(tmp_path, "--member", "m1=127.0.0.1,db.example", "--user", "alice")

    def run(*words: str) -> str:
        return subprocess.run([openssl, *words], capture_output=True, text=True, timeout=60, check=True).stdout

    authority = str(tmp_path / "ca.pem")
    for purpose, name in (("sslserver", "m1"), ("sslclient", "m1"), ("sslclient", "user-alice")):
        found = run("verify", "-x509_strict", "-CAfile", authority, "-purpose", purpose, str(tmp_path / f"{name}.pem"))
        assert found.strip().endswith("OK")
    text = run("x509", "-noout", "-text", "-in", str(tmp_path / "m1.pem"))
    assert "DNS:db.example" in text
    assert "IP Address:127.0.0.1" in text
    assert "CN=alice" in run("x509", "-noout", "-text", "-in", str(tmp_path / "user-alice.pem")).replace(" = ", "=")


def test_a_user_is_no_server(tmp_path: Path) -> None:
    pki(tmp_path)
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("openssl is not on this machine; cure: apt-get install openssl")
    words = ["verify", "-CAfile", str(tmp_path / "ca.pem"), "-purpose", "sslserver", str(tmp_path / "user-root.pem")]
    assert subprocess.run([openssl, *words], capture_output=True, timeout=60, check=False).returncode != 0


def test_a_second_call_adds_what_is_missing_and_changes_nothing(tmp_path: Path) -> None:
    pki(tmp_path, "--member", "m1=a.example")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = pki(tmp_path, "--member", "m1=a.example", "--member", "m2=b.example")
    assert again.code == 0
    assert files(tmp_path) == {*before, "m2.pem", "m2-key.pem"}
    assert all((tmp_path / name).read_bytes() == data for name, data in before.items())
    issuer = load_pair(tmp_path, "ca").certificate
    load_pair(tmp_path, "m2").certificate.verify_directly_issued_by(issuer)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--member", "m1"], "give it as NAME=HOST,HOST"),
        (["--member", "m1="], "give it as NAME=HOST,HOST"),
        (["--member", "m1=http://x:1"], "neither a host name nor an IP address"),
        (["--member", "ca=x"], "cannot be called ca"),
        (["--member", "user-x=x"], "cannot be called ca or user-"),
        (["--member", "../m=x"], "cannot be a name here"),
        (["--user", "a/b"], "cannot be a name here"),
        (["--user", ""], "cannot be a name here"),
        (["--user", "x" * 65], "cannot be a name here"),
        (["--days", "0"], "0 is not in the range"),
    ],
)
def test_bad_words_are_one_clear_line(tmp_path: Path, words: list[str], line: str) -> None:
    refused = pki(tmp_path, *words)
    assert refused.code != 0
    assert line in refused.stderr
    assert "Traceback" not in refused.stderr


def test_damaged_and_half_missing_files_are_left_alone(tmp_path: Path) -> None:
    pki(tmp_path)
    key = tmp_path / "ca-key.pem"
    kept = key.read_bytes()
    key.unlink()
    refused = pki(tmp_path, "--user", "bob")
    assert "is there without its other half" in refused.stderr
    key.write_bytes((tmp_path / "user-root-key.pem").read_bytes())
    refused = pki(tmp_path, "--user", "bob")
    assert "the key does not belong to the certificate" in refused.stderr
    key.write_text("nonsense")
    assert pki(tmp_path, "--user", "bob").code != 0
    assert not (tmp_path / "user-bob.pem").exists()
    key.write_bytes(kept)
    assert pki(tmp_path, "--user", "bob").code == 0


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    pair = make_self_signed("x", [], NOW, DAY)
    write_pair(tmp_path, "x", pair)
    with pytest.raises(FileExistsError):
        write_pair(tmp_path, "x", pair)


def test_times_allow_for_clocks_that_differ() -> None:
    authority = make_authority("a", NOW, DAY)
    made = issue(authority, "x", ["::1", "[::2]", "h.example", "h.example"], NOW, DAY, server=True).certificate
    assert made.not_valid_before_utc < NOW - timedelta(minutes=1)
    assert made.not_valid_after_utc == NOW + DAY
    assert len({made.serial_number, authority.certificate.serial_number}) == 2


def test_pairs_that_do_not_belong_together_are_refused() -> None:
    one, other = make_self_signed("a", [], NOW, DAY), make_self_signed("b", [], NOW, DAY)
    assert read_pair(one.certificate_pem, one.key_pem)
    with pytest.raises(ValueError, match="does not belong"):
        read_pair(one.certificate_pem, other.key_pem)


def test_pythons_ssl_reads_them(tmp_path: Path) -> None:
    write_pair(tmp_path, "x", make_self_signed("x", ["localhost"], datetime.now(UTC), DAY))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "x.pem", tmp_path / "x-key.pem")
