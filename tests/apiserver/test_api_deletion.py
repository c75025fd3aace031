"""Deletion: finalizers, grace, propagation, collections, namespaces."""

from __future__ import annotations

import pytest
from harness.api_site import Api, config_map, pod


def test_finalizers_hold_an_object(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    any_api.create(path, {"metadata": {"name": "a", "finalizers": ["example.com/hold"]}})
    held = any_api.ask("DELETE", f"{path}/a")
    assert held.obj["metadata"]["deletionTimestamp"]
    assert held.obj["metadata"]["deletionGracePeriodSeconds"] == 0
    again = any_api.ask("DELETE", f"{path}/a").obj
    assert again["metadata"]["deletionTimestamp"] == held.obj["metadata"]["deletionTimestamp"]
    any_api.patch(f"{path}/a", {"metadata": {"finalizers": None}})
    assert any_api.ask("GET", f"{path}/a").code == 404


@pytest.mark.parametrize(
    ("policy", "finalizers"), [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None)]
)
def test_propagation(api: Api, namespace: str, policy: str, finalizers: list[str] | None) -> None:
    path = f"{namespace}/configmaps"
    api.create(path, config_map("a"))
    assert api.ask("DELETE", f"{path}/a", {"propagationPolicy": policy}).code == 200
    left = api.ask("GET", f"{path}/a")
    if finalizers is None:
        assert left.code == 404
    else:
        assert left.obj["metadata"]["finalizers"] == finalizers
    both = {"propagationPolicy": policy, "orphanDependents": True}
    api.ask("POST", path, config_map("b"))
    assert api.ask("DELETE", f"{path}/b", both).code == 422
    assert api.ask("DELETE", f"{path}/b", {"propagationPolicy": "Sideways"}).code == 422


def test_pods_get_their_time(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/pods"
    any_api.create(path, pod("unbound"))
    any_api.ask("DELETE", f"{path}/unbound")
    assert any_api.ask("GET", f"{path}/unbound").code == 404
    any_api.create(path, pod("bound", nodeName="n1"))
    going = any_api.ask("DELETE", f"{path}/bound").obj
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    assert any_api.get(f"{path}/bound")["metadata"]["deletionTimestamp"]
    longer = any_api.ask("DELETE", f"{path}/bound", {"gracePeriodSeconds": 60}).obj
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 30
    sooner = any_api.ask("DELETE", f"{path}/bound", gracePeriodSeconds="5").obj
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    assert sooner["metadata"]["deletionTimestamp"] < going["metadata"]["deletionTimestamp"]
    any_api.ask("DELETE", f"{path}/bound", {"gracePeriodSeconds": 0})
    assert any_api.ask("GET", f"{path}/bound").code == 404


def test_collections(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    for number in range(20):
        labels = {"go": "yes" if number % 2 else "no"}
        any_api.create(path, {"metadata": {"name": f"c{number:02}", "labels": labels}})
    gone = any_api.ask("DELETE", path, labelSelector="go=yes")
    assert gone.code == 200
    assert len(gone.obj["items"]) == 10
    left = any_api.get(path)["items"]
    assert len(left) == 10
    assert {item["metadata"]["labels"]["go"] for item in left} == {"no"}


def test_namespaces_end_when_they_are_finalized(any_api: Api, any_namespace: str) -> None:
    name = any_namespace.rpartition("/")[2]
    found = any_api.get(any_namespace)
    assert found["spec"]["finalizers"] == ["kubernetes"]
    assert found["status"]["phase"] == "Active"
    assert found["metadata"]["labels"]["kubernetes.io/metadata.name"] == name
    assert any_api.ask("DELETE", any_namespace).obj["status"]["phase"] == "Terminating"
    refused = any_api.ask("POST", f"{any_namespace}/configmaps", config_map("late"))
    assert (refused.code, refused.reason) == (403, "Forbidden")
    assert "being terminated" in refused.obj["message"]
    ending = any_api.get(any_namespace)
    ending["spec"]["finalizers"] = []
    assert any_api.ask("PUT", f"{any_namespace}/finalize", ending).code == 200
    assert any_api.ask("GET", any_namespace).code == 404
    assert any_api.ask("DELETE", "/api/v1/namespaces/default").code == 403


def test_evictions_respect_budgets(any_api: Api, any_namespace: str) -> None:
    budgets = any_namespace.replace("/api/v1", "/apis/policy/v1") + "/poddisruptionbudgets"
    pods = f"{any_namespace}/pods"
    for name in ("a", "b"):
        labels = {"app": "web"}
        any_api.create(pods, {**pod(name, nodeName="n"), "metadata": {"name": name, "labels": labels}})
        ready = [{"type": "Ready", "status": "True"}]
        any_api.patch(f"{pods}/{name}/status", {"status": {"phase": "Running", "conditions": ready}})
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    any_api.create(budgets, {"metadata": {"name": "keep"}, "spec": spec})
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}
    early = any_api.ask("POST", f"{pods}/a/eviction", eviction)
    assert (early.code, early.obj["details"]["causes"][0]["reason"]) == (429, "DisruptionBudget")
    assert early.headers["retry-after"] == "10"
    figures = {"desiredHealthy": 1, "currentHealthy": 2, "expectedPods": 2}
    any_api.patch(f"{budgets}/keep/status", {"status": {"observedGeneration": 1, "disruptionsAllowed": 1, **figures}})
    assert any_api.ask("POST", f"{pods}/a/eviction", eviction).code == 201
    assert any_api.get(f"{pods}/a")["metadata"]["deletionTimestamp"]
    assert any_api.get(f"{budgets}/keep")["status"]["disruptionsAllowed"] == 0
    eviction["metadata"]["name"] = "b"
    late = any_api.ask("POST", f"{pods}/b/eviction", eviction)
    assert late.code == 429
    assert "needs 1 healthy pods and has 2 currently" in late.obj["details"]["causes"][0]["message"]
    assert "deletionTimestamp" not in any_api.get(f"{pods}/b")["metadata"]
