"""What webhooks see and may change, on a live server: its preparation of objects stands around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.wait import wait_until
from live_api import LiveApi, Object
from webhook_server import WebhookServer, patch

from control.api.status import StatusError
from control.apiserver.handlers.connect import options_of, parameters

HOOKS = "/apis/admissionregistration.k8s.io/v1"
MERGE = "application/merge-patch+json"
MAPS = "/api/v1/namespaces/{}/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
SPEC = {"containers": [{"name": "c", "image": "busybox"}]}
DEPLOYMENT: Object = {
    "metadata": {"name": "d"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": SPEC},
    },
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with LiveApi(tmp_path_factory.mktemp("api")) as found:
        yield found


def configure(api: LiveApi, kind: str, server: WebhookServer, namespace: str, **rule: Any) -> None:
    """A webhook for one namespace, in force when this returns: the server hears of it by its own watch."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    known = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["serviceaccounts"]}
    wanted = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], **rule}
    webhook = server.webhook(rules=[wanted, known], namespaceSelector=selector)
    api.admin.post(f"{HOOKS}/{kind}", {"metadata": {"name": namespace}, "webhooks": [webhook]})
    probe = {"metadata": {"generateName": "probe-"}}

    def seen() -> bool:
        api.admin.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", probe)
        return bool(server.seen)

    wait_until(seen, "the webhook is called", 10)
    server.seen.clear()


def test_a_webhook_cannot_move_an_object(api: LiveApi, tmp_path: Path) -> None:
    def says(request: Object) -> Object:
        if request["resource"]["resource"] != "configmaps":
            return {}
        field, value = ("namespace", "kube-system") if request["operation"] == "CREATE" else ("name", "other")
        field, value = ("name", "other") if request["name"] == "put" else (field, value)
        return patch({"op": "replace", "path": f"/metadata/{field}", "value": value})

    path = MAPS.format(api.namespace("moved"))
    api.admin.post(path, {"metadata": {"name": "there"}})
    with WebhookServer(tmp_path, says) as server:
        configure(api, "mutatingwebhookconfigurations", server, "moved", resources=["configmaps"])
        code, answer = api.admin.call("POST", path, {"metadata": {"name": "orig"}})
        assert (code, answer["reason"]) == (400, "BadRequest")
        assert "the namespace of the provided object does not match" in answer["message"]
        code, answer = api.admin.call("PATCH", f"{path}/there", {"data": {"a": "b"}}, content_type=MERGE)
        assert (code, "the name of the provided object does not match" in answer["message"]) == (400, True)
        apply = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "put"}}
        way = f"{path}/put?fieldManager=me"
        code, answer = api.admin.call("PATCH", way, apply, content_type="application/apply-patch+yaml")
        assert (code, "the name of the provided object does not match" in answer["message"]) == (400, True)
    for namespace in ("moved", "kube-system"):
        found = [item["metadata"]["name"] for item in api.admin.get(MAPS.format(namespace))[1]["items"]]
        assert not {"orig", "put", "other"} & set(found)


def test_a_webhook_changes_no_more_than_the_request_may(api: LiveApi, tmp_path: Path) -> None:
    """On status: the status; on the object: all but the status."""

    def says(request: Object) -> Object:
        if request["resource"]["resource"] != "deployments":
            return {}
        spec = {"op": "replace", "path": "/spec/replicas", "value": 77}
        uid = {"op": "replace", "path": "/metadata/uid", "value": "mine"}
        status = {"op": "add", "path": "/status", "value": {"observedGeneration": 9, "replicas": 9}}
        return patch(status, *([spec, uid] if request["operation"] == "UPDATE" else []))

    path = DEPLOYMENTS.format(api.namespace("parts"))
    with WebhookServer(tmp_path, says) as server:
        every = ["deployments", "deployments/status"]
        configure(api, "mutatingwebhookconfigurations", server, "parts", resources=every)
        made = api.admin.post(path, DEPLOYMENT)
        assert made["status"] == {}
        asked = {"status": {"observedGeneration": 1}}
        code, found = api.admin.call("PATCH", f"{path}/d/status", asked, content_type=MERGE)
        assert (code, found["spec"]["replicas"], found["metadata"]["generation"]) == (200, 1, 1)
        assert found["status"] == {"observedGeneration": 9, "replicas": 9}
        assert found["metadata"]["uid"] == made["metadata"]["uid"]
        asked = {"metadata": {"labels": {"x": "y"}}, "status": {"replicas": 5}}
        code, found = api.admin.call("PATCH", f"{path}/d", asked, content_type=MERGE)
        assert (code, found["spec"]["replicas"], found["metadata"]["generation"]) == (200, 77, 2)
        assert found["status"] == {"observedGeneration": 9, "replicas": 9}
    assert api.admin.get(f"{path}/d")[1] == found


def test_a_webhook_sees_what_is_to_be_run(api: LiveApi, tmp_path: Path) -> None:
    namespace = api.namespace("run")
    api.admin.post(f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": "p"}, "spec": SPEC})
    says = lambda request: {"allowed": request["operation"] != "CONNECT"}  # noqa: E731
    with WebhookServer(tmp_path, says) as server:
        configure(api, "validatingwebhookconfigurations", server, namespace, resources=["pods/exec"])
        query = "command=rm&command=-rf&stdin=true&stdout=1&stderr=false&tty&container=c"
        code, answer = api.admin.call("POST", f"/api/v1/namespaces/{namespace}/pods/p/exec?{query}")
        assert (code, "denied the request" in answer["message"]) == (403, True)
        [seen] = server.seen
    assert seen["object"] == {
        "kind": "PodExecOptions",
        "apiVersion": "v1",
        "stdin": True,
        "stdout": True,
        "tty": True,
        "container": "c",
        "command": ["rm", "-rf"],
    }
    assert (seen["oldObject"], seen["subResource"], seen["name"]) == (None, "exec", "p")


@pytest.mark.parametrize(
    ("subresource", "query", "options", "passed"),
    [
        ("exec", {"stdin": [""], "tty": ["False"], "command": ["a", ""]}, {"stdin": True, "command": ["a", ""]}, 3),
        ("exec", {"command": ["ls"], "input": ["1"]}, {"command": ["ls"]}, 1),
        ("attach", {"stdout": ["1"], "stderr": ["0"], "container": ["c"]}, {"stdout": True, "container": "c"}, 1),
        ("portforward", {"ports": ["80,443", "8080"]}, {"ports": [80, 443, 8080]}, 3),
        ("portforward", {}, {}, 0),
    ],
)
def test_the_node_is_told_what_webhooks_saw(subresource: str, query: Any, options: Object, passed: int) -> None:
    """And nothing else: "input", which agents know as well, is no option of Kubernetes'."""
    found = options_of(subresource, query)
    assert {field: found[field] for field in found if field not in ("kind", "apiVersion")} == options
    assert len(parameters(found)) == passed


@pytest.mark.parametrize("port", ["http", "-1", "0", "65536", "", "8" * 5000, "٣"])
def test_a_port_is_a_number(port: str) -> None:
    with pytest.raises(StatusError, match="is not the number of a port"):
        options_of("portforward", {"ports": [port]})
