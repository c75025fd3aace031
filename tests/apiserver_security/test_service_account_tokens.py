"""Tokens: issued, verified, refused; by value, with the real signatures of PyJWT and cryptography."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from security_fakes import FakeCluster, named, pod

from control.api.status import StatusError
from control.apiserver.request import User
from control.apiserver.security.service_accounts.issuer import TokenIssuer, legacy_token
from control.apiserver.security.service_accounts.verifier import ServiceAccountTokens
from control.pki.token_keys import new_signing_key

Object = dict[str, Any]
ISSUER = "https://kubernetes.default.svc.cluster.local"
START = datetime(2026, 1, 2, tzinfo=UTC)
KEY = new_signing_key()


class World:
    """A cluster, a clock, an issuer and a verifier."""

    def __init__(self) -> None:
        self.now = START
        self.cluster = FakeCluster(
            ("serviceaccounts", named("builder", "ns", uid="account")),
            ("pods", pod("web", node="n1", serviceAccountName="builder")),
            ("pods", pod("stranger", serviceAccountName="other")),
            ("secrets", named("holder", "ns")),
            ("nodes", named("n1")),
        )
        store = self.cluster.store
        self.issuer = TokenIssuer(KEY, ISSUER, (ISSUER,), store, lambda: self.now)
        self.verifier = ServiceAccountTokens(
            [KEY.verifying], [ISSUER], (ISSUER,), self.cluster, store, lambda: self.now
        )

    def issue(self, **spec: Any) -> Object:
        return asyncio.run(self.issuer.issue("ns", "builder", {"spec": spec}))

    def token(self, **spec: Any) -> str:
        return str(self.issue(**spec)["status"]["token"])

    def who(self, token: str, *audiences: str) -> User | None:
        return asyncio.run(self.verifier.user_of(token, audiences))


@pytest.fixture
def world() -> World:
    return World()


def test_in_and_out(world: World) -> None:
    found = world.issue(expirationSeconds=7200)
    assert found["status"]["expirationTimestamp"] == "2026-01-02T02:00:00Z"
    user = world.who(found["status"]["token"])
    assert user is not None
    assert (user.name, user.uid) == ("system:serviceaccount:ns:builder", "account")
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns")
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")


def test_the_token_reads_as_kubernetes_writes_it(world: World) -> None:
    token = world.token(boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "web"})
    claims = jwt.decode(token, options={"verify_signature": False})
    uids = {
        kind: world.cluster.objects[key]["metadata"]["uid"]
        for kind, key in {"pod": ("pods", "ns", "web"), "node": ("nodes", "", "n1")}.items()
    }
    assert claims.pop("jti")
    assert claims == {
        "aud": [ISSUER],
        "iss": ISSUER,
        "sub": "system:serviceaccount:ns:builder",
        "iat": START.timestamp(),
        "nbf": START.timestamp(),
        "exp": START.timestamp() + 3600,
        "kubernetes.io": {
            "namespace": "ns",
            "serviceaccount": {"name": "builder", "uid": "account"},
            "pod": {"name": "web", "uid": uids["pod"]},
            "node": {"name": "n1", "uid": uids["node"]},
        },
    }
    assert jwt.get_unverified_header(token)["kid"] == KEY.verifying.id


def refuses(world: World, token: str, says: str, *audiences: str) -> None:
    with pytest.raises(StatusError, match=says) as refused:
        world.who(token, *audiences)
    assert refused.value.code == 401


def test_it_expires(world: World) -> None:
    token = world.token()
    world.now += timedelta(seconds=3599)
    assert world.who(token)
    world.now += timedelta(seconds=1)
    refuses(world, token, "has expired")


def test_audiences(world: World) -> None:
    token = world.token(audiences=["vault"])
    assert world.who(token, "vault", "other")
    assert world.verifier.matched_audiences(token, ("vault", "other")) == ("vault",)
    refuses(world, token, "another audience")


def test_it_ends_with_its_account_even_if_another_takes_the_name(world: World) -> None:
    token = world.token()
    assert world.who(token)
    world.cluster.remove("serviceaccounts", "ns", "builder")
    refuses(world, token, "service account is gone")
    world.cluster.put("serviceaccounts", named("builder", "ns", uid="another"))
    refuses(world, token, "service account is gone")


@pytest.mark.parametrize(("kind", "resource", "name"), [("Pod", "pods", "web"), ("Secret", "secrets", "holder")])
def test_it_ends_with_what_it_is_bound_to(world: World, kind: str, resource: str, name: str) -> None:
    token = world.token(boundObjectRef={"kind": kind, "apiVersion": "v1", "name": name})
    assert world.who(token)
    world.cluster.remove(resource, "ns", name)
    refuses(world, token, f"the {kind} it is bound to is gone")


def test_a_pod_that_is_going_keeps_its_token_for_a_minute(world: World) -> None:
    token = world.token(boundObjectRef={"kind": "Pod", "name": "web"})
    world.cluster.objects["pods", "ns", "web"]["metadata"]["deletionTimestamp"] = "2026-01-02T00:10:00Z"
    world.now = START + timedelta(minutes=10, seconds=59)
    assert world.who(token)
    world.now += timedelta(seconds=1)
    refuses(world, token, "is gone")


def test_what_the_cache_does_not_know_yet_is_looked_up(world: World) -> None:
    token = world.token()
    world.cluster.hidden.add(("serviceaccounts", "ns", "builder"))
    assert world.who(token)


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"expirationSeconds": 599}, 422),
        ({"expirationSeconds": 1 << 33}, 422),
        ({"boundObjectRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "x"}}, 422),
        ({"boundObjectRef": {"kind": "Pod"}}, 422),
        ({"boundObjectRef": {"kind": "Pod", "name": "gone"}}, 404),
        ({"boundObjectRef": {"kind": "Pod", "name": "web", "uid": "old"}}, 409),
        ({"boundObjectRef": {"kind": "Pod", "name": "stranger"}}, 403),
    ],
)
def test_what_is_not_issued(world: World, spec: Object, code: int) -> None:
    with pytest.raises(StatusError) as refused:
        world.issue(**spec)
    assert refused.value.code == code


def test_forgeries(world: World) -> None:
    token = world.token()
    payload = jwt.decode(token, options={"verify_signature": False})
    refuses(world, jwt.encode(payload, new_signing_key().key, "ES256"), "no key of this cluster")
    refuses(world, jwt.encode(payload, "x" * 64, "HS256", {"kid": KEY.verifying.id}), "no key of this cluster")
    refuses(world, jwt.encode(payload, None, "none"), "no key of this cluster")  # type: ignore[arg-type]
    header, body, signature = token.split(".")
    other = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b"builder", b"admin00"))
    refuses(world, ".".join((header, other.rstrip(b"=").decode(), signature)), "no key of this cluster")
    payload["sub"] = "system:serviceaccount:kube-system:admin"
    refuses(world, jwt.encode(payload, KEY.key, "ES256"), "the subject is not the service account")


def test_unsigned_nonsense_is_refused_and_not_a_crash(world: World) -> None:
    payload = jwt.decode(world.token(), options={"verify_signature": False})
    body = base64.urlsafe_b64encode(json.dumps({**payload, "iss": [ISSUER]}).encode()).rstrip(b"=").decode()
    header = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":["x"]}').rstrip(b"=").decode()
    assert world.who(f"{header}.{body}.AAAA") is None
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    header = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"x"}').rstrip(b"=").decode()
    refuses(world, f"{header}.{body}.AAAA", "no key of this cluster")


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", "....", "é.é.é", "e30.e30.e30"])
def test_what_is_somebody_elses(world: World, token: str) -> None:
    assert world.who(token) is None
    theirs = jwt.encode({"iss": "https://accounts.example.com"}, new_signing_key().key, "ES256")
    assert world.who(theirs) is None


@pytest.mark.parametrize(
    "broken",
    [{"kubernetes.io": 1}, {"kubernetes.io": {"namespace": "ns"}}, {"exp": "soon"}, {"aud": 5}, {"exp": None}],
)
def test_signed_nonsense_is_refused_and_not_a_crash(world: World, broken: Object) -> None:
    payload = jwt.decode(world.token(), options={"verify_signature": False}) | broken
    refuses(world, jwt.encode({k: v for k, v in payload.items() if v is not None}, KEY.key, "ES256"), "Unauthorized")


def test_legacy_tokens_end_with_their_secret(world: World) -> None:
    account = world.cluster.objects["serviceaccounts", "ns", "builder"]
    token = legacy_token(KEY, account, "builder-token")
    refuses(world, token, "the Secret it is bound to is gone")
    data = {"token": base64.b64encode(token.encode()).decode()}
    secret = named("builder-token", "ns", type="kubernetes.io/service-account-token", data=data)
    world.cluster.put("secrets", secret)
    world.now += timedelta(days=5000)
    user = world.who(token)
    assert user is not None
    assert user.name == "system:serviceaccount:ns:builder"
    secret["data"] = {"token": base64.b64encode(b"another").decode()}
    refuses(world, token, "is gone")
