"""Making room for what is more important, at the least loss."""

from __future__ import annotations

from typing import Any

import pytest
from scheduling_objects import cluster, node, pod
from scheduling_turns import finished

from control.scheduler.cluster import Cluster
from control.scheduler.cycle import Reserved, decide
from control.scheduler.model import Model
from control.scheduler.pod import Pod
from control.scheduler.preemption import Budgets, Plan, search


def preempt(nodes: Cluster, one: Pod, *budgets: Any) -> Plan:
    decision = decide(nodes, one)
    assert decision.diagnosis is not None
    before = nodes.used.copy(), dict(nodes.placed)
    found = finished(search(nodes, one, decision.diagnosis, Budgets(budgets)))
    assert (nodes.used == before[0]).all(), "thinking changes nothing"
    assert nodes.placed == before[1]
    return found


def names(found: Plan) -> tuple[str, set[str]]:
    return found.node, {victim.name for victim in found.victims}


def test_the_least_important_go_and_no_more_than_needed() -> None:
    nodes = cluster(
        node("a"),
        pods=tuple(pod(f"p{priority}", "1", node="a", priority=priority) for priority in (1, 2, 3, 4)),
    )
    assert names(preempt(nodes, pod("vip", "2", priority=10))) == ("a", {"p1", "p2"})


def test_the_node_where_least_is_lost() -> None:
    nodes = cluster(node("a"), node("b"), node("c"))
    nodes.add_pod(pod("high", "4", node="a", priority=50))
    nodes.add_pod(pod("low1", "2", node="b", priority=5))
    nodes.add_pod(pod("low2", "2", node="b", priority=5))
    nodes.add_pod(pod("low3", "4", node="c", priority=5))
    assert names(preempt(nodes, pod("vip", "3", priority=100))) == ("c", {"low3"})


def budget(app: str, allowed: int) -> dict[str, Any]:
    return {
        "metadata": {"name": app, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed},
    }


def test_budgets_are_honoured_where_possible() -> None:
    nodes = cluster(node("a"), node("b"))
    nodes.add_pod(pod("guarded", "4", node="a", priority=1, labels={"app": "db"}))
    nodes.add_pod(pod("free", "4", node="b", priority=2))
    vip = pod("vip", "4", priority=10)
    assert names(preempt(nodes, vip, budget("db", 0))) == ("b", {"free"})
    assert names(preempt(nodes, vip, budget("db", 1))) == ("a", {"guarded"})
    nodes.remove_node("b")
    assert names(preempt(nodes, vip, budget("db", 0))) == ("a", {"guarded"}), "not at any price"


@pytest.mark.parametrize("selector", [{}, None])
def test_a_budget_for_everybody_guards_nobody_from_preemption(selector: Any) -> None:
    """So it is in kube-scheduler, though evictions look at such a budget."""
    nodes = cluster(node("a"), node("b"))
    nodes.add_pod(pod("first", "4", node="a", priority=1, labels={"app": "db"}))
    nodes.add_pod(pod("second", "4", node="b", priority=2, namespace="elsewhere"))
    everybody = {**budget("all", 0), "spec": {"selector": selector}}
    assert names(preempt(nodes, pod("vip", "4", priority=10), everybody)) == ("a", {"first"})


def test_no_budget_guards_a_pod_without_labels() -> None:
    nodes = cluster(node("a"), node("b"))
    nodes.add_pod(pod("bare", "4", node="a", priority=1))
    nodes.add_pod(pod("other", "4", node="b", priority=2, namespace="elsewhere"))
    without = {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}
    wide = {**budget("all", 0), "spec": {"selector": without}}
    assert names(preempt(nodes, pod("vip", "4", priority=10), wide)) == ("a", {"bare"})


