"""Endpoints, slices, budgets, quotas, accounts."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from ctl_manifests import pod, ready_condition, workload
from ctl_memory_api import MemoryApi
from hypothesis import given, settings
from hypothesis import strategies as st

from control.api.schema import Object
from control.controllers.reconcilers import disruption, resourcequota, serviceaccount
from control.controllers.reconcilers.services import endpoints, endpointslice, endpointslicemirroring
from control.controllers.reconcilers.services.pods import wake_services
from control.controllers.values.actions import Answer, Key, Read
from control.controllers.values.observed import KnownKind

SLICES = "endpointslices.discovery.k8s.io"
BUDGETS = "poddisruptionbudgets.policy"
SETS, DEPLOYMENTS = "replicasets.apps", "deployments.apps"
KINDS = {
    ("apps/v1", "ReplicaSet"): KnownKind(SETS, True),
    ("apps/v1", "Deployment"): KnownKind(DEPLOYMENTS, True),
}


@pytest.fixture
def api() -> MemoryApi:
    return _api()


def _api() -> MemoryApi:
    resources = ("services", "endpoints", SLICES, "pods", "nodes", BUDGETS, SETS, DEPLOYMENTS, "resourcequotas")
    more = ("namespaces", "serviceaccounts", "configmaps")
    return MemoryApi(*resources, *more, kinds=KINDS)


def _service(api: MemoryApi, **spec: Any) -> Object:
    made = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}], "clusterIP": "10.96.0.9", **spec}
    metadata = {"name": "web", "namespace": "default"}
    return api.put("services", {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": made})


def _pod(api: MemoryApi, name: str, ip: str, *, ready: bool = True, **more: Any) -> Object:
    made = pod(name, node="n", phase="Running", ready=ready, **more)
    made["status"] |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    return api.put("pods", made)


def _subsets(api: MemoryApi) -> list[Any]:
    subsets = api.get("endpoints", "default", "web").get("subsets") or []
    return [
        (
            [entry["ip"] for entry in subset.get("addresses") or ()],
            [entry["ip"] for entry in subset.get("notReadyAddresses") or ()],
            [port["port"] for port in subset.get("ports") or ()],
        )
        for subset in subsets
    ]


# ---- endpoints ----


def test_ready_and_unready_pods_are_told_apart(api: MemoryApi) -> None:
    _service(api)
    _pod(api, "a", "10.0.0.1")
    _pod(api, "b", "10.0.0.2", ready=False)
    _pod(api, "going", "10.0.0.3", deletionTimestamp="2026-01-01T00:00:00Z")
    _pod(api, "other", "10.0.0.4", app="other")
    api.settle(endpoints.reconcile, "web")
    assert _subsets(api) == [(["10.0.0.1"], ["10.0.0.2"], [8080])]


def test_unready_pods_may_be_published(api: MemoryApi) -> None:
    _service(api, publishNotReadyAddresses=True)
    _pod(api, "b", "10.0.0.2", ready=False)
    api.settle(endpoints.reconcile, "web")
    assert _subsets(api) == [(["10.0.0.2"], [], [8080])]


def test_named_ports_are_those_of_each_pod(api: MemoryApi) -> None:
    _service(api, ports=[{"port": 80, "targetPort": "http"}])
    for name, ip, port in (("a", "10.0.0.1", 8000), ("b", "10.0.0.2", 9000)):
        _pod(api, name, ip)
        ports = [{"name": "main", "ports": [{"name": "http", "containerPort": port}]}]
        api.change("pods", "default", name, {"spec": {"containers": ports}})
    _pod(api, "without", "10.0.0.3")
    api.settle(endpoints.reconcile, "web")
    assert _subsets(api) == [(["10.0.0.1"], [], [8000]), (["10.0.0.2"], [], [9000])]


@pytest.mark.parametrize(("policy", "expected"), [(None, []), ("Always", [(["10.0.0.1"], [], [9])])])
def test_a_named_port_may_be_one_of_a_sidecar_only(api: MemoryApi, policy: str | None, expected: list[Any]) -> None:
    """Any other init container has ended when the pod serves."""
    _service(api, ports=[{"port": 80, "targetPort": "http"}])
    _pod(api, "a", "10.0.0.1")
    first = {"name": "first", "ports": [{"name": "http", "containerPort": 9}], "restartPolicy": policy}
    api.change("pods", "default", "a", {"spec": {"initContainers": [first]}})
    api.settle(endpoints.reconcile, "web")
    assert _subsets(api) == expected


def test_endpoints_without_a_selector_belong_to_somebody_else(api: MemoryApi) -> None:
    _service(api, selector=None)
    made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "default"}}
    api.put("endpoints", {**made, "subsets": [{"addresses": [{"ip": "192.0.2.1"}]}]})
    api.settle(endpoints.reconcile, "web")
    api.settle(endpointslice.reconcile, "web")
    assert _subsets(api) == [(["192.0.2.1"], [], [])]
    assert api.list(SLICES) == []


def test_endpoints_go_with_their_service(api: MemoryApi) -> None:
    service = _service(api)
    api.settle(endpoints.reconcile, "web")
    api.stores["services"].remove(service)
    api.settle(endpoints.reconcile, "web")
    assert api.list("endpoints") == []


def _by_hand(api: MemoryApi, **metadata: Any) -> None:
    made = {"apiVersion": "v1", "kind": "Endpoints", "subsets": [{"addresses": [{"ip": "192.0.2.1"}]}]}
    api.put("endpoints", {**made, "metadata": {"name": "web", "namespace": "default", **metadata}})


def _reconcile_woken(api: MemoryApi, keys: Iterable[Key]) -> None:
    for key in list(keys):
        api.settle(endpoints.reconcile, key.name, key.namespace, key.resource)


def test_endpoints_written_by_hand_go_with_their_service(api: MemoryApi) -> None:
    service = _service(api, selector=None)
    _by_hand(api)
    _reconcile_woken(api, endpoints.wake("services", None, service, api.observed()))
    assert len(api.list("endpoints")) == 1
    api.stores["services"].remove(service)
    _reconcile_woken(api, endpoints.wake("services", service, None, api.observed()))
    assert api.list("endpoints") == []


def test_endpoints_may_be_written_before_their_service(api: MemoryApi) -> None:
    _by_hand(api)
    api.settle(endpoints.reconcile, "web")
    assert len(api.list("endpoints")) == 1


@pytest.mark.parametrize(
    ("annotations", "answer", "left"),
    [
        ({}, Answer(None, 404), 0),
        ({}, Answer(None, 500), 1),
        ({}, Answer({"metadata": {"name": "web"}}), 1),
        ({endpoints.LEADER: "{}"}, Answer(None, 404), 1),
    ],
)
def test_endpoints_whose_service_went_while_nobody_looked(
    api: MemoryApi, annotations: dict[str, str], answer: Answer, left: int
) -> None:
    """What somebody wrote goes only if the server, not just a view that may lag, says that there is no service."""
    _by_hand(api, annotations=annotations)
    api.answers[Read("services", "default", "web")] = answer
    _reconcile_woken(api, endpoints.keys(api.observed()))
    assert len(api.list("endpoints")) == left


def test_more_than_a_thousand_are_cut(api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MOST", 2)
    _service(api)
    for number in range(3):
        _pod(api, f"p{number}", f"10.0.0.{number}", ready=number != 0)
    api.settle(endpoints.reconcile, "web")
    made = api.get("endpoints", "default", "web")
    assert made["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"] == "truncated"
    assert _subsets(api) == [(["10.0.0.1", "10.0.0.2"], [], [8080])]


def test_only_what_endpoints_show_wakes_them(api: MemoryApi) -> None:
    _service(api)
    old = _pod(api, "a", "10.0.0.1")
    view = api.observed()
    assert list(wake_services("pods", old, {**old, "status": {**old["status"], "message": "x"}}, view)) == []
    assert list(wake_services("pods", None, old, view)) == [Key("default", "web")]
    relabelled = {**old, "metadata": {**old["metadata"], "labels": {"app": "other"}}}
    assert list(wake_services("pods", old, relabelled, view)) == [Key("default", "web")]


# ---- slices ----


def _endpoints(api: MemoryApi) -> dict[str, Object]:
    return {e["addresses"][0]: e for s in api.list(SLICES) for e in s["endpoints"]}


def test_slices_say_ready_serving_and_terminating(api: MemoryApi) -> None:
    _service(api)
    _pod(api, "a", "10.0.0.1")
    _pod(api, "b", "10.0.0.2", ready=False)
    _pod(api, "c", "10.0.0.3", deletionTimestamp="2026-01-01T00:00:00Z")
    api.settle(endpointslice.reconcile, "web")
    found = {ip: tuple(e["conditions"].values()) for ip, e in _endpoints(api).items()}
    expected = {"10.0.0.1": (True, True, False), "10.0.0.2": (False, False, False), "10.0.0.3": (False, True, True)}
    assert found == expected
    (made,) = api.list(SLICES)
    assert made["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
    assert made["ports"] == [{"port": 8080, "protocol": "TCP"}]


def test_families_have_slices_of_their_own(api: MemoryApi) -> None:
    _service(api, ipFamilies=["IPv4", "IPv6"])
    _pod(api, "a", "10.0.0.1")
    api.change("pods", "default", "a", {"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}})
    api.settle(endpointslice.reconcile, "web")
    assert sorted(s["addressType"] for s in api.list(SLICES)) == ["IPv4", "IPv6"]


def test_a_service_without_pods_has_one_empty_slice_a_family(api: MemoryApi) -> None:
    _service(api, ipFamilies=["IPv4", "IPv6"])

    def slices() -> list[tuple[Any, ...]]:
        api.settle(endpointslice.reconcile, "web")
        found = [(s["addressType"], len(s["ports"]), len(s["endpoints"])) for s in api.list(SLICES)]
        return sorted(found)

    empty = [("IPv4", 0, 0), ("IPv6", 0, 0)]
    assert slices() == empty
    _pod(api, "a", "10.0.0.1")
    assert slices() == [("IPv4", 1, 1), ("IPv6", 0, 0)]
    api.kill("default", "a")
    assert slices() == empty


def test_the_empty_slice_of_a_service_without_ports_is_filled(api: MemoryApi) -> None:
    _service(api, ports=[], clusterIP="None")
    api.settle(endpointslice.reconcile, "web")
    (empty,) = api.list(SLICES)
    _pod(api, "a", "10.0.0.1")
    api.settle(endpointslice.reconcile, "web")
    (filled,) = api.list(SLICES)
    assert (len(empty["endpoints"]), len(filled["endpoints"])) == (0, 1)
    assert filled["metadata"]["name"] == empty["metadata"]["name"]
    api.kill("default", "a")
    api.settle(endpointslice.reconcile, "web")
    assert [s["endpoints"] for s in api.list(SLICES)] == [[]]


def test_one_changed_pod_is_one_small_write(api: MemoryApi) -> None:
    _service(api)
    for number in range(150):
        _pod(api, f"p{number:03}", f"10.0.0.{number}")
    api.settle(endpointslice.reconcile, "web")
    assert sorted(len(s["endpoints"]) for s in api.list(SLICES)) == [50, 100]
    api.change("pods", "default", "p007", {"status": {"conditions": [ready_condition("False")]}})
    assert len(api.reconcile(endpointslice.reconcile, "web").actions) == 1
    api.kill("default", "p120")
    assert len(api.reconcile(endpointslice.reconcile, "web").actions) == 1


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_slices_always_hold_exactly_the_services_pods(chance: random.Random) -> None:
    api = _api()
    _service(api)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(endpointslice, "MOST", 3)
        for step in range(40):
            pods = api.list("pods")
            if pods and chance.random() < 0.4:
                api.kill("default", chance.choice(pods)["metadata"]["name"])
            else:
                _pod(api, f"p{step}", f"10.0.0.{step}", ready=chance.random() < 0.5)
            if chance.random() < 0.5:
                api.settle(endpointslice.reconcile, "web")
                every = [e["addresses"][0] for s in api.list(SLICES) for e in s["endpoints"]]
                assert sorted(every) == sorted(p["status"]["podIP"] for p in api.list("pods"))
                sizes = [len(s["endpoints"]) for s in api.list(SLICES)]
                assert max(sizes) <= 3
                assert min(sizes) > 0 or sizes == [0]


# ---- budgets ----


def _budget(api: MemoryApi, **spec: Any) -> None:
    made = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "default"}}
    api.put(BUDGETS, {**made, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}})


def _owned_pods(api: MemoryApi, replicas: int, ready: int) -> None:
    deployment = api.put(DEPLOYMENTS, workload("Deployment", "web", replicas=replicas))
    reference = {"apiVersion": "apps/v1", "controller": True, "blockOwnerDeletion": True}
    above = {**reference, "kind": "Deployment", "name": "web", "uid": deployment["metadata"]["uid"]}
    rs = workload("ReplicaSet", "web-1", replicas=replicas)
    rs["metadata"]["ownerReferences"] = [above]
    rs = api.put(SETS, rs)
    owner = {**reference, "kind": "ReplicaSet", "name": "web-1", "uid": rs["metadata"]["uid"]}
    for number in range(replicas):
        _pod(api, f"p{number}", f"10.0.0.{number}", ready=number < ready, ownerReferences=[owner])


def _counts(api: MemoryApi) -> tuple[int, ...]:
    api.settle(disruption.reconcile, "b")
    status = api.get(BUDGETS, "default", "b")["status"]
    return tuple(status[n] for n in ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 2}, (4, 2, 3, 1)),
        ({"minAvailable": "50%"}, (4, 2, 3, 1)),
        ({"maxUnavailable": 1}, (4, 3, 3, 0)),
        ({"maxUnavailable": "50%"}, (4, 2, 3, 1)),
        ({"minAvailable": 0}, (4, 0, 3, 3)),
    ],
)
def test_how_many_may_be_disrupted(api: MemoryApi, spec: dict[str, Any], expected: tuple[int, ...]) -> None:
    _owned_pods(api, replicas=4, ready=3)
    _budget(api, **spec)
    assert _counts(api) == expected


def test_an_eviction_that_was_allowed_counts_until_it_came_or_is_forgotten(api: MemoryApi) -> None:
    _owned_pods(api, replicas=4, ready=4)
    _budget(api, minAvailable=3)
    assert _counts(api)[3] == 1
    api.change(BUDGETS, "default", "b", {"status": {"disruptedPods": {"p0": "2026-01-01T00:00:00Z"}}})
    assert _counts(api)[3] == 0
    assert api.reconcile(disruption.reconcile, "b").requeue_after == 120
    api.pass_time(120)
    assert _counts(api)[3] == 1
    assert "disruptedPods" not in api.get(BUDGETS, "default", "b")["status"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"maxUnavailable": 1}, (4, 3, 5, 2)),
        ({"minAvailable": "50%"}, (4, 2, 5, 3)),
        ({"minAvailable": 2}, (5, 2, 5, 3)),
    ],
)
def test_a_pod_without_a_controller_does_not_stop_evictions(
    api: MemoryApi, spec: dict[str, Any], expected: tuple[int, ...]
) -> None:
    _owned_pods(api, replicas=4, ready=4)
    _pod(api, "debug", "10.0.1.1")
    _budget(api, **spec)
    assert _counts(api) == expected
    told = [(kind, reason) for kind, reason, _ in api.events]
    assert told == ([] if spec == {"minAvailable": 2} else [("Warning", "UnmanagedPods")])


def test_of_pods_without_a_controller_alone_none_may_be_disrupted(api: MemoryApi) -> None:
    _pod(api, "bare", "10.0.0.1")
    _budget(api, maxUnavailable=1)
    assert _counts(api) == (0, 0, 1, 0)


def test_pods_whose_controller_is_not_known_may_not_be_disrupted(api: MemoryApi) -> None:
    stranger = {"apiVersion": "example.com/v1", "kind": "Crew", "name": "c", "uid": "u", "controller": True}
    _pod(api, "theirs", "10.0.0.1", ownerReferences=[stranger])
    _budget(api, maxUnavailable="50%")
    api.settle(disruption.reconcile, "b")
    status = api.get(BUDGETS, "default", "b")["status"]
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "SyncFailed"
    assert any(reason == "CalculateExpectedPodCountFailed" for _, reason, _ in api.events)


# ---- quotas ----


def test_what_a_namespace_uses_is_counted_again(api: MemoryApi) -> None:
    made = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"}}
    hard = {"pods": "5", "requests.cpu": "2", "count/replicasets.apps": "3"}
    api.put("resourcequotas", {**made, "spec": {"hard": hard}, "status": {"used": {"pods": "99"}}})
    _pod(api, "a", "10.0.0.1")
    containers = [{"name": "main", "resources": {"requests": {"cpu": "250m"}}}]
    api.change("pods", "default", "a", {"spec": {"containers": containers}})
    api.put("pods", pod("done", phase="Succeeded"))
    api.put(SETS, workload("ReplicaSet", "web"))
    api.settle(resourcequota.reconcile, "q")
    status = api.get("resourcequotas", "default", "q")["status"]
    assert status == {"hard": hard, "used": {"pods": "1", "requests.cpu": "250m", "count/replicasets.apps": "1"}}


# ---- namespaces' own things ----


def test_every_namespace_has_an_account_and_the_ca(api: MemoryApi) -> None:
    publish = serviceaccount.root_ca("PEM")
    api.put("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}})
    for _ in range(2):
        api.settle(serviceaccount.reconcile, "new", "")
        api.settle(publish, "new", "")
        assert api.get("serviceaccounts", "new", "default")
        assert api.get("configmaps", "new", "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}
        api.change("configmaps", "new", "kube-root-ca.crt", {"data": {"ca.crt": "broken"}})
        api.stores["serviceaccounts"].remove(api.get("serviceaccounts", "new", "default"))


def test_a_namespace_that_is_being_deleted_gets_nothing_new(api: MemoryApi) -> None:
    metadata = {"name": "old", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}
    api.put("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    api.settle(serviceaccount.reconcile, "old", "")
    assert api.list("serviceaccounts") == []


# ---- endpoints written by hand ----


def test_endpoints_of_services_without_a_selector_are_mirrored(api: MemoryApi) -> None:
    _service(api, selector=None)
    made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "default"}}
    subset = {"addresses": [{"ip": "192.0.2.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80, "protocol": "TCP"}]}
    api.put("endpoints", {**made, "subsets": [subset]})
    api.settle(endpointslicemirroring.reconcile, "web")
    assert sorted((s["addressType"], *s["endpoints"][0]["addresses"]) for s in api.list(SLICES)) == [
        ("IPv4", "192.0.2.1"),
        ("IPv6", "fd00::1"),
    ]
    changed = {**subset, "addresses": [{"ip": "192.0.2.2"}]}
    api.change("endpoints", "default", "web", {"subsets": [changed]})
    api.settle(endpointslicemirroring.reconcile, "web")
    (only,) = api.list(SLICES)
    assert only["endpoints"] == [{"addresses": ["192.0.2.2"], "conditions": {"ready": True}}]
    marks = {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}
    api.change("endpoints", "default", "web", {"metadata": marks})
    api.settle(endpointslicemirroring.reconcile, "web")
    assert api.list(SLICES) == []


def test_endpoints_of_services_that_select_pods_are_not_mirrored(api: MemoryApi) -> None:
    _service(api)
    _pod(api, "a", "10.0.0.1")
    api.settle(endpoints.reconcile, "web")
    api.settle(endpointslicemirroring.reconcile, "web")
    assert api.list(SLICES) == []
