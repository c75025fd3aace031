"""Nodes: silence, taints, eviction, outages of everybody, address ranges."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from ctl_manifests import node, pod
from ctl_memory_api import MemoryApi

from control.controllers.reconcilers.nodes import addresses as nodeipam
from control.controllers.reconcilers.nodes import lifecycle as nodelifecycle
from control.controllers.reconcilers.nodes import tainteviction
from control.controllers.reconcilers.nodes.heartbeats import LEASES, hear
from control.controllers.values.actions import Key
from control.controllers.values.objects import parse_time

_NO_EXECUTE = [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]


class Nodes(MemoryApi):
    """With a controller of their own."""

    def __init__(self) -> None:
        super().__init__("nodes", "pods", LEASES)
        self.lifecycle = nodelifecycle.NodeLifecycle()


@pytest.fixture
def api() -> Nodes:
    return Nodes()


def _put(api: MemoryApi, *names: str) -> None:
    for name in names:
        api.put("nodes", node(name))
        api.heard[name] = api.uptime


def _beat(api: MemoryApi, *names: str) -> None:
    for name in names:
        api.heard.pop(name, None)  # who was heard last stands last
        api.heard[name] = api.uptime


def _look(api: Nodes, *names: str) -> None:
    for name in names:
        for _ in range(4):
            api.reconcile(api.lifecycle.reconcile, name, "")


def _ready(api: MemoryApi, name: str) -> str:
    return str(next(c for c in api.get("nodes", "", name)["status"]["conditions"] if c["type"] == "Ready")["status"])


def _taints(api: MemoryApi, name: str) -> set[tuple[str, str]]:
    taints = api.get("nodes", "", name)["spec"].get("taints") or []
    return {(taint["key"].removeprefix("node.kubernetes.io/"), taint["effect"]) for taint in taints}


BOTH = {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}


def test_a_silent_node_is_unknown_after_its_grace_and_tainted(api: Nodes) -> None:
    _put(api, "a", "b", "c")
    assert api.reconcile(api.lifecycle.reconcile, "a", "").requeue_after == 40
    api.pass_time(39)
    _look(api, "a")
    assert _ready(api, "a") == "True"
    _beat(api, "b", "c")
    api.pass_time(1)
    _look(api, "a", "b")
    assert _ready(api, "a") == "Unknown"
    assert _taints(api, "a") == BOTH
    assert _taints(api, "b") == set()
    assert ("Normal", "NodeNotReady", "Node a status is now: NodeNotReady") in api.events


@pytest.mark.parametrize("step", [120, -3600])
def test_a_step_of_the_time_of_day_is_no_silence(api: Nodes, step: float) -> None:
    """NTP sets the clock, or a machine is resumed: nobody is silent for that, and who is, is found out in time."""
    _put(api, "a", "b", "c")
    api.put("pods", pod("web", node="a", phase="Running", ready=True))
    api.pass_time(2)
    api.step_clock(step)
    decision = api.reconcile(api.lifecycle.reconcile, "a", "")
    assert (list(decision.actions), decision.requeue_after) == ([], 38)
    api.pass_time(38)
    _beat(api, "b", "c")
    _look(api, "a")
    assert _taints(api, "a") == BOTH


def test_who_waits_for_its_turn_looks_again_soon_though_the_clock_was_set_back(api: Nodes) -> None:
    names = ("a", "b", "c", "d", "e")
    _put(api, *names)
    api.pass_time(60)
    _beat(api, "c", "d", "e")
    _look(api, "a")
    api.step_clock(-3600)
    _look(api, "b")
    assert api.reconcile(api.lifecycle.reconcile, "b", "").requeue_after == 10


def test_a_node_that_comes_back_loses_its_taints(api: Nodes) -> None:
    _put(api, "a", "b", "c")
    api.pass_time(50)
    _beat(api, "b", "c")
    _look(api, "a")
    assert _taints(api, "a") == BOTH
    ready = {"status": {"conditions": node("a")["status"]["conditions"]}}
    api.change("nodes", "", "a", ready)
    _beat(api, "a")
    _look(api, "a")
    assert _taints(api, "a") == set()


def test_taints_of_others_stay(api: Nodes) -> None:
    mine = [{"key": "team", "value": "db", "effect": "NoSchedule"}]
    _put(api, "a", "b", "c")
    api.change("nodes", "", "a", {"spec": {"taints": mine}})
    api.pass_time(50)
    _beat(api, "b", "c")
    _look(api, "a")
    assert _taints(api, "a") == {("team", "NoSchedule"), *BOTH}


def test_conditions_and_cordon_are_no_schedule_taints(api: Nodes) -> None:
    made = node("a")
    made["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})
    made["spec"]["unschedulable"] = True
    api.put("nodes", made)
    _beat(api, "a")
    _look(api, "a")
    assert _taints(api, "a") == {("disk-pressure", "NoSchedule"), ("unschedulable", "NoSchedule")}


def test_when_everybody_is_silent_nobody_is_evicted(api: Nodes) -> None:
    names = ("a", "b", "c", "d", "e")
    _put(api, *names)
    api.pass_time(60)
    _look(api, *names)
    _look(api, *names)
    assert {_ready(api, name) for name in names} == {"Unknown"}
    assert {_taints(api, name) == {("unreachable", "NoSchedule")} for name in names} == {True}


def test_when_most_are_silent_nobody_is_evicted(api: Nodes) -> None:
    names = ("a", "b", "c", "d", "e")
    _put(api, *names)
    api.pass_time(60)
    _beat(api, "a", "b")
    _look(api, *names)
    _look(api, *names)
    assert ("unreachable", "NoExecute") not in _taints(api, "c")


def test_nodes_are_emptied_one_after_another(api: Nodes) -> None:
    names = ("a", "b", "c", "d", "e")
    _put(api, *names)
    api.pass_time(60)
    _beat(api, "c", "d", "e")
    _look(api, "a", "b")
    assert ("unreachable", "NoExecute") in _taints(api, "a")
    assert ("unreachable", "NoExecute") not in _taints(api, "b")
    assert api.reconcile(api.lifecycle.reconcile, "b", "").requeue_after == 10
    api.pass_time(10)
    _beat(api, "c", "d", "e")
    _look(api, "b")
    assert ("unreachable", "NoExecute") in _taints(api, "b")


def test_a_taint_that_is_on_its_way_counts(api: Nodes) -> None:
    """Several nodes are looked at side by side: the second one's turn must not come because the first one's taint is
    not in the view yet.
    """
    names = ("a", "b", "c", "d", "e")
    _put(api, *names)
    api.pass_time(60)
    _beat(api, "c", "d", "e")
    for name in ("a", "b"):
        api.reconcile(api.lifecycle.reconcile, name, "")
    first, second = (api.lifecycle.reconcile(Key("", name), api.observed(), api.now) for name in ("a", "b"))
    (patch,), (other,) = first.actions, second.actions
    assert "NoExecute" in str(patch)
    assert "NoExecute" not in str(other)
    assert second.requeue_after == 10
    # It was not written after all: the next one need not wait for it.
    api.pass_time(5)
    (other,) = api.lifecycle.reconcile(Key("", "b"), api.observed(), api.now).actions
    assert "NoExecute" in str(other)


def test_many_nodes_that_fall_silent_wake_only_themselves(api: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one says of itself is read once for each of its states, however often others are looked at."""
    names = [f"n{number}" for number in range(100)]
    _put(api, *names)
    api.pass_time(60)
    _beat(api, *names[:50])
    looks = 0

    def counted(text: str | None) -> Any:
        nonlocal looks
        looks += 1
        return parse_time(text)

    monkeypatch.setattr("control.controllers.reconcilers.nodes.lifecycle.parse_time", counted)
    woken = 0
    for name in names[50:]:
        old = api.get("nodes", "", name)
        _look(api, name)
        woken += len(list(api.lifecycle.wake("nodes", old, api.get("nodes", "", name), api.observed())))
    assert woken <= 50 + 50, "all that wait are looked at when the rate changes, which it does once"
    assert looks <= 2, "one node is being emptied"


