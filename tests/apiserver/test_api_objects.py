"""Objects through their life, on our store and on Debian's etcd alike."""

from __future__ import annotations

from harness.api_site import NOBODY, Api, Site, config_map, pod


def test_a_life(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    made = any_api.create(path, config_map("a", key="1"))
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert any_api.get(f"{path}/a") == made
    made["data"]["key"] = "2"
    changed = any_api.ask("PUT", f"{path}/a", made).obj
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    assert any_api.get(f"{path}/a")["data"] == {"key": "2"}
    gone = any_api.ask("DELETE", f"{path}/a")
    assert gone.code == 200
    assert gone.obj["status"] == "Success"
    assert gone.obj["details"]["uid"] == made["metadata"]["uid"]
    missing = any_api.ask("GET", f"{path}/a")
    assert (missing.code, missing.reason) == (404, "NotFound")
    assert missing.obj["message"] == 'configmaps "a" not found'


def test_what_is_there_cannot_be_created(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    any_api.create(path, config_map("a"))
    again = any_api.ask("POST", path, config_map("a"))
    assert (again.code, again.reason) == (409, "AlreadyExists")
    assert any_api.ask("PUT", f"{path}/b", config_map("b")).code == 404


def _leases(namespace: str) -> str:
    return namespace.replace("/api/v1", "/apis/coordination.k8s.io/v1") + "/leases"


def test_of_some_kinds_a_put_creates_what_is_not_there(any_api: Api, any_namespace: str) -> None:
    path, held = f"{_leases(any_namespace)}/l", {"spec": {"holderIdentity": "me"}}
    assert any_api.ask("PUT", f"{path}?dryRun=All", held).code == 201
    assert any_api.ask("GET", path).code == 404
    made = any_api.ask("PUT", path, held)
    assert (made.code, made.obj["metadata"]["name"]) == (201, "l")
    assert made.obj["metadata"]["uid"]
    assert any_api.ask("PUT", path, {"spec": {"holderIdentity": "you"}}).code == 200
    assert any_api.get(path)["spec"] == {"holderIdentity": "you"}
    assert any_api.ask("PUT", path, {"metadata": {"name": "other"}, **held}).code == 400
    assert any_api.ask("PUT", f"{any_namespace}/services/s/status", {}).code == 404
    ports = {"spec": {"ports": [{"port": 80}]}}
    assert any_api.ask("PUT", f"{any_namespace}/services/s", ports).obj["spec"]["clusterIP"]


def test_who_renews_a_lease_that_has_gone_does_not_get_a_new_one(any_api: Api, any_namespace: str) -> None:
    path = _leases(any_namespace)
    held = any_api.create(path, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}})
    any_api.ask("DELETE", f"{path}/l")
    for field in ("uid", "resourceVersion"):
        body = {"metadata": {"name": "l", field: held["metadata"][field]}, "spec": held["spec"]}
        refused = any_api.ask("PUT", f"{path}/l", body)
        assert (refused.code, refused.reason) == (409, "Conflict")
    assert any_api.ask("GET", f"{path}/l").code == 404


def test_who_may_only_update_creates_nothing_with_a_put(site: Site, api: Api, namespace: str) -> None:
    rbac = namespace.replace("/api/v1", "/apis/rbac.authorization.k8s.io/v1")
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["update"]}
    api.create(f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}
    api.create(f"{rbac}/rolebindings", {"metadata": {"name": "r"}, "roleRef": role, "subjects": [subject]})
    refused = site.api(token=NOBODY).ask("PUT", f"{_leases(namespace)}/l", {"spec": {"holderIdentity": "me"}})
    assert (refused.code, refused.reason) == (403, "Forbidden")
    assert 'cannot create resource "leases"' in refused.obj["message"]


def test_stale_writes_are_refused(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    first = any_api.create(path, config_map("a", n="0"))
    any_api.patch(f"{path}/a", {"data": {"n": "1"}})
    stale = any_api.ask("PUT", f"{path}/a", first)
    assert (stale.code, stale.reason) == (409, "Conflict")
    assert "the object has been modified" in stale.obj["message"]
    patch = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "data": {"n": "2"}}
    assert any_api.ask("PATCH", f"{path}/a", patch, content_type="application/merge-patch+json").code == 409
    options = {"preconditions": {"resourceVersion": first["metadata"]["resourceVersion"]}}
    assert any_api.ask("DELETE", f"{path}/a", options).code == 409
    assert any_api.ask("DELETE", f"{path}/a", {"preconditions": {"uid": "another"}}).code == 409
    assert any_api.get(f"{path}/a")["data"] == {"n": "1"}
    assert any_api.ask("DELETE", f"{path}/a", {"preconditions": {"uid": first["metadata"]["uid"]}}).code == 200


