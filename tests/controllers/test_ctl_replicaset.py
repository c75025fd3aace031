"""ReplicaSet: as many pods as asked for; adoption, release, victims, failures."""

from __future__ import annotations

from typing import Any

import pytest
from ctl_manifests import pod, ready_condition, workload
from ctl_memory_api import MemoryApi

from control.api.status import forbidden
from control.controllers.reconcilers.replicaset import reconcile
from control.controllers.values.actions import Create, Delete


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi("replicasets.apps", "pods")


def _owned(api: MemoryApi, rs: dict[str, Any], name: str, **more: Any) -> dict[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": rs["metadata"]["uid"]}
    return api.put("pods", pod(name, ownerReferences=[{**reference, "controller": True}], **more))


def _names(api: MemoryApi) -> list[str]:
    return sorted(p["metadata"]["name"] for p in api.list("pods"))


def test_creates_what_is_missing_and_says_why(api: MemoryApi) -> None:
    rs = api.put("replicasets.apps", workload("ReplicaSet", "web", replicas=3))
    decision = api.reconcile(reconcile, "web")
    creates = [action for action in decision.actions if isinstance(action, Create)]
    assert len(creates) == 3
    cause = creates[0].cause
    assert (cause.object, cause.revision) == ("replicasets.apps/default/web", rs["metadata"]["resourceVersion"])
    assert cause.rule == "scale up: 0 of 3 replicas, create 3"
    made = api.list("pods")[0]
    assert made["metadata"]["ownerReferences"][0]["uid"] == rs["metadata"]["uid"]
    assert made["metadata"]["labels"] == {"app": "web"}
    assert ("Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}") in api.events
    api.settle(reconcile, "web")
    assert api.get("replicasets.apps", "default", "web")["status"]["replicas"] == 3


def test_replicas_default_to_one_and_zero_is_zero(api: MemoryApi) -> None:
    api.put("replicasets.apps", workload("ReplicaSet", "web"))
    api.put("replicasets.apps", workload("ReplicaSet", "none", replicas=0))
    api.settle(reconcile, "web")
    api.settle(reconcile, "none")
    assert len(api.list("pods")) == 1


def test_a_finished_pod_is_replaced_and_a_deleting_one_does_not_count(api: MemoryApi) -> None:
    rs = api.put("replicasets.apps", workload("ReplicaSet", "web", replicas=2))
    _owned(api, rs, "failed", phase="Failed")
    _owned(api, rs, "going", phase="Running", node="n", deletionTimestamp="2026-01-01T00:00:00Z")
    api.settle(reconcile, "web")
    assert len(api.list("pods")) == 4


def test_adopts_orphans_but_not_what_others_own(api: MemoryApi) -> None:
    rs = api.put("replicasets.apps", workload("ReplicaSet", "web", replicas=2))
    api.put("pods", pod("orphan"))
    foreign = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "other", "controller": True}
    api.put("pods", pod("foreign", ownerReferences=[foreign]))
    api.settle(reconcile, "web")
    assert api.get("pods", "default", "orphan")["metadata"]["ownerReferences"][0]["uid"] == rs["metadata"]["uid"]
    assert api.get("pods", "default", "foreign")["metadata"]["ownerReferences"] == [foreign]
    assert len(api.list("pods")) == 3


def test_does_not_adopt_when_the_server_says_the_set_is_being_deleted(api: MemoryApi) -> None:
    api.put("replicasets.apps", workload("ReplicaSet", "web", replicas=0))
    api.put("pods", pod("orphan"))
    stale = api.observed()
    from control.controllers.values.actions import Answer, Key

    (read,) = reconcile(Key("default", "web"), stale, api.now).reads
    decision = reconcile(Key("default", "web"), stale.after({read: Answer(None, 404)}), api.now)
    assert not [action for action in decision.actions if "adopt" in action.cause.rule]


def test_releases_what_it_no_longer_selects(api: MemoryApi) -> None:
    rs = api.put("replicasets.apps", workload("ReplicaSet", "web", replicas=1))
    _owned(api, rs, "relabelled", app="debug")
    api.settle(reconcile, "web")
    assert not api.get("pods", "default", "relabelled")["metadata"].get("ownerReferences")
    assert len(api.list("pods")) == 2


def test_victims_are_the_least_missed(api: MemoryApi) -> None:
    rs = api.put("replicasets.apps", workload("ReplicaSet", "web", replicas=1))
    _owned(api, rs, "ready", node="a", phase="Running", ready=True)
    _owned(api, rs, "unready", node="a", phase="Running")
    _owned(api, rs, "pending", node="b")
    _owned(api, rs, "unbound")
    decision = api.reconcile(reconcile, "web")
    assert [a.name for a in decision.actions if isinstance(a, Delete)] == ["unbound", "pending", "unready"]


def test_pod_deletion_cost_and_crowded_nodes_decide_between_ready_pods(api: MemoryApi) -> None:
    rs = api.put("replicasets.apps", workload("ReplicaSet", "web", replicas=1))
    costs = {"controller.kubernetes.io/pod-deletion-cost": "100"}
    _owned(api, rs, "dear", node="a", phase="Running", ready=True, annotations=costs)
    _owned(api, rs, "crowded", node="a", phase="Running", ready=True)
    _owned(api, rs, "alone", node="b", phase="Running", ready=True)
    decision = api.reconcile(reconcile, "web")
    assert [a.name for a in decision.actions if isinstance(a, Delete)] == ["crowded", "alone"]


def test_available_only_after_min_ready_seconds(api: MemoryApi) -> None:
    api.put("replicasets.apps", workload("ReplicaSet", "web", replicas=1, minReadySeconds=10))
    api.settle(reconcile, "web")
    name = _names(api)[0]
    api.change("pods", "default", name, {"status": {"phase": "Running", "conditions": [ready_condition()]}})
    decision = api.reconcile(reconcile, "web")
    assert decision.requeue_after == 10
    status = api.get("replicasets.apps", "default", "web")["status"]
    assert (status["readyReplicas"], status["availableReplicas"]) == (1, 0)
    api.pass_time(10)
    api.settle(reconcile, "web")
    assert api.get("replicasets.apps", "default", "web")["status"]["availableReplicas"] == 1


def test_a_refused_create_is_an_event_and_a_condition_until_it_works(api: MemoryApi) -> None:
    api.put("replicasets.apps", workload("ReplicaSet", "web", replicas=2))
    api.refuse = lambda a: forbidden("pods", "web-x", "exceeded quota: q") if isinstance(a, Create) else None
    api.reconcile(reconcile, "web")
    api.reconcile(reconcile, "web")
    (condition,) = api.get("replicasets.apps", "default", "web")["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("ReplicaFailure", "True", "FailedCreate")
    assert "exceeded quota" in condition["message"]
    assert any(reason == "FailedCreate" for _, reason, _ in api.events)
    api.refuse = lambda _: None
    api.settle(reconcile, "web")
    assert not api.get("replicasets.apps", "default", "web")["status"].get("conditions")


def test_a_set_that_is_being_deleted_leaves_its_pods_alone(api: MemoryApi) -> None:
    rs = workload("ReplicaSet", "web", replicas=5)
    rs["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]}
    _owned(api, api.put("replicasets.apps", rs), "one")
    api.settle(reconcile, "web")
    assert _names(api) == ["one"]