def test_pods_of_a_silent_node_are_not_ready(api: Nodes) -> None:
    _put(api, "a", "b", "c")
    api.put("pods", pod("web", node="a", phase="Running", ready=True))
    api.pass_time(60)
    _beat(api, "b", "c")
    _look(api, "a")
    (condition,) = api.get("pods", "default", "web")["status"]["conditions"]
    assert condition["status"] == "False"


def test_a_node_that_says_it_is_not_ready_speaks_for_its_pods_itself(api: Nodes) -> None:
    """Otherwise its agent and we would overrule each other for ever."""
    _put(api, "a", "b", "c")
    api.put("pods", pod("web", node="a", phase="Running", ready=True))
    api.change("nodes", "", "a", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    _look(api, "a")
    assert _taints(api, "a") == {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")}
    assert api.get("pods", "default", "web")["status"]["conditions"][0]["status"] == "True"


def test_who_is_looked_at_when(api: Nodes) -> None:
    _put(api, "a", "b", "c")
    view = api.observed()
    a = api.get("nodes", "", "a")
    unready, only = [Key("", "a"), Key("", "c")], [Key("", "a")]
    assert api.lifecycle.wake("nodes", None, a, view) == only
    ill = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    c = api.change("nodes", "", "c", ill)
    # One or two more or less: it is nobody else's turn for that.
    assert api.lifecycle.wake("nodes", None, a, view) == only
    assert api.lifecycle.wake("nodes", api.get("nodes", "", "b"), None, view) == []
    # When they were all ill, or most, nobody was emptied; now it may be.
    api.put("nodes", {**node("d"), **ill})
    assert api.lifecycle.wake("nodes", {**a, **ill}, a, view) == [*only, *(Key("", name) for name in "cd")]
    api.stores["nodes"].remove(api.get("nodes", "", "d"))
    # When one is no longer being emptied, the next one's turn may come sooner.
    emptied = {**c, "spec": {"taints": _NO_EXECUTE}}
    assert api.lifecycle.wake("nodes", emptied, c, view) == [Key("", "c")]
    assert api.lifecycle.wake("nodes", {**emptied, "metadata": a["metadata"]}, a, view) == unready
    assert api.lifecycle.wake("nodes", a, {**a, "spec": {"unschedulable": True}}, view) == only
    web = pod("web", node="a", phase="Running", ready=True)
    assert api.lifecycle.wake("pods", None, web, view) == []
    assert tainteviction.wake("pods", None, web, view) == []
    silent = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}, "spec": {"taints": _NO_EXECUTE}}
    changed = api.change("nodes", "", "a", silent)
    assert api.lifecycle.wake("nodes", a, changed, view) == only
    assert api.lifecycle.wake("pods", None, web, view) == only
    assert tainteviction.wake("pods", None, web, view) == [Key("default", "web")]
    api.put("pods", web)
    assert tainteviction.wake("nodes", a, changed, view) == [Key("default", "web")]
    lease = {"metadata": {"name": "a", "namespace": "kube-node-lease"}, "spec": {}}
    assert api.lifecycle.wake(LEASES, None, lease, view) == only
    assert api.lifecycle.wake(LEASES, lease, lease, view) == []


