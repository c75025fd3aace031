"""What a node may see and write: the graph, the authorizer, and NodeRestriction, by value."""

from __future__ import annotations

from typing import Any

import pytest
from security_fakes import ALICE, FakeCluster, named, pod, review

from control.api.status import StatusError
from control.apiserver.admission.node_restriction import NodeRestriction
from control.apiserver.request import Attributes, Review, User
from control.apiserver.security.nodes.authorizer import NodeAuthorizer
from control.apiserver.security.nodes.graph import NodeGraph
from control.apiserver.security.nodes.references import references

Object = dict[str, Any]
NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))

USES = {
    "serviceAccountName": "builder",
    "imagePullSecrets": [{"name": "registry"}],
    "containers": [
        {
            "name": "c",
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env-secret", "key": "a"}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env-map", "key": "b"}}},
            ],
            "envFrom": [{"secretRef": {"name": "all-secret"}}, {"configMapRef": {"name": "all-map"}}],
        }
    ],
    "volumes": [
        {"name": "a", "secret": {"secretName": "volume-secret"}},
        {"name": "b", "configMap": {"name": "volume-map"}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "d", "projected": {"sources": [{"secret": {"name": "p-secret"}}, {"configMap": {"name": "p-map"}}]}},
        {"name": "e", "csi": {"nodePublishSecretRef": {"name": "csi-secret"}}},
        {"name": "f", "ephemeral": {"volumeClaimTemplate": {}}},
    ],
}
SECRETS = {"registry", "env-secret", "all-secret", "volume-secret", "p-secret", "csi-secret"}


def graph_of(cluster: FakeCluster) -> NodeGraph:
    graph = NodeGraph()
    cluster.subscribe("pods", graph.pod_changed)
    return graph


def authorizer_of(cluster: FakeCluster) -> NodeAuthorizer:
    return NodeAuthorizer(graph_of(cluster), cluster)


def ask(verb: str, resource: str, name: str = "", namespace: str = "ns", **more: str) -> Attributes:
    plural, _, subresource = resource.partition("/")
    return Attributes(verb, resource=plural, subresource=subresource, name=name, namespace=namespace, **more)


@pytest.fixture(scope="module")
def cluster() -> FakeCluster:
    claim_ref = {"claimRef": {"namespace": "ns", "name": "claim"}}
    return FakeCluster(
        ("pods", pod("mine", node="n1", **USES)),
        ("pods", pod("other", node="n2", volumes=[{"name": "v", "secret": {"secretName": "others"}}])),
        ("pods", pod("unbound", volumes=[{"name": "v", "secret": {"secretName": "unbound"}}])),
        ("persistentvolumes", named("bound-volume", spec=claim_ref)),
        ("persistentvolumes", named("free-volume", spec={})),
        ("nodes", named("n1", uid="node-uid")),
    )


def test_every_place_that_names_an_object() -> None:
    assert references(pod(**USES)) == {
        *(("secrets", name) for name in SECRETS),
        *(("configmaps", name) for name in ("env-map", "all-map", "volume-map", "p-map")),
        ("persistentvolumeclaims", "claim"),
        ("persistentvolumeclaims", "p-f"),
        ("serviceaccounts", "builder"),
    }


