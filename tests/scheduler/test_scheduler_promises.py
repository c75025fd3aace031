"""Places that pods get when others have left: kept as long as they make sense, by every leader, and not longer."""

from __future__ import annotations

from typing import Any

import pytest
from scheduling_objects import cluster, node, pod, pod_object
from scheduling_turns import finished, leaving, model_of, promised, turn, with_field

from control.scheduler.cycle import decide
from control.scheduler.preemption import Budgets, search

STILL_LEAVING = "preemption: not eligible due to a terminating pod on the nominated node."
DB = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}
NEAR_DB = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [DB]}}


def test_a_promise_ends_when_nobody_can_help_any_more() -> None:
    ssd, low = node("a", labels={"disk": "ssd"}), pod_object("low", "4", node="a", priority=1)
    of = model_of(ssd, low, pod_object("vip", "4", priority=10, nodeSelector={"disk": "ssd"}))
    assert turn(of, 0.0) == {"vip": "a < low"}
    of.pod_changed(low, None, 0.5)
    of.pod_changed(None, pod_object("other", "1", priority=5), 0.5)
    assert "Insufficient cpu" in turn(of, 0.5)["other"]
    of.node_changed(ssd, node("a"), 0.6)
    said = turn(of, 5.0)
    assert "Preemption is not helpful" in said["vip"]
    assert said["other"] == "a"
    assert promised(of) == {}


def two_nodes(**vip: Any) -> Any:
    """vip has a promise on `a`; low-b on `b` would be the other choice. (model, low-a, vip)"""
    low = pod_object("low-a", "4", node="a", priority=1)
    wants = pod_object("vip", "4", priority=10, **vip)
    of = model_of(node("a"), node("b"), low, pod_object("low-b", "4", node="b", priority=2), wants)
    return of, low, wants


def test_while_those_told_to_go_are_leaving_nobody_else_must() -> None:
    of, low, vip = two_nodes()
    assert turn(of, 0.0) == {"vip": "a < low-a"}
    of.pod_changed(vip, with_field(vip, "metadata", labels={"new": "one"}), 2.0)
    assert STILL_LEAVING in turn(of, 2.0)["vip"], "they were told, though it cannot be seen of them yet"
    of.pod_changed(low, leaving(low), 3.0)
    of.node_changed(None, node("c", cpu="1"), 10.0)
    assert STILL_LEAVING in turn(of, 10.0)["vip"]
    assert promised(of) == {"vip": "a"}
    of.pod_changed(leaving(low), None, 20.0)
    assert turn(of, 20.0) == {"vip": "a"}


def test_a_node_that_it_could_not_use_is_not_waited_for() -> None:
    of, low, _ = two_nodes()
    assert turn(of, 0.0) == {"vip": "a < low-a"}
    of.pod_changed(low, leaving(low), 0.1)
    of.node_changed(node("a"), node("a", taints=["k=v:NoSchedule"]), 1.0)
    assert turn(of, 5.0) == {"vip": "b < low-b"}
    assert promised(of) == {"vip": "b"}


def test_pods_that_leave_for_reasons_of_their_own_are_not_waited_for() -> None:
    idle = pod_object("idle", "1", node="a", priority=0)
    low = pod_object("low", "3", node="a", priority=1)
    of = model_of(node("a"), low, pod_object("vip", "3", priority=10))
    assert turn(of, 0.0) == {"vip": "a < low"}
    of.pod_changed(low, None, 1.0)
    of.pod_changed(None, pod_object("chief", "3", priority=20, node="a"), 1.0)
    of.pod_changed(None, leaving(idle, preempted=False), 1.0)
    of.node_changed(None, node("c"), 2.0)
    of.pod_changed(None, pod_object("low-c", "4", node="c", priority=1), 2.0)
    assert turn(of, 5.0) == {"vip": "c < low-c"}


def test_a_new_leader_knows_the_nominations_of_the_last_one() -> None:
    low_a, low_b = pod_object("low-a", "4", node="a", priority=2), pod_object("low-b", "4", node="b", priority=1)
    vip = pod_object("vip", "4", priority=10, status={"nominatedNodeName": "a"})
    of = model_of(node("a"), node("b"), leaving(low_a), low_b, vip)
    assert promised(of) == {"vip": "a"}
    assert STILL_LEAVING in turn(of, 0.0)["vip"], "low-b would be the cheaper one, but low-a is leaving already"
    of.pod_changed(leaving(low_a), None, 5.0)
    of.pod_changed(None, pod_object("small", "1", priority=1), 5.0)
    assert turn(of, 5.0)["vip"] == "a"


