"""One row is judged as it is among all rows, also after others were thought away: the same filters, fewer rows."""

from __future__ import annotations

import random
import secrets
import time
from typing import Any

import numpy as np
from scheduling_objects import cluster, node, pod

from control.scheduler.cluster import Cluster
from control.scheduler.cycle import decide, feasible
from control.scheduler.pod import Pod
from control.scheduler.preemption import Budgets, search
from control.scheduler.question import Question

HOST, ZONE = "kubernetes.io/hostname", "zone"


def term(chance: random.Random) -> dict[str, Any]:
    key = chance.choice([HOST, ZONE])
    selector = chance.choice([{"matchLabels": {"app": chance.choice("ab")}}, {}])
    return {"topologyKey": key, "labelSelector": selector}


def wishes(chance: random.Random) -> dict[str, Any]:
    """Of everything that a filter looks at, a bit."""
    made: dict[str, Any] = {"priority": chance.randrange(4), "labels": {"app": chance.choice("abc")}}
    affinity: dict[str, Any] = {}
    for kind in ("podAffinity", "podAntiAffinity"):
        if chance.random() < 0.3:
            terms = [term(chance) for _ in range(chance.randrange(1, 3))]
            affinity[kind] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    if chance.random() < 0.2:
        expression = {"key": ZONE, "operator": chance.choice(["In", "NotIn"]), "values": [chance.choice("xy")]}
        terms = [{"matchExpressions": [expression]}]
        affinity["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    if chance.random() < 0.3:
        policies = {"nodeTaintsPolicy": chance.choice(["Honor", "Ignore"]), "minDomains": chance.randrange(1, 4)}
        made["topologySpreadConstraints"] = [{**term(chance), "maxSkew": chance.randrange(1, 3), **policies}]
    if chance.random() < 0.3:
        made["ports"] = [chance.choice([80, 81])]
    if chance.random() < 0.3:
        made["tolerations"] = [{"key": "k", "operator": "Exists"}]
    if chance.random() < 0.1:
        made["nodeSelector"] = {ZONE: chance.choice("xy")}
    return {**made, "affinity": affinity}


def random_cluster(chance: random.Random, size: int) -> Cluster:
    nodes = cluster()
    for number in range(size):
        labels = {ZONE: chance.choice("xyz")} if chance.random() < 0.8 else {}
        tainted = ["k=v:NoSchedule"] if chance.random() < 0.2 else []
        nodes.put_node(node(f"n{number}", labels=labels, taints=tainted, unschedulable=chance.random() < 0.1))
    for number in range(size * 3):
        at = f"n{chance.randrange(size)}"
        nodes.add_pod(pod(f"p{number}", chance.choice(["", "1", "2"]), node=at, **wishes(chance)))
    return nodes


def judged_one_by_one(question: Question) -> list[bool]:
    rows = range(question.cluster.capacity)
    return [bool(feasible(question, slice(row, row + 1))[0][0]) for row in rows]


def test_a_row_alone_and_a_row_among_all() -> None:
    seed = secrets.randbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(12):
        nodes = random_cluster(chance, 9)
        one = pod("one", "1", **wishes(chance))
        question = Question(nodes, one)
        assert judged_one_by_one(question) == feasible(question)[0].tolist()
        some = np.array(sorted(chance.sample(range(nodes.capacity), 4)))
        assert feasible(question, some)[0].tolist() == feasible(question)[0][some].tolist()
        away: list[tuple[Pod, int]] = []
        for _ in range(12):
            move_one(chance, question, away)
            fresh = feasible(Question(nodes, one))[0].tolist()
            assert judged_one_by_one(question) == fresh, "what was counted is kept true"


def move_one(chance: random.Random, question: Question, away: list[tuple[Pod, int]]) -> None:
    """A pod leaves its row, or one that left comes back."""
    if away and chance.random() < 0.3:
        question.add(*away.pop(chance.randrange(len(away))))
        return
    placed = question.cluster.placed
    uid = chance.choice(sorted(placed))
    row = placed[uid]
    found = question.cluster.pods[row][uid]
    question.remove(found, row)
    away.append((found, row))


def full_cluster(size: int) -> Cluster:
    nodes = cluster(*(node(f"n{number}", labels={ZONE: f"z{number % 3}"}) for number in range(size)))
    for number in range(size * 4):
        nodes.add_pod(pod(f"p{number}", "1", node=f"n{number // 4}", priority=1, labels={"app": "a"}))
    return nodes


def test_a_step_of_the_search_looks_at_one_node_only() -> None:
    """No step takes long: judged by the processor's time, and by the median of its steps."""
    spread = [{"topologyKey": ZONE, "maxSkew": 1, "labelSelector": {"matchLabels": {"app": "a"}}}]
    nodes = full_cluster(150)
    one = pod("vip", "3", priority=9, labels={"app": "a"}, topologySpreadConstraints=spread)
    decision = decide(nodes, one)
    assert decision.diagnosis is not None
    steps, took = search(nodes, one, decision.diagnosis, Budgets([])), []
    began = time.process_time()
    for _ in steps:
        took.append(time.process_time() - began)
        began = time.process_time()
    assert len(took) == 99, "a hundred nodes are tried, and after the last one it ends"
    assert sorted(took)[len(took) // 2] < 0.004


def test_what_changes_between_two_steps_is_seen() -> None:
    """The pods of a zone go while the search is on: what was counted before must not decide."""
    spread = [{"topologyKey": ZONE, "maxSkew": 1, "labelSelector": {"matchLabels": {"app": "a"}}}]
    nodes = cluster(node("a", labels={ZONE: "x"}), node("b", labels={ZONE: "y"}))
    for name, at in (("p1", "a"), ("p2", "a"), ("p3", "b"), ("p4", "b")):
        nodes.add_pod(pod(name, "2", node=at, priority=1, labels={"app": "a"}, uid=name))
    one = pod("vip", "2", priority=9, labels={"app": "a"}, topologySpreadConstraints=spread)
    decision = decide(nodes, one)
    assert decision.diagnosis is not None
    steps = search(nodes, one, decision.diagnosis, Budgets([]))
    next(steps)
    nodes.remove_pod("p1")
    nodes.remove_pod("p2")
    nodes.add_pod(pod("other", "4", node="a", priority=1, uid="other"))
    plan = None
    try:
        while True:
            next(steps)
    except StopIteration as end:
        plan = end.value
    # Zone x has none of its like any more, so on b all must go, and on a, which was tried before, one had to.
    assert plan is not None
    assert plan.node == "a"
