"""Who is it? The chain of authenticators and impersonation, by value."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from security_fakes import ADMIN, ALICE, FakeCluster, named

from control.api.status import StatusError
from control.apiserver.protocol import peer_of
from control.apiserver.request import ANONYMOUS, Attributes, Decision, PeerCertificate, User
from control.apiserver.security.authenticator import AuthenticatorChain
from control.apiserver.security.bootstrap_tokens import BootstrapTokens
from control.apiserver.security.certificates import Authorities, CertificateUsers, FrontProxyUsers
from control.apiserver.security.impersonation import ImpersonatedUser, Impersonation
from control.apiserver.security.token_file import TokenFile
from kvstore.pki.certificates import Pair, issue, make_authority

NOW = datetime(2026, 1, 2, tzinfo=UTC)
YEAR = timedelta(days=365)


class Allows:
    """An authorizer that allows what it was told, as "verb resource[/subresource] name"."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        resource = "/".join(filter(None, (attributes.resource, attributes.subresource)))
        return Decision(f"{attributes.verb} {resource} {attributes.name}" in self.allowed)


def peer(pair: Pair, name: str, *groups: str) -> PeerCertificate:
    return PeerCertificate(name, groups, pair.certificate.public_bytes(Encoding.DER))


@pytest.fixture(scope="module")
def authorities() -> dict[str, Pair]:
    return {name: make_authority(name, NOW, YEAR) for name in ("clients", "proxies")}


@pytest.fixture
def chain(tmp_path: Path, authorities: dict[str, Pair]) -> AuthenticatorChain:
    path = tmp_path / "tokens.csv"
    path.write_text('secret-1,alice,u1,"dev,ops"\n\nsecret-2,bob,u2\n')
    clients = Authorities([authorities["clients"].certificate])
    proxies = Authorities([authorities["proxies"].certificate])
    front = FrontProxyUsers(proxies, ["front"], ["x-remote-user"], ["x-remote-group"], ["x-remote-extra-"])
    return AuthenticatorChain([front, CertificateUsers(clients)], [TokenFile(path)], Impersonation(Allows()))


def who(chain: AuthenticatorChain, certificate: PeerCertificate | None = None, **headers: str) -> User | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(chain.authenticate(named, certificate))


def signed(authorities: dict[str, Pair], by: str, name: str) -> Pair:
    return issue(authorities[by], name, [], NOW, YEAR, client=True)


class _Peer:
    """What a TLS connection says of its peer's certificate."""

    def getpeercert(self, binary_form: bool = False) -> Any:
        subject = ((("organizationName", "dev"),), (("commonName", "jane"),))
        return b"der" if binary_form else {"subject": subject, "notAfter": "Jan  2 00:01:00 2026 GMT"}


def test_a_certificate_that_ends_while_its_connection_is_open_counts_no_more() -> None:
    """TLS looks at it once, in the handshake."""
    certificate = peer_of(_Peer())  # type: ignore[arg-type]
    assert certificate is not None
    clock = [NOW.timestamp() + 59]
    users = CertificateUsers(now=lambda: clock[0])
    found = users.user_of({}, certificate)
    assert found is not None
    assert (found.name, found.groups) == ("jane", ("dev",))
    clock[0] += 2
    with pytest.raises(StatusError) as refused:
        users.user_of({}, certificate)
    assert refused.value.code == 401


def test_a_proxy_whose_certificate_ends_speaks_for_nobody_more(authorities: dict[str, Pair]) -> None:
    clock = [NOW.timestamp()]
    proxies = Authorities([authorities["proxies"].certificate])
    users = FrontProxyUsers(proxies, ["front"], ["x-remote-user"], [], ["x-remote-extra-"], lambda: clock[0])
    certificate = replace(peer(signed(authorities, "proxies", "front"), "front"), ends=clock[0] + 60)
    headers = {"x-remote-user": "dave", "x-remote-extra-example.com%2fteam": "x"}
    assert users.user_of(headers, certificate) == User("dave", extra={"example.com/team": ("x",)})
    clock[0] += 61
    with pytest.raises(StatusError) as refused:
        users.user_of(headers, certificate)
    assert refused.value.code == 401


