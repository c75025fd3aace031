"""Pods of one sort are counted as one, and the counts are those of the pods one by one."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from dataclasses import replace
from typing import Any

from scheduling_objects import cluster, node, pod, pod_object

from control.api.selectors import LabelSelector, label_selector_of
from control.scheduler.cluster import Cluster
from control.scheduler.domains import Domains
from control.scheduler.neighbours import preference_points
from control.scheduler.pod import Pod, pod_of
from control.scheduler.sorts import finder
from control.scheduler.spread import matching
from control.scheduler.tally import Tally, together

ZONE = "zone"
SELECTORS: tuple[dict[str, Any] | None, ...] = (
    {"matchLabels": {"app": "a"}},
    {"matchLabels": {"app": "a", "tier": "x"}},
    {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]},
    {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]},
    {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
    {},
    None,
)


def near(chance: random.Random, kind: str, weight: int) -> dict[str, object]:
    term = {"topologyKey": ZONE, "labelSelector": chance.choice(SELECTORS)}
    wish = {"weight": weight, "podAffinityTerm": term}
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}


def some_pod(chance: random.Random, name: str, at: str = "") -> Pod:
    labels = {"app": chance.choice("abc"), "tier": chance.choice("xy")}
    obj = pod_object(name, node=at, namespace=chance.choice(["one", "two"]), uid=name)
    obj["metadata"]["labels"] = dict(chance.sample(sorted(labels.items()), chance.randrange(3)))
    if chance.random() < 0.2:
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if chance.random() < 0.5:
        kind = chance.choice(["podAffinity", "podAntiAffinity"])
        obj["spec"]["affinity"] = near(chance, kind, chance.randrange(1, 5))
    return pod_of(obj)


def some_cluster(chance: random.Random) -> tuple[Cluster, dict[str, Pod]]:
    nodes = cluster(*(node(f"n{i}", labels={ZONE: chance.choice("xyz")} if i else {}) for i in range(6)))
    here: dict[str, Pod] = {}
    for _ in range(60):
        name = f"p{chance.randrange(30)}"
        if chance.random() < 0.3:
            here.pop(name, None)
            nodes.remove_pod(name)
        else:
            here[name] = some_pod(chance, name, f"n{chance.randrange(6)}")
            nodes.add_pod(here[name])
    return nodes, here


def test_counts_are_those_of_the_pods_one_by_one() -> None:
    seed = secrets.randbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(25):
        nodes, here = some_cluster(chance)
        column = nodes.labels.column(ZONE)
        spread = {"topologyKey": ZONE, "maxSkew": 1, "labelSelector": chance.choice(SELECTORS)}
        one = replace(
            pod("one", namespace="one", topologySpreadConstraints=[spread]),
            preferences=some_pod(chance, "x").preferences,
        )
        likes = [
            other
            for other in here.values()
            if other.namespace == "one"
            and one.spread[0].selector.matches(other.labels)
            and "deletionTimestamp" not in other.object["metadata"]
        ]
        counts = Counter(int(column[nodes.rows[other.node]]) for other in likes)
        found = matching(nodes, one, one.spread[0], nodes.there)
        assert {domain: int(number) for domain, number in enumerate(found) if number} == counts
        assert points_of(nodes, one) == points_one_by_one(nodes, here, one)


def points_of(nodes: Cluster, one: Pod) -> list[int]:
    points = preference_points(nodes, one)
    return [0] * nodes.capacity if points is None else points.tolist()


def points_one_by_one(nodes: Cluster, here: dict[str, Pod], one: Pod) -> list[int]:
    column = nodes.labels.column(ZONE)
    of_domain: Counter[int] = Counter()
    for other in here.values():
        domain = int(column[nodes.rows[other.node]])
        for asking, asked in ((one, other), (other, one)):
            for term in asking.preferences:
                if asked.namespace in term.namespaces and term.selector.matches(asked.labels):
                    of_domain[domain] += term.weight
    return [of_domain[int(domain)] if domain else 0 for domain in column]


class Counting(LabelSelector):
    """Tells how often it was asked."""

    asked = 0

    def matches(self, labels: object) -> bool:
        Counting.asked += 1
        return True


def test_a_selector_is_asked_once_a_sort() -> None:
    nodes = cluster(*(node(f"n{i}", labels={ZONE: f"z{i % 3}"}) for i in range(10)))
    for number in range(500):
        nodes.add_pod(pod(f"p{number}", node=f"n{number % 10}", labels={"app": f"a{number % 4}"}))
    spread = {"topologyKey": ZONE, "maxSkew": 1, "labelSelector": {}}
    one = pod("one", topologySpreadConstraints=[spread])
    Counting.asked = 0
    selector = Counting(label_selector_of({"matchExpressions": [{"key": "app", "operator": "Exists"}]}).requirements)
    found = matching(nodes, one, replace(one.spread[0], selector=selector), nodes.there)
    assert (int(found.sum()), Counting.asked) == (500, 4)


def test_quick_finders_agree_with_their_selectors() -> None:
    chance = random.Random(1)
    sorts = [some_pod(chance, f"p{number}").sort for number in range(40)]
    for written in SELECTORS:
        selector = label_selector_of(written)
        assert [finder(selector)(sort) for sort in sorts] == [selector.matches(sort.labels) for sort in sorts]


def test_a_tally_keeps_nothing_that_is_zero() -> None:
    tally: Tally[str] = Tally()
    tally.change("a", 3, 2)
    tally.change("a", 4, 1)
    tally.change("a", 3, -2)
    assert dict(tally["a"]) == {4: 1}
    tally.change("a", 4, -1)
    assert not tally
    assert "a" not in tally


def test_several_sorts_on_one_row_add_up() -> None:
    nodes = cluster(node("a", labels={ZONE: "x"}), node("b"))
    rows, numbers = together([{0: 2}, {0: 3, 1: 1}])
    assert (rows.tolist(), numbers.tolist()) == ([0, 0, 1], [2, 3, 1])
    row = nodes.rows["a"]
    domains = Domains(nodes, ZONE, [{row: 2}, {row: 3, nodes.rows["b"]: 9}])
    assert domains.counts.tolist() == [0, 5], "who has no such label is in no domain"