def test_writing_the_same_writes_nothing(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    made = any_api.create(path, config_map("a", n="0"))
    assert any_api.ask("PUT", f"{path}/a", made).obj == made
    assert any_api.patch(f"{path}/a", {"data": {"n": "0"}}) == made


def test_generated_names(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    names = {any_api.create(path, {"metadata": {"generateName": "some-"}})["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("some-") and len(name) == 10 for name in names)


def test_dry_run_changes_nothing(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    made = any_api.create(path, config_map("dry"), dryRun="All")
    assert made["metadata"]["uid"]
    assert any_api.ask("GET", f"{path}/dry").code == 404
    any_api.create(path, config_map("real", n="0"))
    assert any_api.patch(f"{path}/real", {"data": {"n": "1"}}, dryRun="All")["data"] == {"n": "1"}
    assert any_api.ask("DELETE", f"{path}/real", dryRun="All").code == 200
    assert any_api.get(f"{path}/real")["data"] == {"n": "0"}
    assert any_api.ask("POST", path, config_map("real"), dryRun="All").code == 409
    assert any_api.ask("POST", path, config_map("x"), dryRun="Some").code in (400, 422)


def test_status_and_spec_apart(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/pods"
    made = any_api.create(path, {**pod("p"), "status": {"phase": "Running", "podIP": "10.0.0.1"}})
    assert made["status"]["phase"] == "Pending"
    assert "podIP" not in made["status"]
    running = any_api.patch(f"{path}/p/status", {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}})
    assert running["status"]["phase"] == "Running"
    assert "nodeName" not in running["spec"]
    labelled = any_api.patch(f"{path}/p", {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Failed"}})
    assert labelled["metadata"]["labels"] == {"a": "b"}
    assert labelled["status"]["phase"] == "Running"


def test_the_three_patches(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/pods"
    any_api.create(path, pod("p"))
    changed = any_api.patch(f"{path}/p", {"spec": {"containers": [{"name": "main", "image": "app:2"}]}}, "strategic")
    assert [c["image"] for c in changed["spec"]["containers"]] == ["app:2"]
    changed = any_api.patch(
        f"{path}/p", [{"op": "replace", "path": "/spec/containers/0/image", "value": "app:3"}], "json"
    )
    assert changed["spec"]["containers"][0]["image"] == "app:3"
    wrong = any_api.ask(
        "PATCH",
        f"{path}/p",
        [{"op": "test", "path": "/spec/containers/0/image", "value": "other"}],
        content_type="application/json-patch+json",
    )
    assert (wrong.code, wrong.reason) == (422, "Invalid")
    frozen = any_api.ask("PATCH", f"{path}/p", {"spec": {"hostname": "x"}}, content_type="application/merge-patch+json")
    assert frozen.code == 422


def test_server_side_apply(any_api: Api, any_namespace: str) -> None:
    path, applied = f"{any_namespace}/configmaps/a", "application/apply-patch+yaml"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1", "y": "1"}}
    made = any_api.ask("PATCH", path, body, content_type=applied, fieldManager="one")
    assert made.code == 201
    del body["data"]["y"]
    again = any_api.ask("PATCH", path, body, content_type=applied, fieldManager="one")
    assert (again.code, again.obj["data"]) == (200, {"x": "1"})
    body["data"]["x"] = "2"
    conflict = any_api.ask("PATCH", path, body, content_type=applied, fieldManager="two")
    assert (conflict.code, conflict.reason) == (409, "Conflict")
    forced = any_api.ask("PATCH", path, body, content_type=applied, fieldManager="two", force="true")
    assert forced.obj["data"] == {"x": "2"}
    assert any_api.ask("PATCH", path, body, content_type=applied).code == 400


def test_generation_grows_with_the_spec(any_api: Api, any_namespace: str) -> None:
    path = any_namespace.replace("/api/v1", "/apis/apps/v1") + "/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    assert any_api.create(path, deployment)["metadata"]["generation"] == 1
    assert any_api.patch(f"{path}/d", {"metadata": {"labels": {"x": "y"}}})["metadata"]["generation"] == 1
    assert any_api.patch(f"{path}/d/scale", {"spec": {"replicas": 4}})["spec"]["replicas"] == 4
    found = any_api.get(f"{path}/d")
    assert (found["metadata"]["generation"], found["spec"]["replicas"]) == (2, 4)
    assert any_api.get(f"{path}/d/scale")["status"]["selector"] == "a=b"


def test_versions_of_one_kind(any_api: Api, any_namespace: str) -> None:
    old, new = (
        any_namespace.replace("/api/v1", f"/apis/autoscaling/{v}") + "/horizontalpodautoscalers" for v in ("v1", "v2")
    )
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    any_api.create(old, {"metadata": {"name": "h"}, "spec": spec})
    assert any_api.get(f"{new}/h")["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert any_api.get(f"{old}/h")["spec"]["targetCPUUtilizationPercentage"] == 50
    assert any_api.get(old)["items"][0]["apiVersion"] == "autoscaling/v1"
    with any_api.watch(old, resourceVersion="0") as events:
        assert next(events)["object"]["apiVersion"] == "autoscaling/v1"