SELECTOR = "spec.nodeName=n1"
LEASE = {"group": "coordination.k8s.io", "namespace": "kube-node-lease"}


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        *((ask("get", "secrets", name), True) for name in sorted(SECRETS)),
        (ask("watch", "secrets", "env-secret"), True),
        (ask("get", "secrets", "others"), False),
        (ask("get", "secrets", "unbound"), False),
        (ask("get", "secrets", "env-secret", "elsewhere"), False),
        (ask("list", "secrets"), False),
        (ask("update", "secrets", "env-secret"), False),
        (ask("delete", "secrets", "env-secret"), False),
        (ask("get", "configmaps", "volume-map"), True),
        (ask("get", "configmaps", "env-secret"), False),
        (ask("get", "persistentvolumeclaims", "claim"), True),
        (ask("list", "persistentvolumeclaims"), False),
        (ask("get", "persistentvolumes", "bound-volume", ""), True),
        (ask("get", "persistentvolumes", "free-volume", ""), False),
        (ask("create", "serviceaccounts/token", "builder"), True),
        (ask("create", "serviceaccounts/token", "default"), False),
        (ask("list", "serviceaccounts"), False),
        (ask("get", "pods", "mine"), True),
        (ask("get", "pods", "other"), False),
        (ask("list", "pods", namespace="", field_selector=SELECTOR), True),
        (ask("watch", "pods", namespace="", field_selector=f"status.phase!=Failed,{SELECTOR}"), True),
        (ask("list", "pods", namespace="", field_selector="spec.nodeName=n2"), False),
        (ask("list", "pods", namespace="", field_selector="spec.nodeName!=n1"), False),
        (ask("list", "pods", namespace="", field_selector="nonsense"), False),
        (ask("list", "pods", namespace=""), False),
        (ask("patch", "pods/status", "mine"), True),
        (ask("patch", "pods/status", "other"), False),
        (ask("patch", "pods", "mine"), False),
        (ask("delete", "pods", "mine"), True),
        (ask("delete", "pods", "other"), False),
        (ask("create", "pods/binding", "unbound"), False),
        (ask("create", "pods/exec", "mine"), False),
        (ask("create", "nodes", namespace=""), True),
        (ask("get", "nodes", "n1", ""), True),
        (ask("patch", "nodes/status", "n1", ""), True),
        (ask("patch", "nodes/status", "n2", ""), False),
        (ask("get", "nodes", "n2", ""), False),
        (ask("list", "nodes", namespace=""), False),
        (ask("delete", "nodes", "n1", ""), False),
        (ask("update", "leases", "n1", **LEASE), True),
        (ask("update", "leases", "n2", **LEASE), False),
        (ask("list", "leases", **LEASE), False),
        (ask("update", "leases", "n1", group="coordination.k8s.io"), False),
        (ask("list", "services"), True),
        (ask("create", "events"), True),
        (ask("list", "deployments", group="apps"), False),
        (ask("create", "pods"), True),
    ],
)
def test_what_the_node_may(cluster: FakeCluster, asked: Attributes, allowed: bool) -> None:
    assert authorizer_of(cluster).authorize(NODE, asked).allowed is allowed


def test_others_are_no_nodes(cluster: FakeCluster) -> None:
    authorizer = authorizer_of(cluster)
    asked = ask("get", "secrets", "env-secret")
    assert not authorizer.authorize(ALICE, asked).allowed
    assert not authorizer.authorize(User("system:node:n1"), asked).allowed
    assert not authorizer.authorize(User("system:node:", groups=("system:nodes",)), asked).allowed
    refusal = authorizer.authorize(User("system:node:n9", groups=("system:nodes",)), asked)
    assert "no relationship found between node 'n9' and this object" in refusal.reason


def test_rights_come_and_go_with_pods() -> None:
    cluster = FakeCluster(("pods", pod("a", node="n1", **USES)), ("pods", pod("b", node="n1", **USES)))
    graph = graph_of(cluster)
    cluster.remove("pods", "ns", "a")
    assert graph.has("n1", "secrets", "ns", "env-secret")
    cluster.put("pods", pod("b", node="n1", volumes=[{"name": "v", "secret": {"secretName": "new"}}]))
    assert not graph.has("n1", "secrets", "ns", "env-secret")
    assert graph.has("n1", "secrets", "ns", "new")
    cluster.remove("pods", "ns", "b")
    assert not graph.has("n1", "secrets", "ns", "new")
    assert not graph._nodes


def test_a_mirror_pod_gives_no_rights() -> None:
    mirror = pod("m", node="n1", **USES)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    graph = graph_of(FakeCluster(("pods", mirror)))
    assert graph.has("n1", "pods", "ns", "m")
    assert not graph.has("n1", "secrets", "ns", "env-secret")


