"""The whole of it over HTTPS: one store member, one API server, clients with certificates and tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from harness.wait import wait_until
from live_api import Client, LiveApi, Object
from webhook_server import WebhookServer, label

from control.pki import files
from control.pki.cluster import Subject, user_login
from control.pki.requests import Signer
from kvstore.client import Client as StoreClient
from node_agent.certificates import CLIENT, asked

POD: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with LiveApi(tmp_path_factory.mktemp("api")) as found:
        yield found


def pod(name: str, **spec: object) -> Object:
    return {"metadata": {"name": name}, "spec": {**POD["spec"], **spec}}


def test_anonymous_users_see_health_and_nothing_else(api: LiveApi) -> None:
    for path in ("/healthz", "/readyz", "/livez", "/version"):
        assert api.anonymous.get(path)[0] == 200
    code, answer = api.anonymous.get("/api/v1/namespaces/default/pods")
    assert (code, answer["reason"]) == (403, "Forbidden")
    assert 'User "system:anonymous" cannot list resource "pods"' in answer["message"]
    assert api.anonymous.get("/metrics")[0] == 403


def test_a_wrong_token_is_401_and_written_down(api: LiveApi) -> None:
    code, answer = api.client(token="wrong").get("/api/v1/namespaces")
    assert (code, answer["kind"], answer["reason"]) == (401, "Status", "Unauthorized")
    wait_until(lambda: '"code":401' in api.audit.read_text(), "the attempt is in the log", 5)


def test_who_am_i(api: LiveApi) -> None:
    body = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    alice = api.client(token="tok-alice").post(path, body)["status"]["userInfo"]
    assert (alice["username"], alice["groups"]) == ("alice", ["dev", "system:authenticated"])
    carol = api.client("carol", "ops").post(path, body)["status"]["userInfo"]
    assert (carol["username"], carol["groups"]) == ("carol", ["ops", "system:authenticated"])
    code, answer = api.client(token="tok-alice").call("POST", path, body, impersonate_user="carol")
    assert code == 403, answer
    acting = api.admin.post(path, body, impersonate_user="carol")["status"]["userInfo"]
    assert acting["username"] == "carol"


def test_a_node_renews_its_login_with_what_the_cluster_grants(api: LiveApi) -> None:
    """The whole way of a certificate: asked by the node, approved and signed by the controllers, shown by the node."""
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    ending = user_login(api.folder / "pki", Subject("system:node:n7", ("system:nodes",)), datetime.now(UTC))
    request, body = asked(CLIENT, x509.load_pem_x509_certificate(ending.certificate))
    made = api.node("n7").post(path, body)
    assert made["spec"]["username"] == "system:node:n7"
    one = f"{path}/{made['metadata']['name']}"
    approved = {**made, "status": {"conditions": [{"type": "Approved", "status": "True", "reason": "Me"}]}}
    for user in (api.node("n7"), api.client("alice", "dev")):
        assert user.call("PUT", f"{one}/approval", approved)[0] == 403
    brain = api.client("system:kube-controller-manager")
    authority = files.load_pair(api.folder / "pki", "ca")
    signer = Signer(authority, timedelta(hours=1))
    code, approved = brain.call("PUT", f"{one}/approval", approved)
    assert code == 200, approved
    spec = approved["spec"]
    pem = signer.certificate(base64.b64decode(spec["request"]), spec["usages"], None, datetime.now(UTC))
    signed = {**approved, "status": {**approved["status"], "certificate": base64.b64encode(pem).decode()}}
    assert api.node("n7").call("PUT", f"{one}/status", signed)[0] == 403
    assert brain.call("PUT", f"{one}/status", signed)[0] == 200
    status = api.node("n7").get(one)[1]["status"]
    (api.folder / "n7.pem").write_bytes(base64.b64decode(status["certificate"]) + request.key)
    context = api.context()
    context.load_cert_chain(api.folder / "n7.pem")
    renewed = Client(api.port, context)
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    who = renewed.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]
    renewed.close()
    assert (who["username"], who["groups"]) == ("system:node:n7", ["system:nodes", "system:authenticated"])


def test_roles_take_hold_at_once_and_nobody_raises_themselves(api: LiveApi) -> None:
    alice, rbac = api.client(token="tok-alice"), "/apis/rbac.authorization.k8s.io/v1"
    api.namespace("team")
    assert alice.get("/api/v1/namespaces/team/configmaps")[0] == 403
    subject = {"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "ClusterRole", "name": "admin", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "alice"}, "subjects": [subject], "roleRef": reference}
    api.admin.post(f"{rbac}/namespaces/team/rolebindings", binding)
    wait_until(lambda: alice.get("/api/v1/namespaces/team/configmaps")[0] == 200, "alice may list", 5)
    assert alice.get("/api/v1/namespaces/default/configmaps")[0] == 403
    mine = {"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}
    alice.post(f"{rbac}/namespaces/team/roles", mine)
    greedy = {"metadata": {"name": "g"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}
    code, answer = alice.call("POST", f"{rbac}/namespaces/team/roles", greedy)
    assert (code, "not currently held" in answer["message"]) == (403, True)
    role = api.admin.get(f"{rbac}/clusterroles/admin")[1]
    assert len(role["rules"]) > 20


def test_who_may_only_patch_creates_nothing_by_apply(api: LiveApi) -> None:
    api.namespace("patchers")
    rbac, base = "/apis/rbac.authorization.k8s.io/v1", "/api/v1/namespaces/patchers/configmaps"
    rules = [{"verbs": ["get", "patch"], "apiGroups": [""], "resources": ["configmaps"]}]
    api.admin.post(f"{rbac}/namespaces/patchers/roles", {"metadata": {"name": "r"}, "rules": rules})
    subject = {"kind": "User", "name": "pat", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "b"}, "subjects": [subject], "roleRef": reference}
    api.admin.post(f"{rbac}/namespaces/patchers/rolebindings", binding)
    api.admin.post(base, {"metadata": {"name": "there"}})
    pat, apply = api.client("pat"), "application/apply-patch+yaml"

    def applied(name: str) -> int:
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}
        return pat.call("PATCH", f"{base}/{name}?fieldManager=pat", config, content_type=apply)[0]

    wait_until(lambda: applied("there") == 200, "the role holds", 5)
    assert applied("new") == 403
    assert api.admin.get(f"{base}/new")[0] == 404


def test_a_node_sees_its_own_and_nobody_elses(api: LiveApi) -> None:
    api.namespace("nodes")
    node, other, base = api.node("n1"), api.node("n2"), "/api/v1/namespaces/nodes"
    node.post("/api/v1/nodes", {"metadata": {"name": "n1"}})
    assert node.call("POST", "/api/v1/nodes", {"metadata": {"name": "n3"}})[0] == 403
    for change in ({"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}}, {"spec": {"taints": []}}):
        for path in ("/api/v1/nodes/n1", "/api/v1/nodes/n1/status"):
            node.call("PATCH", path, change, content_type="application/merge-patch+json")
    found = api.admin.get("/api/v1/nodes/n1")[1]
    assert "node-role.kubernetes.io/x" not in found["metadata"].get("labels", {})
    assert found["spec"]["taints"][0]["key"] == "node.kubernetes.io/not-ready"
    for name in ("mine", "others"):
        api.admin.post(f"{base}/secrets", {"metadata": {"name": name}, "stringData": {"a": "b"}})
    volumes = [{"name": "v", "secret": {"secretName": "mine"}}]
    api.admin.post(f"{base}/pods", pod("web", nodeName="n1", volumes=volumes))
    wait_until(lambda: node.get(f"{base}/secrets/mine")[0] == 200, "the node reads its pod's secret", 5)
    assert node.get(f"{base}/secrets/others")[0] == 403
    assert node.get(f"{base}/secrets")[0] == 403
    assert other.get(f"{base}/secrets/mine")[0] == 403
    assert node.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")[0] == 200
    assert node.get("/api/v1/pods")[0] == 403
    status = {"status": {"phase": "Running"}}
    path, merge = f"{base}/pods/web/status", "application/merge-patch+json"
    assert node.call("PATCH", path, status, content_type=merge)[0] == 200
    assert other.call("PATCH", path, status, content_type=merge)[0] == 403
    uid = api.admin.get(f"{base}/pods/web")[1]["metadata"]["uid"]
    request = {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": uid}}}
    assert node.post(f"{base}/serviceaccounts/default/token", request)["status"]["token"]
    assert other.call("POST", f"{base}/serviceaccounts/default/token", request)[0] == 403
    assert api.admin.delete(f"{base}/pods/web?gracePeriodSeconds=0")[0] == 200
    wait_until(lambda: node.get(f"{base}/secrets/mine")[0] == 403, "the right ends with the pod", 5)


def test_a_service_accounts_token_lives_as_long_as_the_account(api: LiveApi) -> None:
    api.namespace("robots")
    base = "/api/v1/namespaces/robots/serviceaccounts"
    token = api.admin.post(f"{base}/default/token", {"spec": {"expirationSeconds": 600}})["status"]["token"]
    robot = api.client(token=token)
    assert robot.get("/version")[0] == 200
    code, answer = robot.get("/api/v1/namespaces/robots/pods")
    assert (code, "system:serviceaccount:robots:default" in answer["message"]) == (403, True)
    assert api.admin.delete(f"{base}/default")[0] == 200
    wait_until(lambda: robot.get("/version")[0] == 401, "the token is revoked", 5)


def test_a_secret_holds_a_token_that_ends_with_it(api: LiveApi) -> None:
    api.namespace("machines")
    base = "/api/v1/namespaces/machines/secrets"
    annotations = {"kubernetes.io/service-account.name": "default"}
    secret = {"metadata": {"name": "ci", "annotations": annotations}, "type": "kubernetes.io/service-account-token"}
    data = api.admin.post(base, secret)["data"]
    assert base64.b64decode(data["namespace"]) == b"machines"
    assert base64.b64decode(data["ca.crt"]) == (api.folder / "pki" / "ca.crt").read_bytes()
    robot = api.client(token=base64.b64decode(data["token"]).decode())
    assert robot.get("/version")[0] == 200
    assert api.admin.delete(f"{base}/ci")[0] == 200
    wait_until(lambda: robot.get("/version")[0] == 401, "the token is revoked", 5)
    annotations["kubernetes.io/service-account.name"] = "gone"
    code, answer = api.admin.call("POST", base, secret)
    assert (code, 'serviceaccount "gone" not found' in answer["message"]) == (403, True)


def test_others_check_our_tokens_by_our_published_keys(api: LiveApi) -> None:
    api.namespace("issuers")
    request = {"spec": {"audiences": ["vault"]}}
    token = api.admin.post("/api/v1/namespaces/issuers/serviceaccounts/default/token", request)["status"]["token"]
    page = api.admin.get("/.well-known/openid-configuration")[1]
    keys = jwt.PyJWKSet.from_dict(api.admin.get("/openid/v1/jwks")[1])
    key = keys[jwt.get_unverified_header(token)["kid"]]
    algorithms = page["id_token_signing_alg_values_supported"]
    claims = jwt.decode(token, key, algorithms=algorithms, audience="vault", issuer=page["issuer"])
    assert claims["sub"] == "system:serviceaccount:issuers:default"
    assert api.anonymous.get("/openid/v1/jwks")[0] == 403


def test_admission_of_a_pod(api: LiveApi) -> None:
    api.namespace("pods")
    spec = api.admin.post("/api/v1/namespaces/pods/pods", pod("p"))["spec"]
    assert spec["serviceAccountName"] == "default"
    assert spec["priority"] == 0
    assert len(spec["tolerations"]) == 2
    assert spec["volumes"][0]["projected"]["defaultMode"] == 0o644
    code, answer = api.admin.call("POST", "/api/v1/namespaces/gone/pods", pod("p"))
    assert (code, answer["message"]) == (404, 'namespaces "gone" not found')
    assert api.admin.delete("/api/v1/namespaces/default")[0] == 403


def test_pod_security_and_its_warnings(api: LiveApi) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}
    api.admin.post("/api/v1/namespaces", {"metadata": {"name": "strict", "labels": labels}})
    api.admin.post("/api/v1/namespaces/strict/serviceaccounts", {"metadata": {"name": "default"}})
    api.admin.post("/api/v1/namespaces/strict/pods", pod("fine"))
    assert "would violate PodSecurity" in api.admin.headers["warning"]
    code, answer = api.admin.call("POST", "/api/v1/namespaces/strict/pods", pod("bad", hostNetwork=True))
    assert (code, 'violates PodSecurity "baseline:latest"' in answer["message"]) == (403, True)


def test_quotas_hold_under_concurrent_creates(api: LiveApi) -> None:
    api.namespace("small")
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "10"}}}
    api.admin.post("/api/v1/namespaces/small/resourcequotas", quota)
    clients = [api.client(f"user{number}", "system:masters") for number in range(6)]

    def create(number: int) -> int:
        obj = {"metadata": {"name": f"c{number}"}}
        code, answer = clients[number % 6].call("POST", "/api/v1/namespaces/small/configmaps", obj)
        assert code == 201 or "exceeded quota: q" in answer["message"], answer
        return code

    def work(worker: int) -> list[int]:
        return [create(number) for number in range(worker, 42, 6)]

    with ThreadPoolExecutor(6) as pool:
        codes = [code for found in pool.map(work, range(6)) for code in found]
    assert codes.count(201) == 10
    assert codes.count(403) == 32
    assert len(api.admin.get("/api/v1/namespaces/small/configmaps")[1]["items"]) == 10


def test_secrets_are_encrypted_in_the_store_and_no_secret_is_in_the_audit_log(api: LiveApi) -> None:
    api.namespace("vault")
    secret = {"metadata": {"name": "s"}, "stringData": {"password": "hunter2-in-clear"}}
    api.admin.post("/api/v1/namespaces/vault/secrets", secret)
    assert api.admin.get("/api/v1/namespaces/vault/secrets/s")[1]["data"] == {"password": "aHVudGVyMi1pbi1jbGVhcg=="}
    with StoreClient(api.store.members[0].endpoint) as store:
        stored = store.get(b"/registry/secrets/vault/s")
    assert stored.value.startswith(b"k8s:enc:aesgcm:v1:k1:")
    api.admin.get("/api/v1/namespaces/vault")
    wait_until(lambda: "/api/v1/namespaces/vault/secrets/s" in api.audit.read_text(), "the log is written", 5)
    text = api.audit.read_text()
    assert "hunter2" not in text
    assert "aHVudGVy" not in text
    [event] = [
        event
        for event in map(json.loads, text.splitlines())
        if event["verb"] == "create"
        and event.get("objectRef", {}).get("name") == "s"
        and event["stage"] != "RequestReceived"
    ]
    assert event["user"]["username"] == "admin"
    assert event["responseStatus"]["code"] == 201


def test_what_a_rule_names_by_its_group_is_encrypted_in_the_store(api: LiveApi) -> None:
    api.namespace("sealed")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {**POD["spec"], "restartPolicy": "Never"}}
    jobs, path = "/apis/batch/v1/namespaces/sealed/jobs", "/apis/apps/v1/namespaces/sealed/deployments"
    api.admin.post(jobs, {"metadata": {"name": "j"}, "spec": {"suspend": True, "template": template}})
    selected = {"selector": {"matchLabels": {"a": "b"}}, "template": {**template, "spec": POD["spec"]}}
    api.admin.post(path, {"metadata": {"name": "d"}, "spec": {"replicas": 0, **selected}})
    with StoreClient(api.store.members[0].endpoint) as store:
        assert store.get(b"/registry/jobs/sealed/j").value.startswith(b"k8s:enc:aesgcm:v1:k1:")
        assert store.get(b"/registry/deployments/sealed/d").value.startswith(b'{"apiVersion":"apps/v1"')
    assert api.admin.get(f"{jobs}/j")[1]["spec"]["suspend"] is True
    assert names(api.admin.get(jobs)) == ["j"]


def configure(api: LiveApi, kind: str, webhook: Object, namespace: str) -> str:
    """A configuration for that namespace alone; its path."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    path = f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}s"
    body = {
        "metadata": {"name": f"{namespace}-{kind.lower()}"},
        "webhooks": [{**webhook, "namespaceSelector": selector}],
    }
    api.admin.post(path, body)
    return f"{path}/{body['metadata']['name']}"  # type: ignore[index]


