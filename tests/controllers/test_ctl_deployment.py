"""Deployment by value: revisions, rollback, strategies, scaling, status, history, collisions."""

from __future__ import annotations

from typing import Any

import pytest
from ctl_manifests import ready_condition, template, workload
from ctl_memory_api import MemoryApi

from control.api.status import forbidden
from control.controllers.reconcilers import replicaset
from control.controllers.reconcilers.deployment import reconciler as deployment
from control.controllers.values.actions import Create
from control.controllers.values.templates import stable_hash

DEPLOYMENTS, SETS = "deployments.apps", "replicasets.apps"


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(DEPLOYMENTS, SETS, "pods")


def _settle(api: MemoryApi, *, ready: bool = True) -> None:
    """Let both controllers work until nothing moves; pods that run become ready."""
    for _ in range(60):
        before = len(api.actions)
        api.reconcile(deployment.reconcile, "web")
        for rs in api.list(SETS):
            api.reconcile(replicaset.reconcile, rs["metadata"]["name"])
        for pod in api.list("pods") if ready else []:
            if (pod.get("status") or {}).get("phase") != "Running":
                running = {"phase": "Running", "conditions": [ready_condition()]}
                api.change("pods", "default", pod["metadata"]["name"], {"status": running})
                before = -1
        if len(api.actions) == before:
            return
    raise AssertionError("the deployment does not come to rest")


def _put(api: MemoryApi, **spec: Any) -> dict[str, Any]:
    spec = {"replicas": 4, "progressDeadlineSeconds": 600, **spec}
    return api.put(DEPLOYMENTS, workload("Deployment", "web", **spec))


def _change(api: MemoryApi, **spec: Any) -> None:
    api.change(DEPLOYMENTS, "default", "web", {"spec": spec})


def _sizes(api: MemoryApi) -> dict[str, int]:
    return {
        rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: rs["spec"]["replicas"]
        for rs in api.list(SETS)
    }


def _condition(api: MemoryApi, kind: str) -> dict[str, Any]:
    conditions = api.get(DEPLOYMENTS, "default", "web")["status"]["conditions"]
    return next(c for c in conditions if c["type"] == kind)


