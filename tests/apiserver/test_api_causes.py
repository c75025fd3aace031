"""Fences and causes: what our own controllers' writes carry."""

from __future__ import annotations

import json

from harness.api_site import NOBODY, Api, Site, config_map, pod

from kvstore.pb.etcd_pb2 import DeleteRangeRequest, PutRequest


def test_a_lost_leadership_cannot_write(any_site: Site, any_api: Api, any_namespace: str) -> None:
    path, key = f"{any_namespace}/configmaps", b"/fluyt/leaders/controllers/1a2b"
    revision = any_site.store.stub().Put(PutRequest(key=key, value=b"me"), timeout=5).header.revision
    fence = {"Fluyt-Fence": f"{key.decode()};{revision}"}
    assert any_api.ask("POST", path, config_map("a", n="0"), headers=fence).code == 201
    patch = {"content_type": "application/merge-patch+json", "headers": fence}
    assert any_api.ask("PATCH", f"{path}/a", {"data": {"n": "1"}}, **patch).code == 200
    any_site.store.stub().DeleteRange(DeleteRangeRequest(key=key), timeout=5)
    for refused in (
        any_api.ask("PATCH", f"{path}/a", {"data": {"n": "2"}}, **patch),
        any_api.ask("POST", path, config_map("b"), headers=fence),
        any_api.ask("DELETE", f"{path}/a", headers=fence),
    ):
        assert (refused.code, refused.reason) == (409, "Conflict")
        assert [cause["reason"] for cause in refused.obj["details"]["causes"]] == ["FenceLost"]
    assert any_api.get(f"{path}/a")["data"] == {"n": "1"}
    assert any_api.ask("GET", f"{path}/b").code == 404
    again = any_site.store.stub().Put(PutRequest(key=key, value=b"me"), timeout=5).header.revision
    assert again != revision
    assert any_api.ask("PATCH", f"{path}/a", {"data": {"n": "3"}}, **patch).code == 409
    for wrong in ("nonsense", "/registry/pods/a/b;1", f"{key.decode()};x", f"{key.decode()};{'9' * 30}"):
        assert any_api.ask("POST", path, config_map("c"), headers={"Fluyt-Fence": wrong}).code == 400


LOST = {"Fluyt-Fence": "/fluyt/leaders/controllers/1a2b;5"}


def test_an_eviction_by_a_lost_leadership_costs_the_budget_nothing(any_api: Api, any_namespace: str) -> None:
    pods, labels = f"{any_namespace}/pods", {"app": "web"}
    budgets = any_namespace.replace("/api/v1", "/apis/policy/v1") + "/poddisruptionbudgets"
    any_api.create(pods, {**pod("a"), "metadata": {"name": "a", "labels": labels}})
    ready = [{"type": "Ready", "status": "True"}]
    any_api.patch(f"{pods}/a/status", {"status": {"phase": "Running", "conditions": ready}})
    spec = {"minAvailable": 0, "selector": {"matchLabels": labels}}
    any_api.create(budgets, {"metadata": {"name": "one"}, "spec": spec})
    figures = {"desiredHealthy": 0, "currentHealthy": 1, "expectedPods": 1, "disruptionsAllowed": 1}
    before = any_api.patch(f"{budgets}/one/status", {"status": {"observedGeneration": 1, **figures}})
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}
    refused = any_api.ask("POST", f"{pods}/a/eviction", eviction, headers=LOST)
    assert (refused.code, refused.obj["details"]["kind"], refused.obj["details"]["name"]) == (409, "pods", "a")
    assert [cause["reason"] for cause in refused.obj["details"]["causes"]] == ["FenceLost"]
    assert any_api.get(f"{budgets}/one") == before
    assert any_api.ask("POST", f"{pods}/a/eviction", eviction).code == 201


def test_what_stores_nothing_needs_no_leadership(api: Api, namespace: str) -> None:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    assert api.ask("POST", f"{namespace}/serviceaccounts/default/token", request, headers=LOST).code == 201
    assert api.ask("POST", f"{namespace}/configmaps?dryRun=All", config_map("a"), headers=LOST).code == 201


def test_causes_are_kept_beside_the_revision(any_api: Api, any_namespace: str) -> None:
    path, namespace = f"{any_namespace}/configmaps", any_namespace.rpartition("/")[2]
    cause = {"object": "deployments.apps/default/web", "uid": "u", "revision": "12", "rule": "scale up"}
    made = any_api.ask("POST", path, config_map("a"), headers={"Fluyt-Cause": json.dumps(cause)}).obj
    changed = any_api.patch(f"{path}/a", {"data": {"k": "v"}})
    any_api.ask("DELETE", f"{path}/a")
    items = any_api.get(f"/fluyt/causes/configmaps/{namespace}/a")["items"]
    assert [item["verb"] for item in items] == ["create", "patch", "delete"]
    assert items[0]["cause"] == cause
    assert items[0]["revision"] == made["metadata"]["resourceVersion"]
    assert items[1]["revision"] == changed["metadata"]["resourceVersion"]
    assert items[1]["cause"] == {"rule": "user admin: patch"}
    assert {item["user"] for item in items} == {"admin"}
    for wrong in ("[]", "{", json.dumps({"rule": "x" * 3000})):
        assert any_api.ask("POST", path, config_map("b"), headers={"Fluyt-Cause": wrong}).code == 400


def test_causes_of_cluster_wide_objects(api: Api, namespace: str) -> None:
    name = namespace.rpartition("/")[2]
    items = api.get(f"/fluyt/causes/namespaces/-/{name}")["items"]
    assert [item["verb"] for item in items] == ["create"]
    assert api.ask("GET", "/fluyt/causes/none/-/x").code == 404


def test_causes_need_the_right_to_read(site: Site, namespace: str) -> None:
    name = namespace.rpartition("/")[2]
    refused = site.api(token=NOBODY).ask("GET", f"/fluyt/causes/secrets/{name}/x")
    assert (refused.code, refused.reason) == (403, "Forbidden")


def test_renewals_of_leases_leave_no_cause(api: Api, namespace: str) -> None:
    path = namespace.replace("/api/v1", "/apis/coordination.k8s.io/v1") + "/leases"
    api.create(path, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}})
    api.patch(f"{path}/l", {"spec": {"holderIdentity": "you"}})
    assert api.get(f"/fluyt/causes/leases.coordination.k8s.io/{namespace.rpartition('/')[2]}/l")["items"] == []
