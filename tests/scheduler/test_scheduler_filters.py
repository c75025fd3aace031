"""Who can take a pod, and in which words the others are told about: kube-scheduler's."""

from __future__ import annotations

from typing import Any

import pytest
from scheduling_objects import cluster, node, pod, where

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"


def required(*terms: Any) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def test_no_nodes() -> None:
    assert where(cluster(), pod("p")) == "no nodes available to schedule pods"


def test_resources_count_each_that_lacks() -> None:
    full = pod("other", "3", "7Gi", node="a")
    nodes = cluster(node("a"), node("b", cpu="1", memory="1Gi"), node("c", pods="0"), pods=(full,))
    assert where(nodes, pod("p", "2", "2Gi")) == (
        "0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu, 2 Insufficient memory."
    )
    assert where(nodes, pod("p", "1", "1Gi")) == "a"


def test_extended_resources() -> None:
    nodes = cluster(node("a"), node("b", extended={"example.com/gpu": "2"}))
    assert where(nodes, pod("p", extended={"example.com/gpu": "2"})) == "b"
    assert where(nodes, pod("p", extended={"example.com/gpu": "3"})) == (
        "0/2 nodes are available: 2 Insufficient example.com/gpu."
    )


HUGE = "9999999999999999999"


@pytest.mark.parametrize(
    ("asks", "lacks"),
    [
        ({"cpu": HUGE}, "cpu"),
        ({"memory": "9300P"}, "memory"),
        ({"memory": "16Ei"}, "memory"),
        ({"extended": {"example.com/gpu": HUGE}}, "example.com/gpu"),
        ({"extended": {"example.com/unknown": "1"}}, "example.com/unknown"),
        ({"overhead": {"memory": HUGE}}, "memory"),
        ({"initContainers": [{"name": "i", "resources": {"requests": {"memory": "9300P"}}}]}, "memory"),
    ],
)
def test_more_than_any_node_can_have_is_lacking_as_anything_else(asks: dict[str, Any], lacks: str) -> None:
    nodes = cluster(node("a", extended={"example.com/gpu": "2"}))
    assert where(nodes, pod("p", **asks)) == f"0/1 nodes are available: 1 Insufficient {lacks}."


def test_less_than_nothing_takes_nothing() -> None:
    assert pod("p", overhead={"cpu": "-1"}).requests == {"cpu": 0, "pods": 1}


def test_a_node_that_says_it_has_no_end_of_something() -> None:
    assert where(cluster(node("a", memory="9300P")), pod("p", memory="1Gi")) == "a"


def test_init_containers_and_sidecars_count_as_kubernetes_counts_them() -> None:
    def container(cpu: str, **more: str) -> dict[str, Any]:
        return {"name": cpu, "resources": {"requests": {"cpu": cpu}}, **more}

    init = [container("3"), container("1", restartPolicy="Always"), container("2")]
    wants = pod("p", containers=[container("1"), container("500m")], initContainers=init, overhead={"cpu": "250m"})
    # Running: 1 + 0.5 + sidecar 1; starting: max(3, sidecar 1 + 2); overhead on top.
    assert wants.requests == {"cpu": 3250, "pods": 1}


def test_cordoned_nodes() -> None:
    nodes = cluster(node("a", unschedulable=True), node("b", unschedulable=True))
    assert where(nodes, pod("p")) == "0/2 nodes are available: 2 node(s) were unschedulable."
    tolerant = [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]
    assert where(nodes, pod("p", tolerations=tolerant)) in ("a", "b")


def test_node_name_of_a_pod_that_asks_for_it() -> None:
    nodes = cluster(node("a"), node("b"))
    assert where(nodes, pod("p", node="b")) == "b"
    assert where(nodes, pod("p", node="z")) == (
        "0/2 nodes are available: 2 node(s) didn't match the requested node name."
    )