def test_tokens_of_a_file_are_for_the_api_server(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("secret,alice,u1\n")
    tokens = TokenFile(tmp_path / "t.csv", ("api", "https://api"))
    for audiences, known in (((), True), (("vault", "api"), True), (("vault",), False)):
        assert (asyncio.run(tokens.user_of("secret", audiences)) is not None) is known


def test_nobody_is_anonymous(chain: AuthenticatorChain) -> None:
    assert who(chain) == ANONYMOUS
    assert who(chain, authorization="Basic YTpi") == ANONYMOUS


def test_tokens_of_a_file(chain: AuthenticatorChain) -> None:
    assert who(chain, authorization="Bearer secret-1") == User("alice", "u1", ("dev", "ops", "system:authenticated"))
    assert who(chain, authorization="bearer  secret-2 ") == User("bob", "u2", ("system:authenticated",))
    protocol = "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(b"secret-2").rstrip(b"=").decode()
    found = who(chain, sec_websocket_protocol=f"v4.channel.k8s.io, {protocol}")
    assert found is not None
    assert found.name == "bob"


@pytest.mark.parametrize("token", ["wrong", "secret-1x", "x" * 100_000, "a.b.c"])
def test_a_wrong_token_is_not_anonymous(chain: AuthenticatorChain, token: str) -> None:
    with pytest.raises(StatusError) as refused:
        who(chain, authorization=f"Bearer {token}")
    assert (refused.value.code, refused.value.reason) == (401, "Unauthorized")


def test_without_anonymous_users_nobody_is_nobody(chain: AuthenticatorChain) -> None:
    strict = AuthenticatorChain([], [], Impersonation(Allows()), anonymous=False)
    assert who(strict) is None


def test_client_certificates(chain: AuthenticatorChain, authorities: dict[str, Pair]) -> None:
    found = who(chain, peer(signed(authorities, "clients", "carol"), "carol", "dev"))
    assert found is not None
    assert (found.name, found.groups) == ("carol", ("dev", "system:authenticated"))
    with pytest.raises(StatusError):
        who(chain, peer(signed(authorities, "clients", "x"), ""))


def test_a_proxys_certificate_is_no_client_and_a_client_is_no_proxy(
    chain: AuthenticatorChain, authorities: dict[str, Pair]
) -> None:
    headers = {"x_remote_user": "root", "x_remote_group": "system:masters"}
    assert who(chain, peer(signed(authorities, "proxies", "mallory"), "mallory", "system:masters")) == ANONYMOUS
    client = who(chain, peer(signed(authorities, "clients", "front"), "front"), **headers)
    assert client is not None
    assert client.name == "front"
    assert who(chain, **headers) == ANONYMOUS
    assert who(chain, peer(signed(authorities, "proxies", "other"), "other"), **headers) == ANONYMOUS


def test_a_front_proxy_speaks_for_others(chain: AuthenticatorChain, authorities: dict[str, Pair]) -> None:
    proxy = peer(signed(authorities, "proxies", "front"), "front")
    found = who(chain, proxy, x_remote_user="dave", x_remote_group="a,b", x_remote_extra_team="x")
    assert found == User("dave", groups=("a", "b", "system:authenticated"), extra={"team": ("x",)})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("secret\n", "line 1: 1 columns"),
        ("a,b,c\n,user,uid\n", "line 2: the token"),
        ("a,b,c\na,d,e\n", "line 2: this token"),
        ('a,b,c,"x', "not a CSV file"),
    ],
)
def test_a_malformed_token_file_is_named_without_its_tokens(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as refused:
        TokenFile(path)
    assert "secret" not in str(refused.value)


# ---- impersonation ----


def act(allows: Allows, user: User = ALICE, **headers: str) -> User:
    return Impersonation(allows).act(user, {name.replace("_", "-"): value for name, value in headers.items()})


def test_impersonation_of_a_user() -> None:
    found = act(
        Allows("impersonate users bob", "impersonate groups dev", "impersonate userextras/team x"),
        impersonate_user="bob",
        impersonate_group="dev",
        impersonate_extra_team="x",
    )
    assert isinstance(found, ImpersonatedUser)
    assert (found.name, found.groups, found.extra) == ("bob", ("dev", "system:authenticated"), {"team": ("x",)})
    assert found.by == ALICE


def test_impersonation_of_a_service_account() -> None:
    found = act(Allows("impersonate serviceaccounts builder"), impersonate_user="system:serviceaccount:ns:builder")
    assert found.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")


@pytest.mark.parametrize(
    ("headers", "code", "says"),
    [
        ({"impersonate_user": "eve"}, 403, 'User "alice" cannot impersonate resource "users"'),
        ({"impersonate_user": "bob", "impersonate_group": "system:masters"}, 403, 'resource "groups"'),
        ({"impersonate_user": "bob", "impersonate_group": "dev,system:masters"}, 403, "groups"),
        ({"impersonate_user": "bob", "impersonate_uid": "7"}, 403, "uids"),
        ({"impersonate_user": "bob", "impersonate_extra_a": "x"}, 403, "userextras/a"),
        ({"impersonate_group": "dev"}, 400, "without impersonating a user"),
    ],
)
def test_impersonation_refused(headers: dict[str, str], code: int, says: str) -> None:
    with pytest.raises(StatusError, match=says) as refused:
        act(Allows("impersonate users bob", "impersonate groups dev"), **headers)
    assert refused.value.code == code


def test_who_impersonates_nobody_stays_who_they_are() -> None:
    assert act(Allows(), ADMIN) is ADMIN


# ---- bootstrap tokens ----


def secret(**more: str) -> tuple[str, dict[str, object]]:
    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:workers",
        **more,
    }
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return "secrets", named("bootstrap-token-abcdef", "kube-system", type="bootstrap.kubernetes.io/token", data=encoded)


def bootstrap(token: str, **more: str) -> User | None:
    return asyncio.run(BootstrapTokens(FakeCluster(secret(**more)), lambda: NOW).user_of(token))


def test_bootstrap_tokens() -> None:
    groups = ("system:bootstrappers", "system:bootstrappers:workers")
    assert bootstrap("abcdef.0123456789abcdef") == User("system:bootstrap:abcdef", groups=groups)
    assert bootstrap("abcdef.0123456789abcdef", expiration="2026-01-03T00:00:00Z")


@pytest.mark.parametrize(
    ("token", "more"),
    [
        ("abcdef.0123456789abcdeX", {}),
        ("abcdef.0000000000000000", {}),
        ("zzzzzz.0123456789abcdef", {}),
        ("abcdef.0123456789abcdef", {"expiration": "2026-01-02T00:00:00Z"}),
        ("abcdef.0123456789abcdef", {"expiration": "never"}),
        ("abcdef.0123456789abcdef", {"usage-bootstrap-authentication": "false"}),
        ("abcdef.0123456789abcdef", {"auth-extra-groups": "system:masters"}),
    ],
)
def test_bootstrap_tokens_refused(token: str, more: dict[str, str]) -> None:
    assert bootstrap(token, **more) is None
