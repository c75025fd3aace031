"""Whom a pod's change concerns: found by the pod's labels, not by asking every service and every budget."""

from __future__ import annotations

import random
import secrets
from typing import Any

from ctl_memory_api import MemoryApi

from control.api.selectors import label_selector_of, selector_of_labels
from control.controllers.reconcilers import disruption
from control.controllers.reconcilers.services.pods import SERVICES, wake_services
from control.controllers.values.objects import key_of, labels

BUDGETS = disruption.RESOURCE
PLAIN: tuple[dict[str, str] | None, ...] = ({"app": "a"}, {"app": "b", "tier": "x"}, {"tier": "y"}, {}, None)
GENERAL: tuple[Any, ...] = (
    {"matchLabels": {"app": "a"}},
    {"matchLabels": {"tier": "x"}, "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["b"]}]},
    {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]},
    {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
    {"matchExpressions": [{"key": "app", "operator": "nonsense"}]},
    {},
    None,
)


def pod(chance: random.Random) -> dict[str, Any]:
    chosen = {"app": chance.choice("abc"), "tier": chance.choice("xy")}
    kept = dict(chance.sample(sorted(chosen.items()), chance.randrange(3)))
    return {"metadata": {"name": "p", "namespace": chance.choice(["one", "two"]), "labels": kept}}


def test_who_selects_a_pod_is_who_would_be_found_by_asking_all() -> None:
    seed = secrets.randbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    api = MemoryApi(SERVICES, BUDGETS, "pods")
    for number in range(40):
        namespace = chance.choice(["one", "two"])
        for resource, selector in ((SERVICES, chance.choice(PLAIN)), (BUDGETS, chance.choice(GENERAL))):
            made = {"metadata": {"name": f"o{number % 25}", "namespace": namespace}, "spec": {"selector": selector}}
            api.put(resource, made)
    observed = api.observed()
    for _ in range(100):
        old, new = pod(chance), pod(chance)
        namespace = new["metadata"]["namespace"]
        old["metadata"]["namespace"] = namespace
        services = {
            key_of(service)
            for service in observed.in_namespace(SERVICES, namespace)
            for each in (old, new)
            if labels(old) != labels(new) and selector_of_labels(service["spec"]["selector"]).matches(labels(each))
        }
        found = list(wake_services("pods", old, new, observed))
        assert (set(found), len(found)) == (services, len(services))
        budgets = {
            key_of(budget)
            for budget in observed.in_namespace(BUDGETS, namespace)
            for each in (old, new)
            if budget["spec"]["selector"] != GENERAL[4]
            and label_selector_of(budget["spec"]["selector"]).matches(labels(each))
        }
        assert set(disruption.wake_pods("pods", old, new, observed)) == budgets


def test_services_of_other_pods_are_not_asked() -> None:
    api = MemoryApi(SERVICES, "pods")
    for number in range(500):
        api.put(
            SERVICES,
            {"metadata": {"name": f"s{number}", "namespace": "one"}, "spec": {"selector": {"app": f"a{number}"}}},
        )
    one = {"metadata": {"name": "p", "namespace": "one", "labels": {"app": "a7", "tier": "x"}}}
    assert [key_of(service).name for service in api.observed().may_select(SERVICES, one)] == ["s7"]