def test_webhooks_change_and_refuse(api: LiveApi, tmp_path: Path) -> None:
    api.namespace("hooked")
    base = "/api/v1/namespaces/hooked/configmaps"

    def says(request: Object) -> Object:
        if request["name"] == "bad":
            return {"allowed": False, "status": {"message": "not here"}}
        return label("by", "webhook") if request["operation"] == "CREATE" else {}

    with WebhookServer(tmp_path, says) as server:
        configure(api, "MutatingWebhookConfiguration", server.webhook("m.example.com"), "hooked")
        gone = configure(api, "ValidatingWebhookConfiguration", server.webhook("v.example.com"), "hooked")
        made = api.admin.post(base, {"metadata": {"name": "good"}})
        assert made["metadata"]["labels"] == {"by": "webhook"}
        code, answer = api.admin.call("POST", base, {"metadata": {"name": "bad"}})
        assert (code, answer["message"]) == (403, 'admission webhook "m.example.com" denied the request: not here')
        api.admin.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "bad"}})
        assert api.admin.delete(f"{base}/good")[0] == 200
        assert [seen["operation"] for seen in server.seen] == ["CREATE", "CREATE", "CREATE", "DELETE", "DELETE"]
    code, answer = api.admin.call("POST", base, {"metadata": {"name": "later"}})
    assert (code, answer["reason"]) == (500, "InternalError")
    assert 'failed calling webhook "m.example.com"' in answer["message"]
    assert api.admin.delete(gone)[0] == 200