def test_a_nomination_that_was_there_before_does_not_undo_a_promise() -> None:
    """Its status tells of the promise later than we made it."""
    of, _, vip = two_nodes()
    assert turn(of, 0.0) == {"vip": "a < low-a"}
    of.pod_changed(vip, with_field(vip, "status", conditions=[]), 0.1)
    assert promised(of) == {"vip": "a"}
    nominated = with_field(vip, "status", nominatedNodeName="a")
    of.pod_changed(vip, nominated, 0.2)
    assert of.promises.made[vip["metadata"]["uid"]].victims, "nor is it forgotten who was told"
    of.pod_changed(nominated, with_field(vip, "status", nominatedNodeName="b"), 0.3)
    assert promised(of) == {"vip": "b"}
    of.pod_changed(with_field(vip, "status", nominatedNodeName="b"), vip, 0.4)
    assert promised(of) == {}


@pytest.mark.parametrize("told", [True, False])
def test_a_preemption_that_could_not_be_written_is_tried_again(told: bool) -> None:
    of = model_of(node("a"), *(pod_object(f"low{n}", "2", node="a", priority=1) for n in range(2)))
    of.pod_changed(None, pod_object("vip", "4", priority=10), 0.0)
    vip = of.queue.take(0.0)
    assert vip is not None
    decision = of.decide(vip)
    plan = finished(of.preempt(vip, decision))
    of.queue.failed(vip.uid, {"NodeResourcesFit"}, 0.0)
    of.promise(vip, "a", plan.victims)
    of.preemption_failed(vip, plan.victims[:1] if told else (), 0.5)
    assert promised(of) == ({"vip": "a"} if told else {})
    assert of.queue.take(0.5) is None
    assert (STILL_LEAVING in turn(of, 1.0)["vip"]) is told


def test_at_the_end_of_a_term_only_what_can_be_seen_of_victims_counts() -> None:
    """The next time that we lead, a victim that was not told yet is no reason to wait."""
    of, _, _ = two_nodes()
    assert turn(of, 0.0) == {"vip": "a < low-a"}
    of.dropped(1.0)
    assert promised(of) == {"vip": "a"}
    assert "<" in turn(of, 301.0)["vip"]


def test_who_needs_company_does_not_count_on_pods_that_are_not_there_yet() -> None:
    low = pod_object("low", "3", node="a", priority=1)
    of = model_of(node("a"), low, pod_object("vip", "3", priority=10, labels={"app": "db"}))
    assert turn(of, 0.0) == {"vip": "a < low"}
    of.pod_changed(low, None, 0.2)
    of.pod_changed(None, pod_object("web", "1", priority=5, affinity=NEAR_DB), 0.3)
    assert turn(of, 0.3)["web"].startswith("0/1 nodes are available: 1 node(s) didn't match pod affinity rules.")
    assert turn(of, 5.0) == {"vip": "a", "web": "a"}


def test_nor_makes_it_others_leave_where_its_company_is_not_there_yet() -> None:
    nodes = cluster(node("a"), pods=(pod("low", "4", node="a", priority=1),))
    held = pod("vip", "1", priority=10, labels={"app": "db"})
    one = pod("web", "2", priority=5, affinity=NEAR_DB)
    decision = decide(nodes, one)
    assert decision.diagnosis is not None
    assert finished(search(nodes, one, decision.diagnosis, Budgets([]), 0, lambda: [(held, "a")])).node == ""
    nodes.add_pod(pod("db", node="a", labels={"app": "db"}, priority=9))
    assert finished(search(nodes, one, decision.diagnosis, Budgets([]), 0, lambda: [(held, "a")])).node == "a"
    assert len(nodes.placed) == 2


def test_who_must_be_spread_does_not_count_on_them_either() -> None:
    """On `b` the skew would be too great until the held pod is on `a`."""
    web = {"app": "web"}
    even = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    spread = [{**even, "labelSelector": {"matchLabels": web}}]
    nodes = cluster(
        *(node(name, labels={"zone": name}, taints=taints) for name, taints in (("a", ["k=v:NoSchedule"]), ("b", []))),
        pods=(pod("there", node="b", labels=web),),
    )
    held = pod("held", priority=10, labels=web)
    one = pod("one", labels=web, priority=5, topologySpreadConstraints=spread)
    assert decide(nodes, one, reserved=[(held, "a")]).node == ""
    nodes.add_pod(held, "a")
    assert decide(nodes, one, reserved=[(held, "a")]).node == "b"


def test_a_promise_on_a_node_that_is_gone_leaves_nothing_behind() -> None:
    nodes = cluster(node("a"))
    assert decide(nodes, pod("one", "1"), reserved=[(pod("vip", "4", priority=10), "gone")]).node == "a"
    assert nodes._waiting == {}
