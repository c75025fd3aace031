"""Mutating and validating webhooks: which are called, what they are told, what their answers do. Over real HTTPS."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from security_fakes import ALICE, FakeCluster, named, pod, review
from webhook_server import Object, WebhookServer, label, patch

from control.api.crd import kinds_of
from control.api.status import StatusError
from control.apiserver.admission.chain import AdmissionChain
from control.apiserver.admission.service_account import MOUNT_PATH, ServiceAccount
from control.apiserver.admission.webhook_client import CallFailed, WebhookClient, find_target
from control.apiserver.admission.webhook_rules import MUTATING, VALIDATING, resource_matches
from control.apiserver.admission.webhooks import Caller, MutatingWebhooks, ValidatingWebhooks
from control.apiserver.request import Operation, RequestInfo, Review


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("webhooks")


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[WebhookServer]:
    with WebhookServer(folder) as found:
        yield found


@pytest.fixture
def server(servers: WebhookServer) -> WebhookServer:
    servers.seen.clear()
    servers.says = lambda request: {}
    return servers


def cluster_of(kind: str, *webhooks: Object, **labels: str) -> FakeCluster:
    return FakeCluster(
        (kind, named("config", webhooks=list(webhooks))),
        ("namespaces", named("ns", labels=labels)),
        ("serviceaccounts", named("default", "ns")),
    )


def run(cluster: FakeCluster, asked: Review) -> Review:
    async def go() -> None:
        client = WebhookClient(cluster)
        caller = Caller(cluster, client)
        accounts = AdmissionChain([ServiceAccount(cluster, cluster.store)])
        try:
            await MutatingWebhooks(caller, accounts.mutate).mutate(asked)
            await ValidatingWebhooks(caller).validate(asked)
        finally:
            await client.close()

    asyncio.run(go())
    return asked


def labels_of(asked: Review) -> Object:
    assert asked.object is not None
    return asked.object["metadata"].get("labels", {})  # type: ignore[no-any-return]


# ---- who is called ----


@pytest.mark.parametrize(
    ("pattern", "resource", "subresource", "matches"),
    [
        ("*", "pods", "", True),
        ("*", "pods", "status", False),
        ("*/*", "pods", "status", True),
        ("*/*", "pods", "", True),
        ("pods/*", "pods", "status", True),
        ("pods", "pods", "status", False),
        ("*/scale", "deployments", "scale", True),
        ("pods", "services", "", False),
    ],
)
def test_resources_of_rules(pattern: str, resource: str, subresource: str, matches: bool) -> None:
    assert resource_matches(pattern, resource, subresource) is matches


def rule(**fields: Any) -> Object:
    every = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    return {"rules": [{**every, **fields}]}


TEAM = {"matchLabels": {"team": "a"}}


@pytest.mark.parametrize(
    ("fields", "called"),
    [
        (rule(), True),
        (rule(operations=["CREATE"]), True),
        (rule(operations=["UPDATE", "DELETE"]), False),
        (rule(apiGroups=["apps"]), False),
        (rule(apiVersions=["v2"]), False),
        (rule(resources=["pods"]), True),
        (rule(resources=["services"]), False),
        (rule(scope="Namespaced"), True),
        (rule(scope="Cluster"), False),
        ({"namespaceSelector": TEAM}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "b"}}}, False),
        ({"objectSelector": {"matchLabels": {"app": "web"}}}, True),
        ({"objectSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}, False),
    ],
)
def test_who_is_called(server: WebhookServer, fields: Object, called: bool) -> None:
    obj = pod()
    obj["metadata"]["labels"] = {"app": "web"}
    run(cluster_of(VALIDATING, server.webhook(**fields), team="a"), review("pods", obj))
    assert bool(server.seen) is called


def test_another_version_of_the_kind_is_matched_and_sent_as_such(server: WebhookServer) -> None:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3}
    scaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", **named("h", "ns", spec=spec)}
    old = rule(apiGroups=["autoscaling"], apiVersions=["v1"], resources=["horizontalpodautoscalers"])
    resource = "horizontalpodautoscalers.autoscaling"
    run(cluster_of(VALIDATING, server.webhook(matchPolicy="Exact", **old)), review(resource, scaler))
    assert not server.seen
    run(cluster_of(VALIDATING, server.webhook(**old)), review(resource, scaler))
    [seen] = server.seen
    assert seen["kind"] == {"group": "autoscaling", "version": "v1", "kind": "HorizontalPodAutoscaler"}
    assert seen["requestKind"]["version"] == "v2"
    assert seen["object"]["apiVersion"] == "autoscaling/v1"


WIDGETS: Object = {
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": name,
                "served": True,
                "storage": name == "v1",
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
            for name in ("v1", "v1beta1")
        ],
    }
}


def test_another_version_of_a_custom_kind_is_matched_too(server: WebhookServer) -> None:
    """A policy on the version that people use is not got around by the one they do not."""
    beta = next(kind for kind in kinds_of(WIDGETS) if kind.version == "v1beta1")
    rules = rule(apiGroups=["example.com"], apiVersions=["v1"], resources=["widgets"])

    def create(**fields: Any) -> Review:
        cluster = cluster_of(MUTATING, server.webhook(**rules, **fields))
        cluster.kinds += kinds_of(WIDGETS)
        widget = {"apiVersion": "example.com/v1beta1", "kind": "Widget", **named("w", "ns")}
        info = RequestInfo("create", "", "POST", "example.com", "v1beta1", "widgets", namespace="ns")
        return run(cluster, Review(ALICE, info, beta, "CREATE", widget))

    create(matchPolicy="Exact")
    assert not server.seen
    server.says = lambda request: label("by", "webhook")
    made = create()
    [seen] = server.seen
    assert (seen["object"]["apiVersion"], seen["requestKind"]["version"]) == ("example.com/v1", "v1beta1")
    assert made.object is not None
    assert (made.object["apiVersion"], labels_of(made)) == ("example.com/v1beta1", {"by": "webhook"})


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "DELETE"])
def test_a_namespace_belongs_to_the_cluster(server: WebhookServer, operation: Operation) -> None:
    """Though requests for it have it as their namespace."""
    asked = review("namespaces", named("guarded"), operation=operation, old=named("guarded"))
    asked.info = replace(asked.info, namespace="" if operation == "CREATE" else "guarded")
    run(cluster_of(VALIDATING, server.webhook(**rule(scope="Namespaced"))), asked)
    assert not server.seen
    run(cluster_of(VALIDATING, server.webhook(**rule(scope="Cluster"))), asked)
    assert len(server.seen) == 1


def test_each_webhook_is_matched_on_what_the_ones_before_it_made(server: WebhookServer) -> None:
    def says(request: Object) -> Object:
        labels = request["object"]["metadata"].get("labels")
        return patch({"op": "add", "path": "/data", "value": {"a": "b"}}) if labels else label("inject", "yes")

    server.says = says
    chosen = {"objectSelector": {"matchLabels": {"inject": "yes"}}}
    first, second = server.webhook("a.example.com"), server.webhook("b.example.com", **chosen)
    asked = run(cluster_of(MUTATING, first, second), review("configmaps", named("c", "ns")))
    assert asked.object is not None
    assert (labels_of(asked), asked.object.get("data")) == ({"inject": "yes"}, {"a": "b"})


def test_a_webhook_that_the_object_is_no_longer_for_does_not_look_again(server: WebhookServer) -> None:
    def says(request: Object) -> Object:
        return label("done", "yes") if len(server.seen) == 2 else {}

    server.says = says
    undone = {"objectSelector": {"matchExpressions": [{"key": "done", "operator": "DoesNotExist"}]}}
    first = server.webhook("a.example.com", reinvocationPolicy="IfNeeded", **undone)
    run(cluster_of(MUTATING, first, server.webhook("b.example.com")), review("configmaps", named("c", "ns")))
    assert len(server.seen) == 2


def test_options_of_a_connection_have_no_labels(server: WebhookServer) -> None:
    options = {"apiVersion": "v1", "kind": "PodExecOptions", "command": ["ls"]}
    asked = review("pods", options, operation="CONNECT", subresource="exec", namespace="ns", name="p")
    none = {"objectSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}
    run(cluster_of(VALIDATING, server.webhook(**rule(resources=["pods/exec"]), **none)), asked)
    assert not server.seen
    run(cluster_of(VALIDATING, server.webhook(**rule(resources=["pods/exec"]))), asked)
    [seen] = server.seen
    assert (seen["object"], seen["oldObject"], seen["name"]) == (options, None, "p")


def test_webhooks_are_not_asked_of_webhooks(server: WebhookServer) -> None:
    configuration = named("mine", webhooks=[])
    run(
        cluster_of(VALIDATING, server.webhook()),
        review(VALIDATING, configuration, operation="DELETE", old=configuration),
    )
    assert not server.seen


# ---- what it is told, and what it says ----


def test_what_a_webhook_is_told(server: WebhookServer) -> None:
    old, new = named("c", "ns", data={"a": "1"}), named("c", "ns", data={"a": "2"})
    run(cluster_of(VALIDATING, server.webhook()), review("configmaps", new, operation="UPDATE", old=old))
    [seen] = server.seen
    assert seen["path"] == "/hook?timeout=5s"
    assert (seen["object"]["data"], seen["oldObject"]["data"]) == ({"a": "2"}, {"a": "1"})
    assert (seen["name"], seen["namespace"], seen["operation"]) == ("c", "ns", "UPDATE")
    assert seen["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert seen["userInfo"]["username"] == "alice"
    assert seen["dryRun"] is False
    assert seen["options"]["kind"] == "UpdateOptions"


def test_a_refusal_reaches_the_user(server: WebhookServer) -> None:
    server.says = lambda request: {"allowed": False, "status": {"code": 418, "message": "no pods on Sundays"}}
    with pytest.raises(StatusError) as refused:
        run(cluster_of(VALIDATING, server.webhook()), review("pods", pod()))
    assert refused.value.code == 418
    assert refused.value.message == 'admission webhook "hook.example.com" denied the request: no pods on Sundays'
    server.says = lambda request: {"allowed": False}
    with pytest.raises(StatusError, match="denied the request without explanation") as refused:
        run(cluster_of(VALIDATING, server.webhook()), review("pods", pod()))
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")


def test_warnings_and_audit_annotations(server: WebhookServer) -> None:
    server.says = lambda request: {"warnings": ["old field", "x" * 1000], "auditAnnotations": {"why": "because"}}
    asked = run(cluster_of(VALIDATING, server.webhook()), review("pods", pod()))
    assert asked.warnings == ["old field", "x" * 256]
    assert asked.audit == {"hook.example.com/why": "because"}


def test_a_patch_changes_the_object(server: WebhookServer) -> None:
    server.says = lambda request: label("by", "webhook")
    asked = run(cluster_of(MUTATING, server.webhook()), review("configmaps", named("c", "ns")))
    assert labels_of(asked) == {"by": "webhook"}


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (patch({"op": "remove", "path": "/spec/nothing"}), "its patch does not apply"),
        (patch({"op": "add", "path": "/data", "value": "text"}), "its patch does not apply"),
        ({"patchType": "JSONPatch", "patch": "!"}, "not a JSON patch in base64"),
        ({"patchType": "MergePatch", "patch": base64.b64encode(b"{}").decode()}, "invalid response.patchType"),
        ({"patchType": "JSONPatch"}, "patchType but not response.patch"),
        ({"allowed": "yes"}, "wrong type"),
        ({"uid": "another"}, "expected response.uid"),
    ],
)
def test_a_bad_answer_is_a_failure(server: WebhookServer, says: Object, message: str) -> None:
    server.says = lambda request: says
    with pytest.raises(StatusError, match=message) as refused:
        run(cluster_of(MUTATING, server.webhook()), review("configmaps", named("c", "ns")))
    assert refused.value.code == 500


def test_mutating_webhooks_build_on_each_other_and_may_look_again(server: WebhookServer) -> None:
    def says(request: Object) -> Object:
        calls.append(request["object"]["metadata"].get("labels"))
        if len(calls) == 2:
            return label("second", "2")
        return {}

    calls: list[Any] = []
    server.says = says
    again = server.webhook("a.example.com", reinvocationPolicy="IfNeeded")
    asked = run(cluster_of(MUTATING, again, server.webhook("b.example.com")), review("configmaps", named("c", "ns")))
    assert calls == [None, None, {"second": "2"}]
    assert labels_of(asked) == {"second": "2"}


def test_a_sidecar_gets_its_token_too(server: WebhookServer) -> None:
    sidecar = {"name": "proxy", "image": "proxy"}
    server.says = lambda request: patch({"op": "add", "path": "/spec/containers/-", "value": sidecar})
    asked = run(cluster_of(MUTATING, server.webhook()), review("pods", pod()))
    assert asked.object is not None
    assert [c["volumeMounts"][0]["mountPath"] for c in asked.object["spec"]["containers"]] == [MOUNT_PATH] * 2


# ---- what goes wrong ----

IGNORE = {"failurePolicy": "Ignore"}


@pytest.mark.parametrize(
    "says",
    [
        web.Response(status=500, text="broken"),
        web.Response(text="not json"),
        web.json_response({"kind": "Pod"}),
        web.Response(status=302, headers={"Location": "https://127.0.0.1:1/"}),
    ],
    ids=["500", "text", "kind", "redirect"],
)
def test_failure_policies(server: WebhookServer, says: web.Response) -> None:
    def answer(request: Object) -> web.Response:
        return web.Response(status=says.status, body=says.body, headers=says.headers)

    server.says = answer
    with pytest.raises(StatusError, match=r'failed calling webhook "hook\.example\.com"') as refused:
        run(cluster_of(VALIDATING, server.webhook()), review("pods", pod()))
    assert refused.value.code == 500
    asked = run(cluster_of(VALIDATING, server.webhook(**IGNORE)), review("pods", pod()))
    assert any(key.startswith("failed-open") for key in asked.audit)


def test_a_webhook_that_hangs_is_given_up(server: WebhookServer) -> None:
    server.says = lambda request: None
    with pytest.raises(StatusError, match="context deadline exceeded"):
        run(cluster_of(VALIDATING, server.webhook(timeoutSeconds=1)), review("pods", pod()))


def test_its_certificate_is_checked(server: WebhookServer) -> None:
    config = {"url": f"https://127.0.0.1:{server.port}/"}
    for bundle in ({}, {"caBundle": base64.b64encode(b"nonsense").decode()}):
        with pytest.raises(StatusError, match="failed to call webhook"):
            run(cluster_of(VALIDATING, server.webhook(clientConfig={**config, **bundle})), review("pods", pod()))
    assert not server.seen


def test_a_dry_run_calls_only_who_has_no_side_effects(server: WebhookServer) -> None:
    run(cluster_of(VALIDATING, server.webhook()), review("pods", pod(), dry_run=True))
    assert server.seen[0]["dryRun"] is True
    with pytest.raises(StatusError, match="does not support dry run"):
        run(cluster_of(VALIDATING, server.webhook(sideEffects="Some")), review("pods", pod(), dry_run=True))


def test_conditions_in_cel_are_refused_when_they_are_written(server: WebhookServer) -> None:
    webhook = server.webhook(matchConditions=[{"name": "x", "expression": "true"}])
    with pytest.raises(StatusError, match="evaluates no CEL") as refused:
        run(FakeCluster(), review(VALIDATING, named("c", webhooks=[webhook])))
    assert refused.value.code == 422


# ---- webhooks behind a Service ----


def with_service(server: WebhookServer, **conditions: bool) -> FakeCluster:
    cluster = cluster_of(
        VALIDATING,
        server.webhook(
            clientConfig={
                "service": {"namespace": "ns", "name": "hook", "path": "/check?x=1"},
                "caBundle": server.bundle,
            }
        ),
    )
    cluster.put("services", named("hook", "ns", spec={"ports": [{"name": "web", "port": 443}]}))
    endpoint = {"addresses": ["127.0.0.1"], "conditions": conditions}
    labels = {"kubernetes.io/service-name": "hook"}
    ports = [{"name": "web", "port": server.port}]
    cluster.put(
        "endpointslices.discovery.k8s.io", named("hook-1", "ns", labels=labels, endpoints=[endpoint], ports=ports)
    )
    return cluster


def test_a_service_is_reached_by_its_endpoints_under_its_own_name(server: WebhookServer) -> None:
    run(with_service(server), review("configmaps", named("c", "ns")))
    assert server.seen[0]["path"] == "/check?x=1&timeout=5s"


def test_a_service_without_endpoints(server: WebhookServer) -> None:
    with pytest.raises(StatusError, match='no endpoints available for service "hook"'):
        run(with_service(server, ready=False), review("configmaps", named("c", "ns")))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"url": "http://x/"}, "not an https URL"),
        ({"service": {"namespace": "ns", "name": "gone"}}, 'service "gone" not found'),
        ({"service": {"namespace": "ns", "name": "s", "port": 8443}}, "has no port 8443"),
    ],
)
def test_targets_that_cannot_be(config: Object, says: str) -> None:
    cluster = FakeCluster(("services", named("s", "ns", spec={"ports": [{"port": 443}]})))
    with pytest.raises(CallFailed, match=says):
        find_target(config, cluster)