def test_one_user_cannot_take_all_seats(api: LiveApi, tmp_path: Path) -> None:
    """Eight writes at once is all this server does; a user whose writes hang in a webhook gets four of them."""
    for name in ("slow", "quick"):
        api.namespace(name)
        role = {"kind": "ClusterRole", "name": "edit", "apiGroup": "rbac.authorization.k8s.io"}
        subjects = [{"kind": "Group", "name": "editors", "apiGroup": "rbac.authorization.k8s.io"}]
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings"
        api.admin.post(path, {"metadata": {"name": "editors"}, "roleRef": role, "subjects": subjects})
    greedy = [Client(api.port, api.context("greedy", "editors")) for _ in range(20)]
    modest = api.client("modest", "editors")
    with WebhookServer(tmp_path, lambda request: None) as server, ThreadPoolExecutor(20) as pool:
        configure(api, "ValidatingWebhookConfiguration", server.webhook("slow.example.com", timeoutSeconds=30), "slow")
        wait_until(lambda: modest.get("/api/v1/namespaces/quick/configmaps")[0] == 200, "the role holds", 5)
        floods = [
            pool.submit(client.call, "POST", "/api/v1/namespaces/slow/configmaps", {"metadata": {"name": f"c{number}"}})
            for number, client in enumerate(greedy)
        ]
        wait_until(lambda: len(server.seen) == 4, "four of them are under way", 10)
        for number in range(20):
            modest.post("/api/v1/namespaces/quick/configmaps", {"metadata": {"name": f"c{number}"}})
        assert len(server.seen) == 4
        server.release()
        assert {future.result()[0] for future in floods} <= {201, 500}
    for client in greedy:
        client.close()


