"""Roles, bindings and rules, by value."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from security_fakes import ADMIN, ALICE, FakeCluster, named, review

from control.api.status import StatusError
from control.apiserver.request import Attributes, Review, User
from control.apiserver.security.authorizer import AuthorizerChain
from control.apiserver.security.rbac import bootstrap
from control.apiserver.security.rbac.authorizer import RbacAuthorizer
from control.apiserver.security.rbac.escalation import EscalationCheck
from control.apiserver.security.rbac.index import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    RbacIndex,
)
from control.apiserver.security.rbac.reconcile import ensure_bootstrap, repaired, until_known, write_aggregates
from control.apiserver.security.rbac.rules import Rule, uncovered

Object = dict[str, Any]


def rule(verbs: str, resources: str = "", groups: str = "", names: str = "", urls: str = "") -> Object:
    found: Object = {"verbs": verbs.split()}
    if urls:
        return {**found, "nonResourceURLs": urls.split()}
    found |= {"apiGroups": groups.split() or [""], "resources": resources.split()}
    return {**found, "resourceNames": names.split()} if names else found


def binding(name: str, role: str, *subjects: tuple[str, str], namespace: str = "", kind: str = "ClusterRole") -> Object:
    listed = [{"kind": k, "name": n} for k, n in subjects]
    return named(name, namespace, subjects=listed, roleRef={"kind": kind, "name": role})


def index_of(cluster: FakeCluster) -> RbacIndex:
    index = RbacIndex()
    for resource in (ROLES, CLUSTER_ROLES):
        cluster.subscribe(resource, index.role_changed)
    for resource in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
        cluster.subscribe(resource, index.binding_changed)
    return index


def ask(verb: str, resource: str = "", **more: str) -> Attributes:
    plural, _, subresource = resource.partition("/")
    return Attributes(verb, resource=plural, subresource=subresource, **more)


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        (rule("get list", "pods"), ask("get", "pods"), True),
        (rule("get list", "pods"), ask("watch", "pods"), False),
        (rule("*", "pods"), ask("evict", "pods"), True),
        (rule("get", "pods"), ask("get", "pods/log"), False),
        (rule("get", "pods/log"), ask("get", "pods/log"), True),
        (rule("get", "pods/log"), ask("get", "pods"), False),
        (rule("get", "*/log"), ask("get", "pods/log"), True),
        (rule("get", "*"), ask("get", "pods/log"), True),
        (rule("get", "deployments", "apps"), ask("get", "deployments"), False),
        (rule("get", "deployments", "apps"), ask("get", "deployments", group="apps"), True),
        (rule("get", "deployments", "*"), ask("get", "deployments", group="apps"), True),
        (rule("get", "secrets", names="a b"), ask("get", "secrets", name="a"), True),
        (rule("get", "secrets", names="a b"), ask("get", "secrets", name="c"), False),
        (rule("list", "secrets", names="a"), ask("list", "secrets"), False),
        (rule("get", urls="/healthz"), ask("get", path="/healthz"), True),
        (rule("get", urls="/healthz"), ask("get", path="/healthz/etcd"), False),
        (rule("get", urls="/healthz/*"), ask("get", path="/healthz/etcd"), True),
        (rule("get", urls="*"), ask("get", path="/metrics"), True),
        (rule("get", urls="*"), ask("get", "pods"), False),
        (rule("*", "*", "*"), ask("get", path="/metrics"), False),
    ],
)
def test_what_a_rule_allows(given: Object, asked: Attributes, allowed: bool) -> None:
    assert Rule.of(given).allows(asked) is allowed


@pytest.mark.parametrize(
    ("owned", "wanted", "lacks"),
    [
        ([rule("get list", "pods")], [rule("get", "pods")], 0),
        ([rule("get", "pods"), rule("list", "pods")], [rule("get list", "pods")], 0),
        ([rule("get", "pods")], [rule("get list", "pods services")], 3),
        ([rule("*", "*", "*")], [rule("get", "pods/log secrets", "apps")], 0),
        ([rule("get list watch create update patch delete", "pods")], [rule("*", "pods")], 1),
        ([rule("get", "*/log")], [rule("get", "pods/log")], 0),
        ([rule("get", "pods/log")], [rule("get", "*/log")], 1),
        ([rule("get", "secrets", names="a")], [rule("get", "secrets", names="a")], 0),
        ([rule("get", "secrets", names="a")], [rule("get", "secrets")], 1),
        ([rule("get", "secrets")], [rule("get", "secrets", names="a b")], 0),
        ([rule("get", urls="/api/*")], [rule("get", urls="/api/v1 /api/*")], 0),
        ([rule("get", urls="/api/v1")], [rule("get", urls="/api/*")], 1),
        ([rule("*", "*", "*")], [rule("get", urls="/api")], 1),
    ],
)
def test_who_may_grant_what(owned: list[Object], wanted: list[Object], lacks: int) -> None:
    assert len(uncovered(map(Rule.of, owned), map(Rule.of, wanted))) == lacks


def test_bindings_hold_where_they_stand_and_end_when_they_go() -> None:
    cluster = FakeCluster(
        (CLUSTER_ROLES, named("reader", rules=[rule("get", "pods")])),
        (ROLE_BINDINGS, binding("b", "reader", ("User", "alice"), namespace="one")),
    )
    authorizer = RbacAuthorizer(index_of(cluster))
    one, two = ask("get", "pods", namespace="one"), ask("get", "pods", namespace="two")
    assert authorizer.authorize(ALICE, one).allowed
    assert not authorizer.authorize(ALICE, two).allowed
    assert not authorizer.authorize(User("bob"), one).allowed
    cluster.put(CLUSTER_ROLE_BINDINGS, binding("all", "reader", ("Group", "system:authenticated")))
    assert authorizer.authorize(ALICE, two).allowed
    assert 'ClusterRoleBinding "all" of ClusterRole "reader"' in authorizer.authorize(ALICE, two).reason
    cluster.put(CLUSTER_ROLES, named("reader", rules=[rule("list", "pods")]))
    assert not authorizer.authorize(ALICE, one).allowed
    cluster.remove(CLUSTER_ROLES, "", "reader")
    decision = authorizer.authorize(ALICE, one)
    assert (decision.allowed, '"reader" not found' in decision.reason) == (False, True)


def test_a_service_account_is_a_subject_of_its_namespace() -> None:
    cluster = FakeCluster(
        (ROLES, named("r", "ns", rules=[rule("get", "pods")])),
        (ROLE_BINDINGS, binding("b", "r", ("ServiceAccount", "builder"), namespace="ns", kind="Role")),
    )
    authorizer = RbacAuthorizer(index_of(cluster))
    asked = ask("get", "pods", namespace="ns")
    assert authorizer.authorize(User("system:serviceaccount:ns:builder"), asked).allowed
    assert not authorizer.authorize(User("system:serviceaccount:other:builder"), asked).allowed
    cluster.put(ROLE_BINDINGS, binding("b", "r", ("ServiceAccount", "other"), namespace="ns", kind="Role"))
    assert not authorizer.authorize(User("system:serviceaccount:ns:builder"), asked).allowed


def test_a_thousand_bindings_of_others_cost_nothing() -> None:
    cluster = FakeCluster((CLUSTER_ROLES, named("r", rules=[rule("get", "pods")])))
    for number in range(1000):
        cluster.put(CLUSTER_ROLE_BINDINGS, binding(f"b{number}", "r", ("User", f"u{number}")))
    index = index_of(cluster)
    assert len(list(index.grants_of(User("u7"), ""))) == 1


# ---- bootstrap ----


@pytest.fixture(scope="module")
def bootstrapped() -> FakeCluster:
    cluster = FakeCluster()
    assert asyncio.run(ensure_bootstrap(cluster, cluster.store)) > 20
    asyncio.run(write_aggregates(index_of(cluster), cluster.store))
    return cluster


def user(name: str, *groups: str) -> User:
    return User(name, groups=(*groups, "system:authenticated"))


@pytest.mark.parametrize(
    ("who", "role", "asked", "allowed"),
    [
        ("alice", "view", ask("list", "pods", namespace="ns"), True),
        ("alice", "view", ask("get", "deployments", namespace="ns", group="apps"), True),
        ("alice", "view", ask("get", "secrets", namespace="ns"), False),
        ("alice", "view", ask("create", "pods", namespace="ns"), False),
        ("alice", "view", ask("list", "pods", namespace="other"), False),
        ("alice", "edit", ask("create", "deployments", namespace="ns", group="apps"), True),
        ("alice", "edit", ask("get", "secrets", namespace="ns"), True),
        ("alice", "edit", ask("get", "pods/log", namespace="ns"), True),
        ("alice", "edit", ask("create", "pods/exec", namespace="ns"), True),
        ("alice", "edit", ask("create", "roles", namespace="ns", group="rbac.authorization.k8s.io"), False),
        ("alice", "admin", ask("create", "roles", namespace="ns", group="rbac.authorization.k8s.io"), True),
        ("alice", "admin", ask("get", "pods", namespace="ns"), True),
        ("alice", "admin", ask("update", "resourcequotas", namespace="ns"), False),
        ("alice", "admin", ask("get", "nodes"), False),
    ],
)
def test_default_roles(bootstrapped: FakeCluster, who: str, role: str, asked: Attributes, allowed: bool) -> None:
    index = index_of(bootstrapped)
    index.binding_changed(None, binding("b", role, ("User", who), namespace="ns"))
    assert RbacAuthorizer(index).authorize(user(who), asked).allowed is allowed


@pytest.mark.parametrize(
    ("who", "asked", "allowed"),
    [
        (user("x", "system:masters"), ask("delete", "nodes"), True),
        (user("system:kube-scheduler"), ask("create", "pods/binding", namespace="a"), True),
        (user("system:kube-scheduler"), ask("patch", "persistentvolumeclaims", namespace="a"), True),
        (user("system:kube-scheduler"), ask("get", "secrets", namespace="a"), False),
        (user("system:kube-controller-manager"), ask("create", "pods", namespace="a"), True),
        (user("system:kube-controller-manager"), ask("list", "widgets", group="example.com"), True),
        (user("x"), ask("get", path="/api"), True),
        (user("x"), ask("get", path="/version"), True),
        (user("x"), ask("create", "selfsubjectaccessreviews", group="authorization.k8s.io"), True),
        (user("x"), ask("get", path="/metrics"), False),
        (User("system:anonymous", groups=("system:unauthenticated",)), ask("get", path="/healthz"), True),
        (User("system:anonymous", groups=("system:unauthenticated",)), ask("get", path="/api"), False),
        (User("system:anonymous", groups=("system:unauthenticated",)), ask("list", "pods", namespace="a"), False),
    ],
)
def test_default_bindings(bootstrapped: FakeCluster, who: User, asked: Attributes, allowed: bool) -> None:
    chain = AuthorizerChain([RbacAuthorizer(index_of(bootstrapped))])
    assert chain.authorize(who, asked).allowed is allowed


def test_aggregated_roles_are_written_and_grow(bootstrapped: FakeCluster) -> None:
    rules = bootstrapped.get(CLUSTER_ROLES, "", "view")
    assert rules is not None
    assert {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]} in rules["rules"]
    cluster = FakeCluster(*[(CLUSTER_ROLES, role) for role in bootstrap.cluster_roles()])
    index = index_of(cluster)
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    cluster.put(CLUSTER_ROLES, named("crd", labels=labels, rules=[rule("get", "widgets", "example.com")]))
    for role in ("view", "edit", "admin"):  # edit has what view has, admin what edit has
        assert rule("get", "widgets", "example.com") in index.raw_rules(("", role))


def test_a_circle_of_aggregation_ends() -> None:
    selector = {"clusterRoleSelectors": [{"matchLabels": {"in": "circle"}}]}
    labels = {"in": "circle"}
    cluster = FakeCluster(
        (CLUSTER_ROLES, named("a", labels=labels, aggregationRule=selector, rules=[])),
        (CLUSTER_ROLES, named("b", labels=labels, aggregationRule=selector, rules=[])),
        (CLUSTER_ROLES, named("c", labels=labels, rules=[rule("get", "pods")])),
    )
    assert index_of(cluster).raw_rules(("", "a")) == [rule("get", "pods")]


def test_bootstrap_twice_writes_nothing_and_repairs_what_was_taken(bootstrapped: FakeCluster) -> None:
    before = bootstrapped.writes
    assert asyncio.run(ensure_bootstrap(bootstrapped, bootstrapped.store)) == 0
    assert bootstrapped.writes == before
    wanted = next(r for r in bootstrap.cluster_roles() if r["metadata"]["name"] == "system:basic-user")
    mine = rule("get", "widgets", "example.com")
    spoilt = {**wanted, "rules": [wanted["rules"][0], mine]}
    healed = repaired(spoilt, wanted)
    assert healed is not None
    assert healed["rules"] == [wanted["rules"][0], mine, wanted["rules"][1]]
    kept = named("system:basic-user", annotations={bootstrap.AUTOUPDATE: "false"}, rules=[])
    assert repaired(kept, wanted) is None


def test_a_server_waits_until_it_knows_the_bootstrap_roles(bootstrapped: FakeCluster) -> None:
    cluster = FakeCluster()

    async def run() -> None:
        waiting = asyncio.create_task(until_known(cluster))
        await asyncio.sleep(0)
        roles, *bindings = [list(found) for found in (bootstrap.cluster_roles(), bootstrap.cluster_role_bindings())]
        for role in roles:
            cluster.put(CLUSTER_ROLES, role)
        await asyncio.sleep(0)
        assert not waiting.done()
        for binding in bindings[0]:
            cluster.put(CLUSTER_ROLE_BINDINGS, binding)
        await waiting
        await until_known(bootstrapped)

    asyncio.run(run())


# ---- escalation ----


def escalation(*objects: tuple[str, Object]) -> EscalationCheck:
    index = index_of(FakeCluster(*objects))
    return EscalationCheck(index, AuthorizerChain([RbacAuthorizer(index)]))


GRANTED = [rule("get", "pods"), rule("create update", "roles rolebindings", "rbac.authorization.k8s.io")]
MINE = [
    (ROLES, named("mine", "ns", rules=GRANTED)),
    (ROLE_BINDINGS, binding("b", "mine", ("User", "alice"), namespace="ns", kind="Role")),
    (CLUSTER_ROLES, named("big", rules=[rule("*", "*", "*")])),
]


def test_nobody_writes_a_role_above_their_own() -> None:
    check = escalation(*MINE)
    check.validate(review(ROLES, named("ok", "ns", rules=[rule("get", "pods")])))
    with pytest.raises(StatusError) as refused:
        check.validate(review(ROLES, named("bad", "ns", rules=[rule("get list", "pods secrets")])))
    assert refused.value.code == 403
    assert "is attempting to grant RBAC permissions not currently held" in refused.value.message
    assert '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}' in refused.value.message
    check.validate(review(ROLES, named("bad", "ns", rules=[rule("*", "*", "*")]), user=ADMIN))


def changed(resource: str, old: Object, metadata: Object | None = None, **fields: object) -> Review:
    """An update."""
    new = {**old, **fields, "metadata": {**old["metadata"], **(metadata or {})}}
    return review(resource, new, operation="UPDATE", old=old)


def test_a_label_makes_a_role_part_of_another_so_it_counts_as_its_rules() -> None:
    """cluster-admin with the label aggregate-to-view would make everybody's view everything."""
    check = escalation(*MINE)
    big, above = named("big", rules=[rule("*", "*", "*")]), named("r", "ns", rules=[rule("get", "secrets")])
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    for resource, old in ((CLUSTER_ROLES, big), (ROLES, above)):
        with pytest.raises(StatusError, match="not currently held"):
            check.validate(changed(resource, old, {"labels": labels}))
        owned = {"ownerReferences": [{"uid": "u"}], "finalizers": ["a/b"], "managedFields": [], "resourceVersion": "9"}
        check.validate(changed(resource, old, owned))
    mine = named("ok", "ns", rules=[rule("get", "pods")])
    check.validate(changed(ROLES, mine, {"labels": labels}))
    bound = binding("x", "big", ("User", "bob"), namespace="ns")
    with pytest.raises(StatusError, match="not currently held"):
        check.validate(changed(ROLE_BINDINGS, bound, {"labels": {"a": "b"}}))
    check.validate(changed(ROLE_BINDINGS, bound, {"finalizers": ["a/b"]}))