def test_who_cannot_be_helped_is_told_why() -> None:
    nodes = cluster(
        node("a", labels={"x": "1"}),
        node("b", taints=["k=v:NoSchedule"]),
        node("c"),
        pods=(pod("equal", "4", node="a", priority=10), pod("low", "4", node="b", priority=1)),
    )
    found = preempt(nodes, pod("vip", "4", priority=10, nodeSelector={"x": "1"}))
    assert found == Plan(
        "",
        refusal="0/3 nodes are available: 1 No preemption victims found for incoming pod, "
        "2 Preemption is not helpful for scheduling.",
    )


def test_anti_affinity_can_be_preempted_too() -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    nodes = cluster(node("a"), pods=(pod("web", node="a", labels={"app": "web"}, priority=1),))
    assert names(preempt(nodes, pod("vip", affinity=apart, priority=2))) == ("a", {"web"})


def test_a_promised_place_is_not_given_away() -> None:
    nodes = cluster(node("a"))
    vip, later, more = pod("vip", "3", priority=10), pod("later", "2", priority=5), pod("more", "2", priority=20)
    assert decide(nodes, later, reserved=[(vip, "a")]).node == ""
    assert decide(nodes, more, reserved=[(vip, "a")]).node == "a", "to the more important it is"
    assert decide(nodes, vip, reserved=[(vip, "a")]).node == "a"
    assert not nodes.placed


def test_a_promised_place_is_not_won_by_preemption_either() -> None:
    """One pod was told to leave `a` for the first; for the second there must be another node, or none."""
    nodes = cluster(node("a"), node("b"))
    nodes.add_pod(pod("low-a", "2", node="a", priority=1))
    nodes.add_pod(pod("low-b", "4", node="b", priority=2))
    first, second = pod("first", "4", priority=10), pod("second", "4", priority=10)
    decision = decide(nodes, second)

    def plan(*reserved: Reserved) -> tuple[str, set[str]]:
        assert decision.diagnosis is not None
        return names(finished(search(nodes, second, decision.diagnosis, Budgets([]), 0, lambda: reserved)))

    assert plan() == ("a", {"low-a"})
    assert plan((first, "a")) == ("b", {"low-b"})
    assert plan((first, "a"), (pod("third", "4", priority=10), "b"))[0] == ""
    assert plan((pod("minor", "4", priority=5), "a")) == ("a", {"low-a"}), "the less important give way"
    assert plan((first, "gone")) == ("a", {"low-a"}), "a node that is no more holds nobody's place"
    assert set(nodes.placed) == {uid for row in nodes.pods.values() for uid in row}
    assert len(nodes.placed) == 2


def test_promises_elsewhere_count_for_who_looks_around() -> None:
    """The pod wants to be alone in its zone, and another like it has a promise on the other node there."""
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    nodes = cluster(*(node(name, labels={"zone": zone}) for name, zone in (("a", "x"), ("b", "x"), ("c", "y"))))
    for name in "abc":
        nodes.add_pod(pod(f"low-{name}", "4", node=name, priority=1 if name != "c" else 2))
    labels = {"app": "db"}
    first = pod("first", "4", priority=10, labels=labels)
    second = pod("second", "4", priority=10, labels=labels, affinity=apart)
    decision = decide(nodes, second)
    assert decision.diagnosis is not None
    steps = search(nodes, second, decision.diagnosis, Budgets([]), 0, lambda: [(first, "a")])
    assert names(finished(steps)) == ("c", {"low-c"})


def test_who_has_taken_its_promised_place_keeps_it() -> None:
    """It is being bound: a decision about another pod must not make its place look free."""
    model = Model(frozenset({"default-scheduler"}))
    model.node_changed(None, node("a"), 0.0)
    vip, other, chief = (pod(name, "3", priority=number) for name, number in (("vip", 10), ("other", 1), ("chief", 20)))
    model.promise(vip, "a")
    model.assume(vip, "a")
    assert model.decide(other).node == ""
    assert model.decide(chief).node == "", "not even for the more important: it is taken, no longer promised"