# ---- what is written ----

OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "node-uid", "controller": True}


def mirror_pod(**fields: Any) -> Object:
    found = pod("static", node="n1", **fields)
    found["metadata"] |= {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [OWNER]}
    return found


def node(**fields: Any) -> Object:
    return named("n1", **fields)


def token(name: str = "mine", uid: str = "") -> Object:
    reference = {"kind": "Pod", "name": name, "uid": uid} if uid else {"kind": "Pod", "name": name}
    return named("builder", "ns", spec={"boundObjectRef": reference})


def write(resource: str, obj: Object | None = None, **more: Any) -> Review:
    return review(resource, obj, user=NODE, **more)


def test_what_the_node_may_write(cluster: FakeCluster) -> None:
    plugin = NodeRestriction(cluster)
    mine = cluster.get("pods", "ns", "mine")
    assert mine is not None
    labels = {"kubernetes.io/hostname": "n1", "example.com/rack": "3", "team": "x"}
    for allowed in (
        write("pods", mirror_pod()),
        write("pods", mine, operation="UPDATE", old=mine, subresource="status"),
        write("pods", operation="DELETE", old=mine),
        write("pods", named("mine", "ns"), subresource="eviction"),
        write("nodes", node(labels=labels, spec={"taints": [{"key": "a"}]})),
        write("nodes", node(labels=labels), operation="UPDATE", old=node()),
        write("serviceaccounts", token(uid=mine["metadata"]["uid"]), subresource="token"),
        write("leases.coordination.k8s.io", named("n1", "kube-node-lease")),
        write("events", named("e", "ns")),
        review("nodes", named("n9", labels={"node-role.kubernetes.io/x": ""}), user=ALICE),
    ):
        plugin.validate(allowed)


OTHER = pod("other", node="n2")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda: write("pods", pod(node="n1")), "can only create mirror pods"),
        (lambda: write("pods", mirror_pod(serviceAccountName="builder")), "reference serviceaccounts"),
        (lambda: write("pods", mirror_pod(**{**USES, "serviceAccountName": ""})), "can not create pods that reference"),
        (
            lambda: write("pods", pod(node="n1") | {"metadata": mirror_pod()["metadata"] | {"ownerReferences": []}}),
            "owner",
        ),
        (lambda: write("pods", operation="DELETE", old=OTHER), "can only delete pods"),
        (lambda: write("pods", OTHER, operation="UPDATE", old=OTHER, subresource="status"), "only update pod status"),
        (lambda: write("pods", named("other", "ns"), subresource="eviction"), "can only evict"),
        (lambda: write("pods", OTHER, operation="UPDATE", old=OTHER), "unexpected pod operation"),
        (lambda: write("nodes", named("n2")), 'not allowed to modify node "n2"'),
        (lambda: write("nodes", node(labels={"node-role.kubernetes.io/control-plane": ""})), "modify labels"),
        (lambda: write("nodes", node(labels={"node-restriction.kubernetes.io/x": ""})), "modify labels"),
        (
            lambda: write("nodes", node(spec={"taints": []}), operation="UPDATE", old=node(spec={"taints": [1]})),
            "taints",
        ),
        (lambda: write("nodes", operation="DELETE", old=node()), "delete itself"),
        (lambda: write("serviceaccounts", token(), subresource="token"), "missing pod uid"),
        (lambda: write("serviceaccounts", token(uid="wrong"), subresource="token"), "different node"),
        (lambda: write("serviceaccounts", named("b", "ns"), subresource="token"), "not bound to a pod"),
        (lambda: write("leases.coordination.k8s.io", named("n2", "kube-node-lease")), "its own lease"),
    ],
)
def test_what_the_node_may_not_write(cluster: FakeCluster, asked: Any, says: str) -> None:
    with pytest.raises(StatusError, match=says) as refused:
        NodeRestriction(cluster).validate(asked())
    assert refused.value.code == 403