SEALED = b"k8s:enc:aesgcm:v1:lost:whatever this was"
UNSAFE = {"ignoreStoreReadErrorWithClusterBreakingPotential": True}


def seal(api: LiveApi, *keys: str) -> None:
    """Values of a lost key, as another server would have written them."""
    with StoreClient(api.store.members[0].endpoint) as store:
        for key in keys:
            store.put(key.encode(), SEALED)


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer[1]["items"]]


def test_an_object_that_no_key_can_read_is_one_error(api: LiveApi) -> None:
    api.namespace("a")
    path = "/api/v1/namespaces/a/secrets"
    api.admin.post(path, {"metadata": {"name": "good"}, "stringData": {"x": "y"}})
    seal(api, "/registry/secrets/a/bad")
    status, body = api.admin.get(f"{path}/bad")
    assert (status, body["reason"]) == (500, "InternalError")
    assert "secrets at /registry/secrets/a/bad cannot be read: it was written with aesgcm key lost" in body["message"]
    assert api.admin.get(f"{path}/good")[0] == 200
    assert names(api.admin.get(path)) == ["good"]
    for answer in (
        api.admin.call("POST", path, {"metadata": {"name": "bad"}}),
        api.admin.delete(f"{path}/bad"),
        api.admin.delete(path),
    ):
        assert answer[0] == 500
        assert "/registry/secrets/a/bad cannot be read" in answer[1]["message"]
    assert names(api.admin.get(path)) == ["good"], "a namespace must not end while something is in it"
    seal(api, "/registry/secrets/a/good")
    wait_until(lambda: names(api.admin.get(path)) == [], "what was readable is so no more", 5)
    assert api.admin.get(f"{path}/good")[0] == 500


