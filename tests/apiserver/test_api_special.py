"""What some kinds have of their own: bindings, addresses of Services, definitions, tokens, discovery, health."""

from __future__ import annotations

import threading
from typing import Any

from harness.api_site import NOBODY, Api, Site, config_map, pod
from harness.wait import wait_until


def test_bindings(any_api: Api, any_namespace: str) -> None:
    pods = f"{any_namespace}/pods"
    any_api.create(pods, pod("p"))
    binding: dict[str, Any] = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    done = any_api.ask("POST", f"{pods}/p/binding", binding)
    assert (done.code, done.obj["status"]) == (201, "Success")
    bound = any_api.get(f"{pods}/p")
    assert bound["spec"]["nodeName"] == "n1"
    assert [(c["type"], c["status"]) for c in bound["status"]["conditions"]] == [("PodScheduled", "True")]
    again = any_api.ask("POST", f"{any_namespace}/bindings", binding)
    assert (again.code, again.reason) == (409, "Conflict")
    assert 'already assigned to node "n1"' in again.obj["message"]
    assert any_api.ask("POST", f"{pods}/none/binding", {**binding, "metadata": {"name": "none"}}).code == 404
    assert any_api.ask("POST", f"{pods}/p/binding", {"metadata": {"name": "p"}}).code == 422


def test_services_get_addresses_of_their_own(any_api: Api, any_namespace: str) -> None:
    services = f"{any_namespace}/services"
    port = {"port": 80, "targetPort": 8080}

    def service(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"ports": [port], **spec}}

    one = any_api.create(services, service("one", type="NodePort"))["spec"]
    assert one["clusterIPs"] == [one["clusterIP"]]
    assert 30000 <= one["ports"][0]["nodePort"] <= 32767
    taken = any_api.ask("POST", services, service("two", clusterIP=one["clusterIP"]))
    assert (taken.code, taken.reason) == (422, "Invalid")
    assert "provided IP is already allocated" in taken.obj["message"]
    ports = [{**port, "nodePort": one["ports"][0]["nodePort"]}]
    taken = any_api.ask("POST", services, service("two", type="NodePort", ports=ports))
    assert "provided port is already allocated" in taken.obj["message"]
    assert taken.obj["details"]["causes"][0]["field"] == "spec.ports[0].nodePort"
    outside = any_api.ask("POST", services, service("two", clusterIP="192.0.2.1"))
    assert "not in the valid range" in outside.obj["message"]
    any_api.ask("DELETE", f"{services}/one")
    two = any_api.create(services, service("two", clusterIP=one["clusterIP"], type="NodePort", ports=ports))
    assert two["spec"]["clusterIP"] == one["clusterIP"]
    plain = any_api.patch(f"{services}/two", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in plain["spec"]["ports"][0]
    assert any_api.create(services, service("three", type="NodePort", ports=ports))["spec"]["ports"] == [
        {**ports[0], "protocol": "TCP"}
    ]
    assert any_api.create(services, service("headless", clusterIP="None"))["spec"]["clusterIPs"] == ["None"]


def test_racing_for_one_address(any_api: Api, any_namespace: str) -> None:
    services, codes = f"{any_namespace}/services", list[int]()
    ip = f"10.100.7.{abs(hash(any_namespace)) % 200 + 1}"

    def race(number: int) -> None:
        spec = {"clusterIP": ip, "ports": [{"port": 80}]}
        codes.append(any_api.ask("POST", services, {"metadata": {"name": f"s{number}"}, "spec": spec}).code)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201] + [422] * 5


def definition(plural: str) -> dict[str, Any]:
    kind = plural.capitalize()[:-1]
    size = {"type": "integer", "minimum": 1, "default": 3}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"size": size}},
            "status": {"type": "object", "properties": {"seen": {"type": "integer"}}},
        },
    }
    scale = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.seen"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
    }
    names = {"plural": plural, "singular": plural[:-1], "kind": kind}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": f"{plural}.example.com"}, "spec": spec}


def test_custom_kinds_are_served_at_once(any_api: Api, any_namespace: str) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    plural = f"gears{any_namespace.rpartition('-')[2]}s"
    made = any_api.create(definitions, definition(plural))
    assert {c["type"]: c["status"] for c in made["status"]["conditions"]}["Established"] == "True"
    path = any_namespace.replace("/api/v1", "/apis/example.com/v1") + f"/{plural}"
    gear = any_api.create(path, {"metadata": {"name": "g"}, "spec": {"unknown": 1}})
    assert gear["spec"] == {"size": 3}
    wrong = any_api.ask("POST", path, {"metadata": {"name": "h"}, "spec": {"size": 0}})
    assert (wrong.code, wrong.obj["details"]["causes"][0]["field"]) == (422, "spec.size")
    strict = any_api.ask("POST", path, {"metadata": {"name": "h"}, "spec": {"unknown": 1}}, fieldValidation="Strict")
    assert 'unknown field "spec.unknown"' in strict.obj["message"]
    assert any_api.patch(f"{path}/g/status", {"status": {"seen": 7}})["status"] == {"seen": 7}
    assert any_api.patch(f"{path}/g/scale", {"spec": {"replicas": 5}})["status"] == {"replicas": 7}
    assert any_api.get(f"{path}/g")["spec"] == {"size": 5}
    groups = [group["name"] for group in any_api.get("/apis")["groups"]]
    assert "example.com" in groups
    with any_api.watch(path, resourceVersion="0") as events:
        assert next(events)["object"]["metadata"]["name"] == "g"
        any_api.ask("DELETE", f"{definitions}/{plural}.example.com")
        wait_until(lambda: any_api.ask("GET", path).code == 404, "the kind to be gone")
    wait_until(
        lambda: any_api.ask("GET", f"{definitions}/{plural}.example.com").code == 404, "the definition to be gone"
    )