@pytest.mark.parametrize(
    ("toleration", "allowed"),
    [
        (None, False),
        ({"key": "dedicated", "operator": "Equal", "value": "db", "effect": "NoSchedule"}, True),
        ({"key": "dedicated", "operator": "Equal", "value": "db"}, True),
        ({"key": "dedicated", "operator": "Equal", "value": "web"}, False),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_taints(toleration: dict[str, str] | None, allowed: bool) -> None:
    nodes = cluster(node("a", taints=["dedicated=db:NoSchedule"]))
    found = where(nodes, pod("p", tolerations=[toleration] if toleration else []))
    assert found == ("a" if allowed else "0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: db}.")


def test_prefer_no_schedule_keeps_nobody_away() -> None:
    assert where(cluster(node("a", taints=["k=v:PreferNoSchedule"])), pod("p")) == "a"


@pytest.mark.parametrize(
    ("term", "names"),
    [
        (expression("disk", "In", "ssd", "nvme"), "ab"),
        (expression("disk", "NotIn", "ssd"), "bcd"),
        (expression("disk", "Exists"), "abc"),
        (expression("disk", "DoesNotExist"), "d"),
        (expression("cores", "Gt", "4"), "ac"),
        (expression("cores", "Lt", "5"), "b"),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["c"]}]}, "c"),
        ({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["c"]}]}, "abd"),
        ({}, ""),
    ],
)
def test_node_affinity(term: dict[str, Any], names: str) -> None:
    labels = {
        "a": {"disk": "ssd", "cores": "8"},
        "b": {"disk": "nvme", "cores": "4"},
        "c": {"disk": "hdd", "cores": "16"},
        "d": {"cores": "many"},
    }
    for name, of in labels.items():
        found = where(cluster(node(name, labels=of)), pod("p", affinity=required(term)))
        expected = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        assert found == (name if name in names else expected)


@pytest.mark.parametrize(
    ("label", "bound", "greater"),
    [
        ("6", "5", True),
        ("+6", "5", True),
        ("06", "5", True),
        ("1_000", "5", False),
        ("\u0667", "5", False),
        (" 6", "5", False),
        ("9223372036854775807", "5", True),
        ("9223372036854775808", "5", False),
        ("6", "1_0", False),
        ("6", "-9223372036854775809", False),
        ("6", "1" * 5000, False),
    ],
)
def test_only_whole_numbers_of_64_bits_compare(label: str, bound: str, greater: bool) -> None:
    found = where(cluster(node("a", labels={"n": label})), pod("p", affinity=required(expression("n", "Gt", bound))))
    assert (found == "a") is greater


def test_terms_are_alternatives_and_the_selector_is_not() -> None:
    nodes = cluster(node("a", labels={"x": "1"}), node("b", labels={"y": "1"}), node("c", labels={"y": "1", "z": "1"}))
    either = required(expression("x", "Exists"), expression("y", "Exists"))
    assert where(nodes, pod("p", affinity=either, nodeSelector={"z": "1"})) == "c"


def test_host_ports() -> None:
    taken = pod("other", ports=[8080], node="a")
    nodes = cluster(node("a"), pods=(taken,))
    text = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    assert where(nodes, pod("p", ports=[8080])) == text
    assert where(nodes, pod("p", ports=[8081])) == "a"
    nodes.remove_pod(taken.uid)
    assert where(nodes, pod("p", ports=[8080])) == "a"


def affinity(kind: str, key: str, app: str, **more: Any) -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def test_pod_affinity_and_the_first_of_its_kind() -> None:
    zones = [node(name, labels={ZONE: zone}) for name, zone in (("a", "1"), ("b", "1"), ("c", "2"))]
    near = {"labels": {"app": "web"}, "affinity": affinity("podAffinity", ZONE, "web")}
    assert where(cluster(*zones), pod("first", **near)) in "abc"
    nodes = cluster(*zones, pods=(pod("other", node="c", labels={"app": "web"}),))
    assert where(nodes, pod("p", **near)) == "c"
    lonely = pod("p", affinity=affinity("podAffinity", ZONE, "db"))
    assert where(nodes, lonely) == "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."


