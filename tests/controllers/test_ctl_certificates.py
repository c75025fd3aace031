"""Certificate signing requests by value, with a real authority: what is approved by itself, what is signed."""

from __future__ import annotations

import base64
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from ctl_memory_api import START, MemoryApi

from control.cli.signing import SignerOnDemand
from control.controllers.reconcilers import certificates
from control.controllers.values.actions import Key, Update
from control.pki.renewal import hosts_of, signed_by
from control.pki.requests import CLIENT, NODE_CLIENT, NODE_SERVER, Signer, make_request
from kvstore.pki.certificates import Pair, issue, make_authority

Object = dict[str, Any]
CA, OTHER = (make_authority("fluyt", START, timedelta(days=10)) for _ in range(2))
SIGNER = Signer(CA, timedelta(days=5))
LOGIN, SERVING = ["digital signature", "client auth"], ["digital signature", "server auth"]
HOSTS = ["n1", "10.0.0.1"]


def serving(authority: Pair = CA, node: str = "n1", hosts: list[str] = HOSTS) -> Pair:
    subject = f"system:node:{node}"
    lifetime = timedelta(hours=1)
    return issue(authority, subject, hosts, START, lifetime, server=True, organizations=["system:nodes"])


def names(*hosts: str) -> x509.SubjectAlternativeName:
    return serving(hosts=list(hosts)).certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def asked(
    signer: str,
    usages: list[str],
    *,
    user: str = "system:node:n1",
    groups: tuple[str, ...] = ("system:nodes",),
    hosts: x509.SubjectAlternativeName | None = None,
    by: str = "",
    present: bytes = b"",
    **spec: Any,
) -> Object:
    pem = make_request(user, groups, hosts).pem
    who = {"username": by or user, "groups": [*groups, "system:authenticated"]}
    made: Object = {"name": "csr-1", "annotations": {certificates.PRESENT: present.decode()}}
    request = {"request": base64.b64encode(pem).decode(), "signerName": signer, "usages": usages}
    return {"metadata": made, "spec": {**request, **who, **spec}}


def settled(request: Object, *, approve: bool = False) -> Object:
    """What becomes of a request."""
    api = MemoryApi(certificates.RESOURCE)
    if approve:
        request["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
    api.put(certificates.RESOURCE, request)
    key = Key("", "csr-1")
    for action in certificates.approving(SIGNER)(key, api.observed(), api.now).actions:
        assert isinstance(action, Update)
        assert action.subresource == "approval"
        api.change(certificates.RESOURCE, "", "csr-1", {"status": action.object["status"]})
    api.settle(certificates.signing(SIGNER), "csr-1", "")
    return api.get(certificates.RESOURCE, "", "csr-1").get("status") or {}


def certificate(status: Object) -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))


def types(status: Object) -> list[str]:
    return [condition["type"] for condition in status.get("conditions") or ()]


def test_a_node_renews_its_login() -> None:
    status = settled(asked(NODE_CLIENT, LOGIN, expirationSeconds=3600))
    assert types(status) == ["Approved"]
    made = certificate(status)
    assert signed_by(made, CA.certificate)
    assert made.not_valid_after_utc == START + timedelta(hours=1)
    assert [str(part.value) for part in made.subject] == ["system:nodes", "system:node:n1"]
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_node_renews_its_server_with_the_names_it_has() -> None:
    status = settled(asked(NODE_SERVER, SERVING, hosts=names(*HOSTS), present=serving().certificate_pem))
    assert types(status) == ["Approved"]
    assert hosts_of(certificate(status)) == set(HOSTS)
    assert certificate(status).not_valid_after_utc == START + timedelta(days=5)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(asked(NODE_CLIENT, LOGIN, by="system:node:n2"), id="another node's"),
        pytest.param(asked(NODE_CLIENT, LOGIN, by="alice", groups=("system:nodes",)), id="no node"),
        pytest.param(asked(CLIENT, LOGIN), id="another signer"),
        pytest.param(asked(NODE_CLIENT, [*LOGIN, "server auth"]), id="other usages"),
        pytest.param(asked(NODE_CLIENT, LOGIN, groups=("system:nodes", "system:masters")), id="more groups"),
        pytest.param(asked(NODE_CLIENT, LOGIN, hosts=names("n1")), id="a login with names"),
        pytest.param(asked(NODE_SERVER, SERVING, hosts=names("n1")), id="no present certificate"),
        pytest.param(
            asked(NODE_SERVER, SERVING, hosts=names("n1", "kubernetes"), present=serving().certificate_pem),
            id="a name more",
        ),
        pytest.param(
            asked(NODE_SERVER, SERVING, hosts=names("n1"), present=serving(OTHER).certificate_pem), id="another's word"
        ),
        pytest.param(
            asked(NODE_SERVER, SERVING, hosts=names("n1"), present=serving(node="n2").certificate_pem),
            id="another node's server",
        ),
        pytest.param(asked(NODE_SERVER, SERVING, hosts=names("n1"), present=b"nonsense"), id="nonsense"),
    ],
)
def test_what_grants_something_new_waits_for_a_person(request_: Object) -> None:
    assert settled(request_) == {}


