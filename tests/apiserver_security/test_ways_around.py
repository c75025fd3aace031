"""Other ways to what somebody may not have: deprecated paths, paths through another namespace, subresources, labels.

A live server, for each of these passes through paths, authorization, preparation and admission together.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness.wait import wait_until
from live_api import Client, LiveApi, Object

from control.pki.requests import CLIENT, make_request

RBAC = "/apis/rbac.authorization.k8s.io/v1"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with LiveApi(tmp_path_factory.mktemp("api")) as found:
        yield found


def rule(verbs: str, resources: str, group: str = "", *names: str) -> Object:
    found = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return found | ({"resourceNames": list(names)} if names else {})


def user_with(api: LiveApi, name: str, *rules: Object, namespace: str = "") -> Client:
    """A user with a role of these rules, in the namespace or everywhere; when it holds."""
    group = "rbac.authorization.k8s.io"
    api.admin.post(f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": list(rules)})
    subject = {"kind": "User", "name": name, "apiGroup": group}
    bound = {"subjects": [subject], "roleRef": {"kind": "ClusterRole", "name": name, "apiGroup": group}}
    place = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
    api.admin.post(place, {"metadata": {"name": name}, **bound})
    asked = {"verb": rules[0]["verbs"][0], "group": rules[0]["apiGroups"][0], "namespace": namespace}
    plural, _, subresource = rules[0]["resources"][0].partition("/")
    asked |= {"resource": plural, "subresource": subresource, "name": rules[0].get("resourceNames", [""])[0]}
    client, path = api.client(name), "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    question = {"spec": {"resourceAttributes": asked}}
    wait_until(lambda: client.post(path, question)["status"]["allowed"], f"the role of {name} holds", 5)
    return client


def watched(client: Client, path: str) -> list[str]:
    """The names that a short watch shows."""
    code, answer = client.get(f"{path}?timeoutSeconds=1")
    assert code == 200, answer
    events = [answer] if "object" in answer else [json.loads(line) for line in answer["text"].splitlines()]
    return [event["object"]["metadata"]["name"] for event in events]


def test_a_watch_of_one_name_shows_that_one(api: LiveApi) -> None:
    api.namespace("watched")
    base, prefix = "/api/v1/namespaces/watched", "/api/v1/watch/namespaces/watched"
    for name in ("mine", "password"):
        api.admin.post(f"{base}/secrets", {"metadata": {"name": name}, "stringData": {"a": "b"}})
    eve = user_with(api, "eve", rule("get list watch", "secrets", "", "mine"), namespace="watched")
    assert watched(eve, f"{prefix}/secrets/mine") == ["mine"]
    for path in ("secrets/password", "secrets"):
        assert eve.get(f"{prefix}/{path}?timeoutSeconds=1")[0] == 403
    selector = "fieldSelector=metadata.name%3Dpassword&timeoutSeconds=1"
    code, answer = eve.get(f"{prefix}/secrets/mine?{selector}")
    assert (code, "doesn't match requested name" in answer["message"]) == (400, True)
    assert eve.get(f"{base}/secrets?fieldSelector=metadata.namespace!%3Dx%5C%2Cmetadata.name%3Dmine")[0] in (400, 403)
    node = api.node("n1")
    node.post("/api/v1/nodes", {"metadata": {"name": "n1"}})
    spec: Object = {"containers": [{"name": "c", "image": "busybox"}], "nodeName": "n1"}
    spec["volumes"] = [{"name": "v", "secret": {"secretName": "mine"}}]
    api.admin.post(f"{base}/pods", {"metadata": {"name": "web"}, "spec": spec})
    api.admin.post(f"{base}/pods", {"metadata": {"name": "foreign"}, "spec": {**spec, "nodeName": "n2"}})
    wait_until(lambda: node.get(f"{base}/secrets/mine")[0] == 200, "the node reads its pod's secret", 5)
    assert watched(node, f"{prefix}/secrets/mine") == ["mine"]
    viewer = user_with(api, "viewer", rule("get list watch", "namespaces"), namespace="watched")
    assert watched(viewer, prefix) == ["watched"]


def test_no_namespace_is_reached_through_another(api: LiveApi) -> None:
    for name in ("team", "victim"):
        api.namespace(name)
    boss = user_with(api, "boss", rule("*", "*", "*"), namespace="team")
    through = "/api/v1/namespaces/team/namespaces"
    assert boss.get("/api/v1/namespaces/team")[0] == 200
    for method, path, body in (
        ("GET", through, None),
        ("GET", f"{through}?watch=true&timeoutSeconds=1", None),
        ("POST", through, {"metadata": {"name": "new"}}),
        ("DELETE", through, None),
        ("GET", f"{through}/victim", None),
        ("PUT", f"{through}/victim", {"metadata": {"name": "victim"}}),
        ("DELETE", f"{through}/victim", None),
        ("PUT", f"{through}/victim/finalize", {"metadata": {"name": "victim"}}),
        ("GET", f"{RBAC}/namespaces/team/clusterroles/admin", None),
        ("GET", "/api/v1/namespaces/team/nodes", None),
    ):
        assert boss.call(method, path, body)[0] == 404, (method, path)
    assert api.admin.get("/api/v1/namespaces/victim")[1]["status"] == {"phase": "Active"}
    assert api.admin.get("/api/v1/namespaces/new")[0] == 404
    label = {"metadata": {"labels": {"a": "b"}}}
    assert boss.call("PATCH", "/api/v1/namespaces/team", label, content_type=MERGE)[0] == 200


def test_who_may_debug_a_pod_changes_nothing_else_of_it(api: LiveApi) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    api.admin.post("/api/v1/namespaces", {"metadata": {"name": "guarded", "labels": labels}})
    base = "/api/v1/namespaces/guarded"
    api.admin.post(f"{base}/serviceaccounts", {"metadata": {"name": "default"}})
    api.admin.post(f"{base}/pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
    debugger = user_with(api, "debugger", rule("get patch", "pods/ephemeralcontainers"), namespace="guarded")
    editor = user_with(api, "editor", rule("patch", "pods"), namespace="guarded")
    before = api.admin.get(f"{base}/pods/p")[1]

    def patched(client: Client, path: str, **spec: Any) -> int:
        metadata = {"labels": {"app": "stolen"}, "finalizers": ["x.y/z"]}
        return client.call("PATCH", f"{base}/pods/p{path}", {"metadata": metadata, "spec": spec}, content_type=MERGE)[0]

    container = {"name": "c", "image": "evil", "securityContext": {"privileged": True}}
    assert patched(debugger, "/ephemeralcontainers", hostNetwork=True, nodeName="n9", containers=[container]) == 200
    assert api.admin.get(f"{base}/pods/p")[1] == before
    assert patched(debugger, "/ephemeralcontainers", ephemeralContainers=[container | {"name": "e"}]) == 403
    assert patched(debugger, "/ephemeralcontainers", ephemeralContainers=[{"name": "e", "image": "busybox"}]) == 200
    after = api.admin.get(f"{base}/pods/p")[1]
    assert [c["name"] for c in after["spec"].pop("ephemeralContainers")] == ["e"]
    assert after["spec"] == before["spec"]
    managed = next(entry for entry in after["metadata"]["managedFields"] if entry.get("subresource"))
    assert list(managed["fieldsV1"]) == ["f:spec"]
    assert patched(editor, "", ephemeralContainers=[{"name": "f", "image": "busybox"}]) == 422


def test_a_status_approves_no_certificate(api: LiveApi) -> None:
    group = "certificates.k8s.io"
    kind = "certificatesigningrequests"
    sam = user_with(api, "sam", rule("create get", kind, group), rule("update patch", f"{kind}/status", group))
    pem = base64.b64encode(make_request("system:kube-controller-manager").pem).decode()
    spec = {"request": pem, "signerName": CLIENT, "usages": ["client auth", "digital signature"]}
    made = sam.post(CSRS, {"metadata": {"name": "me"}, "spec": spec})
    status = {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "Me"}]}}
    assert sam.call("PUT", f"{CSRS}/me/status", {**made, **status})[0] == 422
    assert sam.call("PATCH", f"{CSRS}/me/status", status, content_type=MERGE)[0] == 422
    assert api.admin.get(f"{CSRS}/me")[1]["status"] == {}


def test_a_label_on_a_role_makes_nobody_an_administrator(api: LiveApi) -> None:
    mallory = user_with(api, "mallory", rule("get list update patch", "clusterroles", "rbac.authorization.k8s.io"))
    label = {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}
    for role, change in (("cluster-admin", label), ("view", label), ("view", {"aggregationRule": None, "rules": []})):
        code, answer = mallory.call("PATCH", f"{RBAC}/clusterroles/{role}", change, content_type=MERGE)
        assert (code, "not currently held" in answer.get("message", "")) == (403, True), role


def audited(api: LiveApi, mark: str) -> Object:
    """The event of the request with that mark in its URI."""

    def found() -> list[Object]:
        lines = [line for line in api.audit.read_text().splitlines(keepends=True) if mark in line]
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event["stage"] == "ResponseComplete" and mark in event["requestURI"]]

    wait_until(lambda: bool(found()), f"{mark} is in the audit log", 5)
    return found()[0]


def test_who_may_not_act_as_another_is_written_down_by_name(api: LiveApi) -> None:
    assert api.client("oscar").get("/api/v1/namespaces?mark=refused-oscar", impersonate_user="admin")[0] == 403
    event = audited(api, "mark=refused-oscar")
    assert (event["user"]["username"], event["responseStatus"]["code"]) == ("oscar", 403)
    assert "impersonatedUser" not in event


def test_what_clients_send_is_in_the_log_but_for_secrets(api: LiveApi) -> None:
    api.namespace("written")
    base = "/api/v1/namespaces/written"
    api.admin.post(f"{base}/configmaps?x=made-map", {"metadata": {"name": "c"}, "data": {"k": "v"}})
    assert audited(api, "x=made-map")["requestObject"]["data"] == {"k": "v"}
    change = {"data": {"k": "w"}}
    assert api.admin.call("PATCH", f"{base}/configmaps/c?x=patch-map", change, content_type=MERGE)[0] == 200
    assert audited(api, "x=patch-map")["requestObject"] == change
    options = {"gracePeriodSeconds": 0}
    assert api.admin.call("DELETE", f"{base}/configmaps/c?x=delete-map", options)[0] == 200
    assert audited(api, "x=delete-map")["requestObject"] == options
    secret: Object = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"p": "hunter2-sent"}}
    api.admin.post(f"{base}/secrets?x=made-secret", secret)
    api.admin.call(
        "PATCH", f"{base}/secrets/s?x=patch-secret", {"stringData": {"p": "hunter2-sent"}}, content_type=MERGE
    )
    # To the wrong URL: the policy goes by the URL, so what is not an object of its kind is not written down.
    assert api.admin.call("POST", f"{base}/configmaps?x=lost-secret", secret)[0] == 400
    review = {"spec": {"token": "hunter2-sent"}}
    api.admin.post("/apis/authentication.k8s.io/v1/tokenreviews?x=review", review)
    api.admin.post(f"{base}/serviceaccounts/default/token?x=token", {"spec": {"audiences": ["hunter2-sent"]}})
    for mark in ("made-secret", "patch-secret", "lost-secret", "review", "token"):
        assert "requestObject" not in audited(api, f"x={mark}")
    assert "hunter2-sent" not in api.audit.read_text()


def test_a_token_secret_with_a_generated_name_holds_its_token(api: LiveApi) -> None:
    api.namespace("generated")
    metadata = {"generateName": "ci-", "annotations": {"kubernetes.io/service-account.name": "default"}}
    secret = {"metadata": metadata, "type": "kubernetes.io/service-account-token"}
    made = api.admin.post("/api/v1/namespaces/generated/secrets", secret)
    robot = api.client(token=base64.b64decode(made["data"]["token"]).decode())
    assert robot.get("/version")[0] == 200
    api.admin.delete(f"/api/v1/namespaces/generated/secrets/{made['metadata']['name']}")
    wait_until(lambda: robot.get("/version")[0] == 401, "the token is revoked", 5)


def test_a_token_review_asks_for_whom_a_token_is(api: LiveApi) -> None:
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    whole = api.admin.post(path, {"spec": {"token": "tok-alice"}})["status"]
    own = whole["audiences"][0]
    asked = api.admin.post(path, {"spec": {"token": "tok-alice", "audiences": [own, "vault"]}})["status"]
    assert (asked["authenticated"], asked["audiences"]) == (True, [own])
    assert api.admin.post(path, {"spec": {"token": "tok-alice", "audiences": ["vault"]}})["status"] == {}