def test_a_new_deployment_gets_a_set_and_becomes_available(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    (rs,) = api.list(SETS)
    digest = rs["metadata"]["labels"]["pod-template-hash"]
    assert rs["metadata"]["name"] == f"web-{digest}"
    assert rs["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
    assert rs["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] == "4"
    assert rs["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"] == "5"
    status = api.get(DEPLOYMENTS, "default", "web")["status"]
    assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (4, 4, 4)
    assert _condition(api, "Available")["status"] == "True"
    assert _condition(api, "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert ("Normal", "ScalingReplicaSet", f"Scaled up replica set web-{digest} from 0 to 4") in api.events


def test_a_new_template_rolls_within_its_bounds_and_a_rollback_finds_the_old_set(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    _change(api, template=template(image="web:2"))
    _settle(api)
    assert _sizes(api) == {"1": 0, "2": 4}
    _change(api, template=template(image="web:1"))
    _settle(api)
    assert _sizes(api) == {"2": 0, "3": 4}
    back = next(rs for rs in api.list(SETS) if rs["spec"]["replicas"])
    assert back["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
    found = api.get(DEPLOYMENTS, "default", "web")["metadata"]["annotations"]
    assert found["deployment.kubernetes.io/revision"] == "3"
    assert _condition(api, "Progressing")["reason"] == "NewReplicaSetAvailable"


def test_pods_that_never_become_ready_stop_the_rollout_and_the_deadline_says_so(api: MemoryApi) -> None:
    _put(api, progressDeadlineSeconds=60)
    _settle(api)
    _change(api, template=template(image="broken"))
    _settle(api, ready=False)
    assert _sizes(api) == {"1": 3, "2": 2}
    wait = api.reconcile(deployment.reconcile, "web").requeue_after
    assert wait is not None
    assert 0 < wait <= 61
    api.pass_time(wait)
    _settle(api, ready=False)
    progressing = _condition(api, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")
    _change(api, template=template(image="web:1"))
    _settle(api)
    assert _condition(api, "Progressing")["status"] == "True"


def test_the_pods_of_a_surge_are_unavailable_until_they_are_available(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    _change(api, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, template=template(image="broken"))
    _settle(api, ready=False)
    status = api.get(DEPLOYMENTS, "default", "web")["status"]
    assert (status["availableReplicas"], status["unavailableReplicas"]) == (4, 1)
    _change(api, template=template(image="web:1"))
    _settle(api)
    assert not api.get(DEPLOYMENTS, "default", "web")["status"].get("unavailableReplicas")


def test_recreate_starts_nothing_before_the_old_pods_are_gone(api: MemoryApi) -> None:
    _put(api, strategy={"type": "Recreate"})
    _settle(api)
    for pod in api.list("pods"):
        api.change("pods", "default", pod["metadata"]["name"], {"spec": {"nodeName": "n"}})
    _change(api, template=template(image="web:2"))
    _settle(api)
    assert _sizes(api) == {"1": 0}
    for pod in api.list("pods"):
        assert pod["metadata"]["deletionTimestamp"]
        api.kill("default", pod["metadata"]["name"])
    _settle(api)
    assert _sizes(api) == {"1": 0, "2": 4}


def test_paused_scales_but_does_not_roll(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    _change(api, paused=True, template=template(image="web:2"), replicas=6)
    _settle(api)
    assert _sizes(api) == {"1": 6}
    assert _condition(api, "Progressing")["reason"] == "DeploymentPaused"
    _change(api, paused=False)
    _settle(api)
    assert _sizes(api) == {"1": 0, "2": 6}


def test_scaling_in_the_middle_of_a_rollout_is_proportional(api: MemoryApi) -> None:
    rolling = {"maxSurge": 3, "maxUnavailable": 2}
    _put(api, replicas=10, strategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    _settle(api)
    _change(api, template=template(image="broken"))
    _settle(api, ready=False)
    assert _sizes(api) == {"1": 8, "2": 5}
    _change(api, replicas=15)
    api.reconcile(deployment.reconcile, "web")
    assert _sizes(api) == {"1": 11, "2": 7}


def test_scale_to_zero_and_back(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    _change(api, replicas=0)
    _settle(api)
    assert api.list("pods") == []
    _change(api, replicas=2)
    _settle(api)
    assert len(api.list("pods")) == 2


def test_old_sets_beyond_the_history_limit_go(api: MemoryApi) -> None:
    _put(api, replicas=1, revisionHistoryLimit=2)
    for image in "abcde":
        _change(api, template=template(image=image))
        _settle(api)
    assert sorted(_sizes(api)) == ["3", "4", "5"]


def test_a_name_that_is_taken_counts_a_collision(api: MemoryApi) -> None:
    made = _put(api)
    foreign = workload("ReplicaSet", "other")
    foreign["metadata"]["name"] = f"web-{stable_hash(made['spec']['template'])}"
    api.put(SETS, foreign)
    _settle(api)
    assert api.get(DEPLOYMENTS, "default", "web")["status"]["collisionCount"] == 1
    assert len([rs for rs in api.list(SETS) if rs["spec"].get("replicas") == 4]) == 1


def test_a_set_that_is_being_deleted_gives_its_name_and_its_pods_to_the_next(api: MemoryApi) -> None:
    """kubectl delete rs --cascade=orphan: its name was taken for a collision, and its pods ran on for nobody."""
    _put(api)
    _settle(api)
    (rs,) = api.list(SETS)
    name = rs["metadata"]["name"]
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["orphan"]}
    api.change(SETS, "default", name, {"metadata": going})
    before = {pod["metadata"]["name"] for pod in api.list("pods")}
    for pod in before:
        api.change("pods", "default", pod, {"metadata": {"ownerReferences": []}})
    api.reconcile(deployment.reconcile, "web")
    assert [found["metadata"]["name"] for found in api.list(SETS)] == [name]
    assert "collisionCount" not in api.get(DEPLOYMENTS, "default", "web")["status"]
    api.change(SETS, "default", name, {"metadata": {"finalizers": []}})
    _settle(api)
    assert [found["metadata"]["name"] for found in api.list(SETS)] == [name]
    assert {pod["metadata"]["name"] for pod in api.list("pods")} == before


def test_a_set_that_cannot_be_created_is_a_condition(api: MemoryApi) -> None:
    _put(api)
    api.refuse = lambda a: forbidden(SETS, "web-x", "exceeded quota: q") if isinstance(a, Create) else None
    for _ in range(3):
        api.reconcile(deployment.reconcile, "web")
    progressing = _condition(api, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "ReplicaSetCreateError")
    assert "exceeded quota" in progressing["message"]
    api.refuse = lambda _: None
    _settle(api)
    assert _condition(api, "Progressing")["reason"] == "NewReplicaSetAvailable"


def test_pods_that_cannot_be_created_fail_the_replicas(api: MemoryApi) -> None:
    _put(api)
    api.refuse = lambda a: forbidden("pods", "x", "no") if isinstance(a, Create) and a.resource == "pods" else None
    _settle_failing(api)
    assert _condition(api, "ReplicaFailure")["reason"] == "FailedCreate"


def _settle_failing(api: MemoryApi) -> None:
    for _ in range(4):
        api.reconcile(deployment.reconcile, "web")
        for rs in api.list(SETS):
            api.reconcile(replicaset.reconcile, rs["metadata"]["name"])


def test_a_selector_of_everything_is_refused_with_an_event(api: MemoryApi) -> None:
    made = workload("Deployment", "web")
    made["spec"]["selector"] = {}
    api.put(DEPLOYMENTS, made)
    api.settle(deployment.reconcile, "web")
    assert api.list(SETS) == []
    assert (
        "Warning",
        "SelectingAll",
        "This deployment is selecting all pods. A non-empty selector is required.",
    ) in api.events


def test_min_ready_seconds_and_annotations_reach_the_set(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    api.change(
        DEPLOYMENTS, "default", "web", {"metadata": {"annotations": {"note": "x"}}, "spec": {"minReadySeconds": 3}}
    )
    api.pass_time(100)
    _settle(api)
    (rs,) = api.list(SETS)
    assert rs["spec"]["minReadySeconds"] == 3
    assert rs["metadata"]["annotations"]["note"] == "x"


def test_the_hash_of_a_template_never_changes() -> None:
    """Sets are found again by name after an upgrade of ours, so this very text is part of the contract."""
    assert stable_hash({"b": 1, "a": [True, "ü"]}) == stable_hash({"a": [True, "ü"], "b": 1})
    assert stable_hash({"a": 1}) == "nxkpsqwbdd"
    assert stable_hash({"a": 1}, 1) != stable_hash({"a": 1})
