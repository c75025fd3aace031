"""What the columns hold: any amount, for as long as there is somebody who has it or says it, and no longer."""

from __future__ import annotations

from typing import Any

import pytest
from scheduling_objects import cluster, node, pod, where

from control.scheduler.cluster import Cluster

HOST = "kubernetes.io/hostname"
LACKING = "0/1 nodes are available: 1 Insufficient memory."


@pytest.mark.parametrize("number", [2, 1100])
def test_pods_that_ask_for_everything_leave_nothing_and_give_it_all_back(number: int) -> None:
    """As many as 64 bits do not hold, and more: only nodeName gets them there, which asks nobody."""
    nodes = cluster(node("a", pods="9000"), pods=(pod("small", "1", "1Gi", node="a"),))
    greedy = [pod(f"greedy{n}", memory="9300P", node="a") for n in range(number)]
    for one in greedy:
        nodes.add_pod(one)
        assert where(nodes, pod("p", memory="1Mi")) == LACKING
    for one in greedy:
        assert where(nodes, pod("p", memory="1Mi")) == LACKING
        nodes.remove_pod(one.uid)
    assert nodes.used[nodes.rows["a"]].tolist() == [1000, 1 << 30, 1]
    assert where(nodes, pod("p", memory="7Gi")) == "a"


def test_nodes_that_come_and_go_leave_nothing_behind() -> None:
    nodes = cluster(node("a"))
    for n in range(100):
        nodes.put_node(node(f"n{n}", labels={f"only-{n}": "x"}, taints=[f"since={n}:PreferNoSchedule"]))
        one = pod(f"p{n}", node=f"n{n}")
        nodes.add_pod(one)
        nodes.remove_node(f"n{n}")
        nodes.remove_pod(one.uid)
    assert nodes.labels.domains(HOST) <= 3, "numbers of values are given again"
    assert nodes.labels.domains("only-7") == 1
    assert len(nodes.taints.known) == 1
    assert nodes.taints.size <= 3
    assert (nodes._waiting, nodes._waits_for) == ({}, {})


def test_what_only_pods_ask_about_takes_no_room() -> None:
    nodes = cluster(node("a"))
    for n in range(50):
        where(nodes, pod("p", extended={f"example.com/{n}": "1"}, nodeSelector={f"key-{n}": "x"}))
        nodes.add_pod(pod("q", extended={f"example.com/{n}": "1"}, node="a"))
    assert nodes.used.shape == nodes.allocatable.shape == (nodes.capacity, 3)
    assert set(nodes.labels._columns) == {HOST}


def test_what_a_node_offers_later_is_in_use_by_those_who_asked_before() -> None:
    gpu: dict[str, Any] = {"extended": {"example.com/gpu": "1"}}
    nodes = cluster(node("a"), pods=(pod("early", node="a", **gpu), pod("none", node="a")))
    nodes.put_node(node("a", extended={"example.com/gpu": "1"}))
    assert where(nodes, pod("p", **gpu)) == "0/1 nodes are available: 1 Insufficient example.com/gpu."
    nodes.put_node(node("a", extended={"example.com/gpu": "2"}))
    assert where(nodes, pod("p", **gpu)) == "a"


def test_a_value_that_has_its_number_from_another_is_not_taken_for_it() -> None:
    nodes = cluster(node("a", labels={"disk": "old"}), node("b", labels={"disk": "other"}))
    nodes.put_node(node("a", labels={"disk": "new"}))
    nodes.put_node(node("c", labels={"disk": "last"}))
    found = {disk: where(nodes, pod("p", nodeSelector={"disk": disk})) for disk in ("new", "other", "last")}
    assert found == {"new": "a", "other": "b", "last": "c"}
    assert "didn't match Pod's node affinity" in where(nodes, pod("p", nodeSelector={"disk": "old"}))


def test_a_pod_that_is_assumed_on_a_node_that_comes_back_is_there_again() -> None:
    """It says itself of no node yet."""
    nodes = Cluster()
    nodes.put_node(node("a"))
    assumed = pod("p", "4")
    nodes.add_pod(assumed, "a")
    nodes.remove_node("a")
    nodes.put_node(node("a"))
    assert where(nodes, pod("q", "1")) == "0/1 nodes are available: 1 Insufficient cpu."
    nodes.remove_pod(assumed.uid)
    assert where(nodes, pod("q", "4")) == "a"