def test_a_node_that_never_said_anything(api: Nodes) -> None:
    made = node("new")
    made["status"] = {}
    api.put("nodes", made)
    _beat(api, "new")  # it was shown to us
    api.pass_time(59)
    _look(api, "new")
    assert not api.get("nodes", "", "new")["status"].get("conditions")
    api.pass_time(1)
    _look(api, "new")
    condition = api.get("nodes", "", "new")["status"]["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("Unknown", "NodeStatusNeverUpdated")


def test_only_changes_are_heartbeats() -> None:
    """What the clocks of nodes say is not compared with ours."""
    heard: dict[str, float] = {}
    lease = {"metadata": {"name": "a", "namespace": "kube-node-lease"}, "spec": {"renewTime": "1999-01-01T00:00:00Z"}}
    hear(heard, LEASES, None, lease, 0.0)
    assert heard == {"a": 0.0}
    heard.clear()
    hear(heard, LEASES, lease, lease, 0.0)
    other = {"metadata": {"name": "b", "namespace": "elsewhere"}, "spec": {"renewTime": "x"}}
    hear(heard, LEASES, None, other, 0.0)
    assert heard == {}
    hear(heard, LEASES, lease, {**lease, "spec": {"renewTime": "1999-01-01T00:00:01Z"}}, 0.0)
    assert heard == {"a": 0.0}


def test_who_was_heard_last_stands_last() -> None:
    heard = {"a": 0.0, "b": 0.0}
    lease = {"metadata": {"name": "a", "namespace": "kube-node-lease"}, "spec": {"renewTime": "1999-01-01T00:00:00Z"}}
    hear(heard, LEASES, None, lease, 5.0)
    assert list(heard) == ["b", "a"]


def test_when_nobody_was_heard_for_a_while_it_was_we_who_could_not_hear() -> None:
    """API servers or the store were away: nobody's silence counts."""
    heard = {"a": 0.0, "b": 0.0}
    later = 90.0
    before, after = ({"metadata": {"name": "a"}, "status": _posted(time)} for time in ("x", "y"))
    hear(heard, "nodes", before, after, later)
    assert heard == {"a": later, "b": later}
    soon = later + 10.0
    hear(heard, "nodes", after, before, soon)
    assert heard == {"a": soon, "b": later}


def _posted(time: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": time}]}


# ---- eviction ----


def _tainted(api: MemoryApi, since: str = "2026-01-01T00:00:00Z") -> None:
    made = node("a")
    made["spec"]["taints"] = [
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": since},
    ]
    api.put("nodes", made)


def _bound(api: MemoryApi, *tolerations: dict[str, Any]) -> None:
    made = pod("web", node="a", phase="Running")
    made["spec"]["tolerations"] = list(tolerations)
    api.put("pods", made)


def _tolerates(**more: Any) -> dict[str, Any]:
    return {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", **more}


def _evicted(api: MemoryApi) -> bool:
    return "deletionTimestamp" in api.get("pods", "default", "web")["metadata"]


def test_a_pod_without_toleration_is_evicted_at_once(api: MemoryApi) -> None:
    _tainted(api)
    _bound(api)
    api.reconcile(tainteviction.reconcile, "web")
    assert _evicted(api)
    (condition,) = api.get("pods", "default", "web")["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "DeletionByTaintManager")
    assert ("Normal", "TaintManagerEviction", "Marking for deletion Pod default/web") in api.events


def test_a_toleration_with_a_time_runs_from_when_the_taint_was_added(api: MemoryApi) -> None:
    _tainted(api)
    _bound(api, _tolerates(tolerationSeconds=300))
    api.pass_time(100)
    assert api.reconcile(tainteviction.reconcile, "web").requeue_after == 200
    api.pass_time(200)
    api.reconcile(tainteviction.reconcile, "web")
    assert _evicted(api)


@pytest.mark.parametrize("condition", ["True", "False", None])
def test_a_pod_that_came_after_the_taint_has_its_whole_time(api: MemoryApi, condition: str | None) -> None:
    """It ran from the taint: a pod bound an hour later was evicted at once, as was the next one in its place."""
    _tainted(api)
    api.pass_time(3600)
    _bound(api, _tolerates(tolerationSeconds=600))
    api.pass_time(100)
    if condition is not None:
        scheduled = {"type": "PodScheduled", "status": condition, "lastTransitionTime": "2026-01-01T01:00:40Z"}
        api.change("pods", "default", "web", {"status": {"conditions": [scheduled]}})
    left = 540 if condition == "True" else 500
    assert api.reconcile(tainteviction.reconcile, "web").requeue_after == left
    api.pass_time(left)
    api.reconcile(tainteviction.reconcile, "web")
    assert _evicted(api)


def test_a_toleration_without_a_time_holds_for_ever(api: MemoryApi) -> None:
    _tainted(api)
    _bound(api, _tolerates())
    api.pass_time(10_000)
    assert api.reconcile(tainteviction.reconcile, "web").requeue_after is None
    assert not _evicted(api)


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "operator": "Equal", "value": "v"}, True),
        ({"key": "k", "value": "v", "effect": "NoExecute"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, False),
    ],
)
def test_which_tolerations_fit(toleration: dict[str, Any], fits: bool) -> None:
    assert tainteviction.tolerates(toleration, {"key": "k", "value": "v", "effect": "NoExecute"}) is fits


# ---- address ranges ----


def _ranges(api: MemoryApi) -> dict[str, str]:
    return {n["metadata"]["name"]: n["spec"].get("podCIDR", "") for n in api.list("nodes")}


def test_each_node_gets_a_range_of_its_own_and_keeps_it(api: MemoryApi) -> None:
    reconcile = nodeipam.reconciler([ip_network("10.244.0.0/16")], [24])
    for name in ("a", "b"):
        api.put("nodes", node(name))
    api.settle(reconcile, "nodes", "")
    assert _ranges(api) == {"a": "10.244.0.0/24", "b": "10.244.1.0/24"}
    api.stores["nodes"].remove(api.get("nodes", "", "a"))
    api.put("nodes", node("c"))
    api.settle(reconcile, "nodes", "")
    assert _ranges(api) == {"b": "10.244.1.0/24", "c": "10.244.0.0/24"}


def test_when_the_ranges_are_used_up_it_is_an_event(api: MemoryApi) -> None:
    reconcile = nodeipam.reconciler([ip_network("10.0.0.0/24")], [25])
    for name in ("a", "b", "c"):
        api.put("nodes", node(name))
        api.pass_time(1)
    api.settle(reconcile, "nodes", "")
    assert _ranges(api) == {"a": "10.0.0.0/25", "b": "10.0.0.128/25", "c": ""}
    assert ("Warning", "CIDRNotAvailable", "Node c status is now: CIDRNotAvailable") in api.events


def test_both_families_and_ranges_of_another_size(api: MemoryApi) -> None:
    odd = node("odd")
    odd["spec"]["podCIDR"] = "10.0.0.0/26"
    api.put("nodes", odd)
    api.put("nodes", node("a"))
    reconcile = nodeipam.reconciler([ip_network("10.0.0.0/16"), ip_network("fd00::/48")], [24, 64])
    api.settle(reconcile, "nodes", "")
    assert api.get("nodes", "", "a")["spec"]["podCIDRs"] == ["10.0.1.0/24", "fd00::/64"]