def test_a_person_may_approve_what_the_signer_signs() -> None:
    made = certificate(settled(asked(CLIENT, LOGIN, user="jane", groups=("dev",)), approve=True))
    assert [str(part.value) for part in made.subject] == ["dev", "jane"]


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (asked(CLIENT, SERVING, user="jane", groups=()), "usages must be digital signature, client auth"),
        (asked(NODE_CLIENT, LOGIN, user="jane"), "subject must be system:node:NAME"),
        (asked(NODE_SERVER, SERVING), "names DNS names and IP addresses"),
        ({**asked(CLIENT, LOGIN), "spec": {**asked(CLIENT, LOGIN)["spec"], "request": "AAAA"}}, "cannot be read"),
    ],
)
def test_what_is_none_of_the_signers_fails_though_approved(request_: Object, why: str) -> None:
    status = settled(request_, approve=True)
    assert types(status) == ["Approved", "Failed"]
    assert why in status["conditions"][1]["message"]
    assert "certificate" not in status


def test_others_signers_requests_are_left_alone() -> None:
    assert "certificate" not in settled(asked("example.com/x", LOGIN), approve=True)


@pytest.mark.parametrize(("conditions", "hours"), [([], 24), ([{"type": "Denied"}], 1)])
def test_old_requests_go(conditions: list[Object], hours: int) -> None:
    api = MemoryApi(certificates.RESOURCE)
    api.put(certificates.RESOURCE, {**asked(CLIENT, LOGIN), "status": {"conditions": conditions}})
    assert api.reconcile(certificates.clean, "csr-1", "").requeue_after == hours * 3600
    api.pass_time(hours * 3600)
    api.reconcile(certificates.clean, "csr-1", "")
    assert api.list(certificates.RESOURCE) == []


def written(folder: Path, pair: Pair, key: Pair | None = None) -> tuple[Path, Path]:
    certificate, key_file = folder / "ca.crt", folder / "ca.key"
    certificate.write_bytes(pair.certificate_pem)
    key_file.write_bytes((key or pair).key_pem)
    return certificate, key_file


def test_an_authority_is_loaded_when_there_is_something_to_sign(tmp_path: Path) -> None:
    """Its library takes 11 MB, which masters that sign nothing should not pay for."""
    written(tmp_path, CA)
    program = """
import sys
from datetime import timedelta
from pathlib import Path
from control.cli import controllers_settings
from control.cli.signing import SignerOnDemand
signer = SignerOnDemand(Path("ca.crt"), Path("ca.key"), timedelta(days=1))
assert "cryptography" not in sys.modules
print(signer.objection(b"no request", "example.org/x", []))
assert "cryptography" in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_what_is_wrong_with_an_authority_is_said_at_the_start(tmp_path: Path) -> None:
    longest = timedelta(days=1)
    with pytest.raises(ValueError, match="are not a certificate and its key"):
        SignerOnDemand(*written(tmp_path, CA, OTHER), longest)
    with pytest.raises(OSError, match="No such file"):
        SignerOnDemand(tmp_path / "ca.crt", tmp_path / "none", longest)
    certificate, key = written(tmp_path, CA)
    key.write_text("nothing")
    with pytest.raises(ValueError, match="are not a certificate and its key"):
        SignerOnDemand(certificate, key, longest)