def test_definitions_made_elsewhere_are_known(later: Api, api: Api, namespace: str) -> None:
    other = later
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.create(definitions, definition("others"))
    path = namespace.replace("/api/v1", "/apis/example.com/v1") + "/others"
    assert other.ask("POST", path, {"metadata": {"name": "o"}}).code == 201
    assert len(api.get(path)["items"]) == 1
    assert len(other.get("/api/v1/namespaces/default/endpoints/kubernetes")["subsets"]) >= 1
    api.ask("DELETE", f"{definitions}/others.example.com")


def test_tokens_of_service_accounts(api: Api, namespace: str) -> None:
    request = {"spec": {"expirationSeconds": 600}}
    made = api.create(f"{namespace}/serviceaccounts/default/token", request)
    bearer = Api(api.port, api.ca, made["status"]["token"])
    whoami = bearer.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert whoami["status"]["userInfo"]["username"].endswith(":default")
    refused = bearer.ask("GET", f"{namespace}/secrets")
    assert (refused.code, refused.reason) == (403, "Forbidden")
    assert 'cannot list resource "secrets" in API group ""' in refused.obj["message"]
    api.ask("DELETE", f"{namespace}/serviceaccounts/default")
    wait_until(lambda: bearer.ask("GET", "/api").code == 401, "the token to end with its account")


def test_discovery_and_pages(site: Site, api: Api) -> None:
    assert api.get("/version")["minor"] == "32"
    assert api.get("/api")["versions"] == ["v1"]
    for path in ("/api/", "/apis/", "/api/v1", "/apis/apps", "/apis/apps/v1", "/openapi/v3"):
        assert api.ask("GET", path).code == 200, path
    listed = api.get("/openapi/v3")["paths"]["apis/apps/v1"]["serverRelativeURL"]
    assert "Deployment" in api.ask("GET", listed).body.decode()
    etag = api.ask("GET", "/apis").headers["etag"]
    assert api.ask("GET", "/apis", headers={"If-None-Match": etag}).code == 304
    for page in ("/healthz", "/livez", "/readyz"):
        assert api.ask("GET", page).body == b"ok"
    verbose = api.ask("GET", "/readyz?verbose").body.decode()
    assert "[+]etcd ok" in verbose
    assert api.ask("GET", "/readyz/etcd").body == b"ok"
    figures = api.ask("GET", "/metrics").body.decode()
    assert "apiserver_request_total{" in figures
    assert "fluyt_apiserver_loop_lag_seconds_bucket" in figures
    assert "apiserver_storage_objects{" in figures
    assert site.api(token=NOBODY).ask("GET", "/metrics").code == 403
    assert site.api(token="wrong").ask("GET", "/api").code == 401


def test_the_store_is_a_component(api: Api) -> None:
    (component,) = api.get("/api/v1/componentstatuses")["items"]
    assert component["metadata"]["name"] == "etcd-0"
    assert component["conditions"] == [{"type": "Healthy", "status": "True", "message": "ok"}]
    assert api.get("/api/v1/componentstatuses/etcd-0")["conditions"] == component["conditions"]
    assert api.ask("GET", "/api/v1/componentstatuses/other").code == 404
    assert api.ask("DELETE", "/api/v1/componentstatuses/etcd-0").code == 405
    table = api.ask(
        "GET", "/api/v1/componentstatuses", headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    )
    assert b'"cells":["etcd-0","Healthy","ok",""]' in table.body.replace(b" ", b"")
    assert "deprecated" in table.headers["warning"]


def test_old_versions_warn(api: Api, namespace: str) -> None:
    reply = api.ask("GET", namespace.replace("/api/v1", "/apis/policy/v1beta1") + "/poddisruptionbudgets")
    assert "deprecated" in reply.headers["warning"]


def test_unknown_fields(api: Api, namespace: str) -> None:
    path, body = f"{namespace}/configmaps", {**config_map("a"), "dat": {}}
    strict = api.ask("POST", path, body, fieldValidation="Strict")
    assert (strict.code, strict.reason) == (400, "BadRequest")
    assert 'unknown field "dat"' in strict.obj["message"]
    warned = api.ask("POST", path, body)
    assert (warned.code, warned.headers["warning"]) == (201, '299 - "unknown field \\"dat\\""')
    assert "warning" not in api.ask("POST", path, {**body, **config_map("b")}, fieldValidation="Ignore").headers