def test_a_resource_that_holds_one_is_loaded(api: LiveApi) -> None:
    """Nobody has asked for pod templates yet: they are loaded now."""
    seal(api, "/registry/podtemplates/b/bad")
    assert api.admin.get("/api/v1/podtemplates")[0] == 200
    assert api.admin.get("/api/v1/namespaces/b/podtemplates/bad")[0] == 500
    assert api.admin.get("/readyz")[0] == 200


def test_it_is_deleted_by_force_with_a_right_of_its_own(api: LiveApi) -> None:
    api.namespace("c")
    path = "/api/v1/namespaces/c/secrets"
    seal(api, "/registry/secrets/c/bad")
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["delete"]}
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/c"
    api.admin.post(f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    api.admin.post(f"{rbac}/rolebindings", binding)
    eve = api.client("eve")
    wait_until(lambda: eve.delete(f"{path}/bad")[0] == 500, "she may delete", 5)
    status, body = eve.call("DELETE", f"{path}/bad", UNSAFE)
    assert (status, "unsafe-delete-ignore-read-errors" in body["message"]) == (403, True)
    status, body = api.admin.call("DELETE", f"{path}/bad", {**UNSAFE, "gracePeriodSeconds": 0})
    assert (status, "cannot be set together with .gracePeriodSeconds" in body["message"]) == (422, True)
    assert api.admin.call("DELETE", path, UNSAFE)[0] == 422
    assert api.admin.call("DELETE", f"{path}/bad", UNSAFE)[1]["status"] == "Success"
    assert api.admin.get(f"{path}/bad")[0] == 404
    assert api.admin.call("DELETE", f"{path}/bad", UNSAFE)[0] == 404
    api.admin.post(path, {"metadata": {"name": "fine", "finalizers": ["x.y/z"]}})
    assert api.admin.call("DELETE", f"{path}/fine", UNSAFE)[0] == 200
    assert api.admin.get(f"{path}/fine")[1]["metadata"]["deletionTimestamp"], "what can be read goes the ordinary way"
