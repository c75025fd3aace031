"""Which of the nodes that can take a pod is taken."""

from __future__ import annotations

from typing import Any

from harness.plan import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling_objects import cluster, node, pod, where

from control.scheduler.cluster import Cluster
from control.scheduler.cycle import decide

ZONE = "topology.kubernetes.io/zone"
MIB = 1 << 20


def test_the_emptier_node() -> None:
    nodes = cluster(node("a"), node("b"), pods=(pod("other", "2", "4Gi", node="a"),))
    assert where(nodes, pod("p", "1", "1Gi")) == "b"


def test_cpu_and_memory_in_balance() -> None:
    nodes = cluster(node("a"), node("b"))
    nodes.add_pod(pod("1", "3", "1Gi", node="a"))
    nodes.add_pod(pod("2", "2", "4Gi", node="b"))
    # Both are half taken on average; more CPU would leave a's memory unused.
    assert where(nodes, pod("p", "500m", "512Mi")) == "b"


def test_pods_of_one_owner_spread_unasked() -> None:
    """Over hosts and over zones."""
    nodes = cluster(*(node(name, labels={ZONE: zone}) for name, zone in (("a", "1"), ("b", "1"), ("c", "2"))))
    seen = []
    for number in range(6):
        one = pod(f"p{number}", owner="rs")
        seen.append(decide(nodes, one, number).node)
        nodes.add_pod(one, seen[-1])
    assert {seen[0] in "ab", seen[1] in "ab"} == {True, False}, "the first two in different zones"
    assert [seen.count(name) for name in "abc"] == [2, 2, 2]


def test_pods_that_ask_for_nothing_spread_too() -> None:
    nodes = cluster(node("a"), node("b"))
    for number in range(10):
        one = pod(f"p{number}")
        nodes.add_pod(one, decide(nodes, one, number).node)
    assert {len(pods) for pods in nodes.pods.values()} == {5}


def test_preferences() -> None:
    nodes = cluster(
        node("a"),
        node("b", labels={"disk": "ssd"}),
        node("c", labels={"disk": "ssd"}, taints=["old=:PreferNoSchedule"]),
    )
    wish = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
            ]
        }
    }
    assert where(nodes, pod("p", affinity=wish)) == "b"


def near(app: str, weight: int, kind: str) -> dict[str, Any]:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": term}]}}


def test_company_that_is_wished_for_or_not() -> None:
    nodes = cluster(node("a"), node("b"), pods=(pod("cache", "1", node="a", labels={"app": "cache"}),))
    assert where(nodes, pod("p", affinity=near("cache", 100, "podAffinity"))) == "a"
    assert where(nodes, pod("p", affinity=near("cache", 100, "podAntiAffinity"))) == "b"
    shy = pod("shy", node="b", labels={"app": "shy"}, affinity=near("web", 100, "podAntiAffinity"))
    nodes.add_pod(shy)
    nodes.add_pod(pod("load", "2", "4Gi", node="a"))
    assert where(nodes, pod("p", labels={"app": "web"})) == "a", "those who are there wish, too"


def test_images_that_are_there() -> None:
    nodes = cluster(node("a"), node("b", images={"app:latest": 900 * MIB}))
    nodes.add_pod(pod("load", "100m", node="b"))
    assert where(nodes, pod("p")) == "b"


def test_ties_are_broken_by_turns() -> None:
    nodes = cluster(*(node(f"n{i}") for i in range(4)))
    assert {decide(nodes, pod("p"), turn).node for turn in range(4)} == {"n0", "n1", "n2", "n3"}


def test_a_nominated_node_is_taken_if_it_fits() -> None:
    nodes = cluster(node("a"), node("b"), pods=(pod("other", "3", node="a"),))
    assert where(nodes, pod("p", "1", status={"nominatedNodeName": "a"})) == "a"
    assert where(nodes, pod("p", "2", status={"nominatedNodeName": "a"})) == "b"


moves = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "node", "gone"]), st.integers(0, 5), st.integers(0, 30)), max_size=60
)


@settings(max_examples=examples(150), deadline=None)
@given(moves)
def test_the_columns_agree_with_the_pods(steps: list[tuple[str, int, int]]) -> None:
    """Whatever comes and goes in whatever order, pods before their nodes too: what is used is the sum over the pods."""
    nodes = Cluster()
    here: dict[str, Any] = {}
    for step, at, number in steps:
        match step:
            case "add":
                one = pod(f"p{number}", f"{number}m", node=f"n{at}", uid=f"u{number}", ports=[number + 1], owner="o")
                here[one.uid] = one
                nodes.add_pod(one)
            case "remove":
                here.pop(f"u{number}", None)
                nodes.remove_pod(f"u{number}")
            case "node":
                nodes.put_node(node(f"n{at}", labels={"zone": str(number)}))
            case "gone":
                nodes.remove_node(f"n{at}")
    for name, row in nodes.rows.items():
        pods = [one for one in here.values() if one.node == name]
        assert nodes.used[row, 0] == sum(one.requests.get("cpu", 0) for one in pods)
        assert nodes.used[row, 2] == len(pods) == len(nodes.pods[row])
        assert {uid for uid, at in nodes.placed.items() if at == row} == {one.uid for one in pods}
    counted = [by_row for tally in nodes.sorts.values() for _, by_row in tally.items()]
    assert sum(sum(by_row.values()) for by_row in counted) == len(nodes.placed), "each counts with its like"
    assert nodes.there.sum() == len(nodes.rows) == nodes.size
    assert nodes.used[~nodes.there].sum() == 0
    assert sum(map(len, nodes.ports.values())) == len(nodes.placed)
