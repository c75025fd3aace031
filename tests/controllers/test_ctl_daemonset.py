"""DaemonSet: every eligible node, taints and tolerations, rolling updates within their bounds."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ctl_manifests import node, ready_condition, template, workload
from ctl_memory_api import MemoryApi
from hypothesis import given, settings
from hypothesis import strategies as st

from control.controllers.reconcilers.daemonset.pods import node_of
from control.controllers.reconcilers.daemonset.reconciler import reconcile
from control.controllers.values.pods import is_active, is_ready

SETS = "daemonsets.apps"


def _api(*nodes: dict[str, Any]) -> MemoryApi:
    api = MemoryApi(SETS, "controllerrevisions.apps", "pods", "nodes")
    for each in nodes:
        api.put("nodes", each)
    return api


def _put(api: MemoryApi, **spec: Any) -> None:
    api.put(SETS, workload("DaemonSet", "log", **spec))


def _where(api: MemoryApi) -> list[str]:
    return sorted(node_of(pod) for pod in api.list("pods"))


def _run_all(api: MemoryApi) -> None:
    for pod in api.list("pods"):
        if not is_ready(pod):
            running = {"phase": "Running", "conditions": [ready_condition()]}
            api.change("pods", "default", pod["metadata"]["name"], {"status": running})


def _settle(api: MemoryApi) -> None:
    for _ in range(50):
        api.settle(reconcile, "log")
        _run_all(api)
        if not api.reconcile(reconcile, "log").actions:
            return
    raise AssertionError("the set does not come to rest")


def test_one_pod_on_each_node_and_on_those_that_join() -> None:
    api = _api(node("a"), node("b"))
    _put(api)
    _settle(api)
    assert _where(api) == ["a", "b"]
    tolerations = api.list("pods")[0]["spec"]["tolerations"]
    assert {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"} in tolerations
    api.put("nodes", node("c"))
    _settle(api)
    assert _where(api) == ["a", "b", "c"]
    status = api.get(SETS, "default", "log")["status"]
    assert (status["desiredNumberScheduled"], status["numberAvailable"], status["updatedNumberScheduled"]) == (3, 3, 3)


def test_pods_of_a_node_that_is_gone_go() -> None:
    api = _api(node("a"), node("b"))
    _put(api)
    _settle(api)
    api.stores["nodes"].remove(api.get("nodes", "", "b"))
    _settle(api)
    assert _where(api) == ["a"]


def test_selectors_affinity_and_taints_decide() -> None:
    ssd = node("ssd", labels={"disk": "ssd"})
    tainted = node("tainted", labels={"disk": "ssd"})
    tainted["spec"]["taints"] = [{"key": "only", "value": "db", "effect": "NoSchedule"}]
    cordoned = node("cordoned", labels={"disk": "ssd"})
    cordoned["spec"]["taints"] = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]
    api = _api(ssd, tainted, cordoned, node("plain"))
    _put(api, template=template("log", nodeSelector={"disk": "ssd"}))
    _settle(api)
    assert _where(api) == ["cordoned", "ssd"]


def test_a_no_execute_taint_takes_the_pod_away() -> None:
    api = _api(node("a"))
    _put(api)
    _settle(api)
    taints = [{"key": "broken", "effect": "NoExecute"}]
    api.change("nodes", "", "a", {"spec": {"taints": taints}})
    _settle(api)
    assert _where(api) == []


def test_affinity_terms() -> None:
    term = {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    api = _api(node("big", labels={"cores": "8"}), node("small", labels={"cores": "2"}))
    _put(api, template=template("log", affinity={"nodeAffinity": required}))
    _settle(api)
    assert _where(api) == ["big"]


def test_a_failed_pod_is_replaced_after_a_while_with_an_event() -> None:
    api = _api(node("a"))
    _put(api)
    _settle(api)
    (before,) = api.list("pods")
    api.change("pods", "default", before["metadata"]["name"], {"status": {"phase": "Failed"}})
    assert api.reconcile(reconcile, "log").requeue_after == 10
    api.pass_time(10)
    _settle(api)
    (after,) = api.list("pods")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert any(reason == "FailedDaemonPod" for _, reason, _ in api.events)


def test_on_delete_waits_for_users() -> None:
    api = _api(node("a"))
    _put(api, updateStrategy={"type": "OnDelete"})
    _settle(api)
    api.change(SETS, "default", "log", {"spec": {"template": template("log", image="log:2")}})
    _settle(api)
    assert api.list("pods")[0]["spec"]["containers"][0]["image"] == "web:1"


def test_an_empty_selector_is_an_event() -> None:
    api = _api(node("a"))
    made = workload("DaemonSet", "log")
    made["spec"]["selector"] = {}
    api.put(SETS, made)
    api.settle(reconcile, "log")
    assert api.list("pods") == []
    assert api.events[0][1] == "SelectingAll"


@pytest.mark.parametrize(
    "limits", [{"maxUnavailable": 1}, {"maxUnavailable": "50%"}, {"maxSurge": 1, "maxUnavailable": 0}]
)
@settings(max_examples=15, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_a_rolling_update_keeps_its_bounds(limits: dict[str, Any], chance: random.Random) -> None:
    count = 4
    api = _api(*(node(f"n{number}") for number in range(count)))
    _put(api, updateStrategy={"type": "RollingUpdate", "rollingUpdate": limits})
    _settle(api)
    missing = {1: 1, "50%": 2, 0: 0}[limits["maxUnavailable"]]
    api.change(SETS, "default", "log", {"spec": {"template": template("log", image="log:2")}})
    for _ in range(chance.randrange(80)):
        if chance.random() < 0.5:
            api.reconcile(reconcile, "log")
        else:
            waiting = [p for p in api.list("pods") if not is_ready(p)]
            if waiting:
                running = {"phase": "Running", "conditions": [ready_condition()]}
                api.change("pods", "default", chance.choice(waiting)["metadata"]["name"], {"status": running})
        ready = {node_of(p) for p in api.list("pods") if is_ready(p)}
        assert len(ready) >= count - missing
        assert sum(map(is_active, api.list("pods"))) <= count + limits.get("maxSurge", 0)
    _settle(api)
    assert [p["spec"]["containers"][0]["image"] for p in api.list("pods")] == ["log:2"] * count