def test_nobody_binds_a_role_above_their_own() -> None:
    check = escalation(*MINE)
    check.validate(review(ROLE_BINDINGS, binding("x", "mine", ("User", "bob"), namespace="ns", kind="Role")))
    with pytest.raises(StatusError, match="not currently held"):
        check.validate(review(ROLE_BINDINGS, binding("x", "big", ("User", "alice"), namespace="ns")))
    with pytest.raises(StatusError) as missing:
        check.validate(review(ROLE_BINDINGS, binding("x", "gone", ("User", "alice"), namespace="ns")))
    assert missing.value.code == 404


@pytest.mark.parametrize("verb", ["bind", "escalate"])
def test_the_verbs_that_allow_it(verb: str) -> None:
    group = "rbac.authorization.k8s.io"
    extra = (ROLES, named("mine", "ns", rules=[*GRANTED, rule(verb, "roles clusterroles", group)]))
    check = escalation(*MINE[1:], extra)
    if verb == "bind":
        check.validate(review(ROLE_BINDINGS, binding("x", "big", ("User", "alice"), namespace="ns")))
    else:
        check.validate(review(ROLES, named("bad", "ns", rules=[rule("*", "*", "*")])))


def test_an_aggregating_role_needs_everything() -> None:
    check = escalation(*MINE)
    role = named("agg", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})
    with pytest.raises(StatusError, match="not currently held"):
        check.validate(review(CLUSTER_ROLES, role))
    # Nor does anybody end it who does not hold all: it is others' rights that would go.
    with pytest.raises(StatusError, match="not currently held"):
        check.validate(changed(CLUSTER_ROLES, role, aggregationRule=None, rules=[]))