def both_terms(one: str, other: str = "") -> dict[str, Any]:
    """Near pods of app=web, and near pods of version=v2; by the same topology key, or by two."""
    found = ((one, {"app": "web"}), (other or one, {"version": "v2"}))
    terms = [{"topologyKey": key, "labelSelector": {"matchLabels": labels}} for key, labels in found]
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def test_company_is_who_all_terms_find() -> None:
    nodes = cluster(node("a", labels={ZONE: "1"}), node("b", labels={ZONE: "2"}), node("c"))
    nodes.add_pod(pod("web", node="a", labels={"app": "web", "version": "v1"}))
    nodes.add_pod(pod("v2", node="a", labels={"app": "db", "version": "v2"}))
    new = {"app": "web", "version": "v2"}
    assert where(nodes, pod("first", labels=new, affinity=both_terms(ZONE))) in "ab", "neither of the two is its like"
    stranger = pod("stranger", labels={"app": "web"}, affinity=both_terms(ZONE))
    assert where(nodes, stranger) == "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
    nodes.add_pod(pod("first", node="b", labels=new))
    assert where(nodes, stranger) == "b"
    assert where(nodes, pod("second", labels=new, affinity=both_terms(ZONE, HOST))) == "b"
    assert where(nodes, pod("third", labels=new, affinity=both_terms(HOST, ZONE))) == "b"


def test_anti_affinity_of_both_sides() -> None:
    apart = affinity("podAntiAffinity", HOST, "web")
    there = pod("other", node="a", labels={"app": "web"}, affinity=apart)
    nodes = cluster(node("a"), pods=(there,))
    assert where(nodes, pod("p", affinity=apart)) == (
        "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."
    )
    assert where(nodes, pod("p", labels={"app": "web"})) == (
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    )
    assert where(nodes, pod("p", labels={"app": "web"}, affinity=apart)) == (
        "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."
    ), "both sides refuse, and the node is counted once"
    assert where(nodes, pod("p", labels={"app": "web"}, namespace="elsewhere")) == "a"


def test_namespaces_of_terms() -> None:
    nodes = cluster(node("a"), pods=(pod("other", node="a", namespace="prod", labels={"app": "web"}),))
    nodes.put_namespace("prod", {"team": "x"})
    for more, allowed in (
        ({}, True),
        ({"namespaces": ["prod"]}, False),
        ({"namespaceSelector": {}}, False),
        ({"namespaceSelector": {"matchLabels": {"team": "x"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}}, True),
    ):
        apart = affinity("podAntiAffinity", HOST, "web", **more)
        assert (where(nodes, pod("p", affinity=apart)) == "a") is allowed, more


def spread(key: str, skew: int = 1, **more: Any) -> list[dict[str, Any]]:
    selector = {"matchLabels": {"app": "web"}}
    return [
        {"topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector, **more}
    ]


def test_topology_spread() -> None:
    zones = [node(name, labels={ZONE: zone}) for name, zone in (("a", "1"), ("b", "1"), ("c", "2"))]
    web = {"labels": {"app": "web"}}
    nodes = cluster(*zones, node("d"), pods=(pod("1", node="a", **web), pod("2", node="c", **web)))
    nodes.add_pod(pod("3", node="b", **web))
    assert where(nodes, pod("p", topologySpreadConstraints=spread(ZONE), **web)) == "c"
    nodes.remove_node("c")
    assert where(nodes, pod("p", topologySpreadConstraints=spread(ZONE, minDomains=2), **web)) == (
        "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), "
        "2 node(s) didn't match pod topology spread constraints."
    )
    assert where(nodes, pod("p", topologySpreadConstraints=spread(ZONE), **web)) in "ab"


def test_a_node_that_breaks_two_constraints_is_counted_once() -> None:
    nodes = cluster(node("a", labels={ZONE: "1"}), node("b", labels={ZONE: "2"}, unschedulable=True))
    nodes.add_pod(pod("other", node="a", labels={"app": "web"}))
    ignoring = {"nodeTaintsPolicy": "Ignore"}
    both = spread(ZONE, **ignoring) + spread(HOST, **ignoring)
    assert where(nodes, pod("p", labels={"app": "web"}, topologySpreadConstraints=both)) == (
        "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable."
    )


def test_spread_counts_by_template_hash() -> None:
    """matchLabelKeys: an old revision's pods do not count."""
    labels = {"app": "web", "hash": "new"}
    nodes = cluster(node("a"), node("b"), pods=(pod("old", node="a", labels={"app": "web", "hash": "old"}),))
    nodes.add_pod(pod("1", node="b", labels=labels))
    one = pod("p", labels=labels, topologySpreadConstraints=spread(HOST, matchLabelKeys=["hash"]))
    assert where(nodes, one) == "a"
