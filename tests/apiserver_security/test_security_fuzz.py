"""Whatever a client, a webhook or a broken disk sends: a refusal, never a crash."""

from __future__ import annotations

import asyncio
import base64
import json
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from security_fakes import FakeCluster

from control.api.status import StatusError
from control.apiserver.admission.webhook_review import BadAnswer, answer
from control.apiserver.request import Attributes, Decision, User
from control.apiserver.security.authenticator import AuthenticatorChain
from control.apiserver.security.bootstrap_tokens import BootstrapTokens
from control.apiserver.security.encryption import load
from control.apiserver.security.impersonation import Impersonation
from control.apiserver.security.service_accounts.claims import read_claims
from control.apiserver.security.service_accounts.verifier import ServiceAccountTokens
from control.apiserver.security.token_file import TokenFile
from control.pki.token_keys import new_signing_key

# Making data is slow on a machine that does much else; that is no failure.
QUICK = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEY = new_signing_key()
ES256 = ECAlgorithm(ECAlgorithm.SHA256)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "kubernetes.io"]),
    JSON | st.sampled_from(["https://us", "kubernetes/serviceaccount", "system:serviceaccount:a:b"]),
)


class Nothing:
    """An authorizer."""

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        return Decision(False)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> AuthenticatorChain:
    path = tmp_path_factory.mktemp("fuzz") / "tokens.csv"
    path.write_text("token,alice,1\n")
    cluster = FakeCluster()
    tokens = ServiceAccountTokens([KEY.verifying], ["https://us"], ("https://us",), cluster, cluster.store, lambda: NOW)
    found = [tokens, BootstrapTokens(cluster, lambda: NOW), TokenFile(path)]
    return AuthenticatorChain([], found, Impersonation(Nothing()))


def authenticate(chain: AuthenticatorChain, headers: dict[str, str]) -> None:
    try:
        user = asyncio.run(chain.authenticate(headers, None))
        assert user is not None
        chain.acting(user, headers)
    except StatusError as problem:
        if problem.code not in (400, 401, 403):
            raise


NAMES = [
    "authorization",
    "sec-websocket-protocol",
    "impersonate-user",
    "impersonate-group",
    "impersonate-extra-%ff",
    "x",
]
LATIN = st.text(alphabet=st.characters(max_codepoint=255), max_size=60)
PREFIXES = st.sampled_from(["", "Bearer ", "bearer", "Basic ", "base64url.bearer.authorization.k8s.io."])


@QUICK
@given(st.dictionaries(st.sampled_from(NAMES), st.builds(str.__add__, PREFIXES, LATIN)))
def test_headers(chain: AuthenticatorChain, headers: dict[str, str]) -> None:
    authenticate(chain, headers)


@QUICK
@given(CLAIMS, st.booleans())
def test_tokens(chain: AuthenticatorChain, claims: dict[str, Any], ours: bool) -> None:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "typ": "JWT", "kid": KEY.verifying.id}).encode())
    signed = header.rstrip(b"=") + b"." + body
    key = KEY if ours else new_signing_key()
    signature = base64.urlsafe_b64encode(ES256.sign(signed, key.key)).rstrip(b"=")
    authenticate(chain, {"authorization": f"Bearer {(signed + b'.' + signature).decode()}"})


@QUICK
@given(CLAIMS)
def test_claims(claims: dict[str, Any]) -> None:
    try:
        read_claims(claims)
    except ValueError:
        return


@QUICK
@given(JSON | st.fixed_dictionaries({}, optional={"response": JSON, "kind": st.just("AdmissionReview")}), st.booleans())
def test_answers_of_webhooks(document: Any, may_patch: bool) -> None:
    for body in (json.dumps(document).encode(), repr(document).encode()):
        try:
            answer(body, "uid", may_patch=may_patch)
        except BadAnswer:
            continue


CIPHERS = [("aesgcm", "a"), ("aescbc", "b")]
RESPONSES = st.fixed_dictionaries(
    {"uid": st.just("uid")},
    optional={
        "allowed": JSON | st.just(True),
        "status": JSON,
        "patch": JSON | st.text(alphabet=string.ascii_letters + "+/="),
        "patchType": JSON | st.just("JSONPatch"),
        "warnings": JSON | st.lists(JSON),
        "auditAnnotations": JSON,
    },
)


@QUICK
@given(RESPONSES)
def test_responses_of_webhooks(response: dict[str, Any]) -> None:
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    try:
        answer(json.dumps(document).encode(), "uid", may_patch=True)
    except BadAnswer:
        return


@QUICK
@given(st.binary(max_size=200), st.sampled_from(["aesgcm:v1:a:", "aescbc:v1:b:", "aesgcm:v2", ""]))
def test_values_at_rest(tmp_path_factory: pytest.TempPathFactory, data: bytes, prefix: str) -> None:
    secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    keys = [f"{{{cipher}: {{keys: [{{name: {name}, secret: {secret}}}]}}}}" for cipher, name in CIPHERS]
    path = Path(tmp_path_factory.getbasetemp()) / "encryption.yaml"
    if not path.exists():
        providers = ", ".join(keys)
        path.write_text(
            f"kind: EncryptionConfiguration\nresources: [{{resources: [secrets], providers: [{providers}]}}]"
        )
    try:
        load(path).decrypt("secrets", b"/k", b"k8s:enc:" + prefix.encode() + data)
    except StatusError as problem:
        if problem.code != 500:
            raise
