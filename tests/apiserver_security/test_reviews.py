"""Token and access reviews, by value."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from security_fakes import ALICE, FakeCluster, named, review
from test_rbac import binding, index_of, rule

from control.api.status import StatusError
from control.apiserver.request import Review, User
from control.apiserver.security.authenticator import AuthenticatorChain
from control.apiserver.security.authorizer import AuthorizerChain
from control.apiserver.security.impersonation import Impersonation
from control.apiserver.security.rbac.authorizer import RbacAuthorizer
from control.apiserver.security.rbac.index import CLUSTER_ROLES, ROLE_BINDINGS
from control.apiserver.security.reviews import ReviewAnswers, attributes_of
from control.apiserver.security.service_accounts.issuer import TokenIssuer
from control.apiserver.security.service_accounts.verifier import ServiceAccountTokens
from control.pki.token_keys import new_signing_key

Object = dict[str, Any]
AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"


@pytest.fixture(scope="module")
def answers() -> ReviewAnswers:
    rules = [rule("get list", "pods pods/log"), rule("get", urls="/metrics")]
    cluster = FakeCluster(
        ("serviceaccounts", named("builder", "ns")),
        (CLUSTER_ROLES, named("reader", rules=rules)),
        (ROLE_BINDINGS, binding("b", "reader", ("User", "alice"), namespace="ns")),
    )
    index, key, issuers = index_of(cluster), new_signing_key(), ("https://us",)
    authorizer = AuthorizerChain([RbacAuthorizer(index)])
    now = lambda: datetime(2026, 1, 2, tzinfo=UTC)  # noqa: E731
    tokens = ServiceAccountTokens([key.verifying], issuers, issuers, cluster, cluster.store, now)
    issuer = TokenIssuer(key, issuers[0], issuers, cluster.store, now)
    chain = AuthenticatorChain([], [tokens], Impersonation(authorizer))
    return ReviewAnswers(chain, authorizer, index, tokens, issuer)


def ask(answers: ReviewAnswers, kind: str, group: str, spec: Object, **more: Any) -> Object:
    asked: Review = review(
        f"{kind.lower()}s.{group}", {"kind": kind, "apiVersion": f"{group}/v1", "spec": spec}, **more
    )
    return asyncio.run(answers.answer(asked))["status"]  # type: ignore[no-any-return]


def test_token_request_and_token_review(answers: ReviewAnswers) -> None:
    request = review("serviceaccounts", named("builder", "ns", kind="TokenRequest", spec={}), subresource="token")
    token = asyncio.run(answers.answer(request))["status"]["token"]
    found = ask(answers, "TokenReview", AUTHENTICATION, {"token": token})
    assert found["authenticated"] is True
    assert found["audiences"] == ["https://us"]
    assert found["user"]["username"] == "system:serviceaccount:ns:builder"
    assert "system:authenticated" in found["user"]["groups"]
    assert ask(answers, "TokenReview", AUTHENTICATION, {"token": "nobody's"}) == {}
    other = ask(answers, "TokenReview", AUTHENTICATION, {"token": token, "audiences": ["vault"]})
    assert "another audience" in other["error"]
    with pytest.raises(StatusError, match="token is required"):
        ask(answers, "TokenReview", AUTHENTICATION, {})


def test_self_subject_review(answers: ReviewAnswers) -> None:
    user = User("alice", "u1", ("dev",), {"team": ("x",)})
    found = ask(answers, "SelfSubjectReview", AUTHENTICATION, {}, user=user)
    expected = {"username": "alice", "uid": "u1", "groups": ["dev"], "extra": {"team": ["x"]}}
    assert found == {"userInfo": expected}


@pytest.mark.parametrize(
    ("attributes", "allowed"),
    [
        ({"verb": "list", "resource": "pods", "namespace": "ns"}, True),
        ({"verb": "get", "resource": "pods", "subresource": "log", "namespace": "ns"}, True),
        ({"verb": "list", "resource": "pods", "namespace": "other"}, False),
        ({"verb": "delete", "resource": "pods", "namespace": "ns"}, False),
    ],
)
def test_access_reviews(answers: ReviewAnswers, attributes: Object, allowed: bool) -> None:
    spec = {"resourceAttributes": attributes}
    mine = ask(answers, "SelfSubjectAccessReview", AUTHORIZATION, spec, user=ALICE)
    assert mine["allowed"] is allowed
    others = ask(answers, "SubjectAccessReview", AUTHORIZATION, {**spec, "user": "bob"}, user=ALICE)
    assert others["allowed"] is False
    hers = ask(answers, "SubjectAccessReview", AUTHORIZATION, {**spec, "user": "alice"}, user=User("bob"))
    assert hers["allowed"] is allowed


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"user": "alice"},
        {"resourceAttributes": {"verb": "get", "resource": "pods"}},
        {"user": "a", "resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"verb": "get", "path": "/"}},
    ],
)
def test_access_reviews_that_ask_nothing(answers: ReviewAnswers, spec: Object) -> None:
    with pytest.raises(StatusError) as refused:
        ask(answers, "SubjectAccessReview", AUTHORIZATION, spec)
    assert refused.value.code == 422


def test_a_local_review_stays_in_its_namespace(answers: ReviewAnswers) -> None:
    def local(namespace: str) -> Object:
        spec = {"user": "alice", "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": namespace}}
        return ask(answers, "LocalSubjectAccessReview", AUTHORIZATION, spec, namespace="ns")

    assert local("ns")["allowed"] is True
    with pytest.raises(StatusError, match=r"must match metadata\.namespace"):
        local("other")


def test_rules_review(answers: ReviewAnswers) -> None:
    found = ask(answers, "SelfSubjectRulesReview", AUTHORIZATION, {"namespace": "ns"}, user=ALICE)
    assert found == {
        "resourceRules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}],
        "incomplete": False,
    }


def test_a_question_is_narrowed_by_what_one_value_says_only() -> None:
    """A node that asks for its own pods and another's must not be told that it may have its own."""

    def selector(*requirements: tuple[str, str, list[str]]) -> str:
        entries = [{"key": key, "operator": operator, "values": values} for key, operator, values in requirements]
        resource = {"verb": "list", "resource": "pods", "fieldSelector": {"requirements": entries}}
        return attributes_of({"spec": {"resourceAttributes": resource}}).field_selector

    assert selector(("spec.nodeName", "In", ["n1"]), ("a", "NotIn", ["b,c"])) == "spec.nodeName=n1,a!=b\\,c"
    assert selector(("spec.nodeName", "In", ["n1", "n2"])) == ""
    assert selector(("spec.nodeName", "Exists", []), ("spec.nodeName", "In", [])) == ""
