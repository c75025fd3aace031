"""The `kubernetes` Python client, unchanged: typed and dynamic, watches, patches, leader election."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from custom_kinds import crd
from harness.process import clean_environment
from kubernetes import client, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import DynamicClient

from control.testing.kube import KubeApi


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"app": name}), data=data)


def test_typed_objects(api_client: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    made = core.create_namespaced_config_map(namespace, config_map("a", x="1"))
    assert made.metadata.uid
    with pytest.raises(ApiException) as caught:
        core.create_namespaced_config_map(namespace, config_map("a"))
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    core.create_namespaced_config_map(namespace, config_map("b"))
    assert [i.metadata.name for i in core.list_namespaced_config_map(namespace, label_selector="app=b").items] == ["b"]
    first = core.list_namespaced_config_map(namespace, limit=1)
    rest = core.list_namespaced_config_map(namespace, limit=100, _continue=first.metadata._continue)
    names = [item.metadata.name for item in [*first.items, *rest.items]]
    assert {"a", "b"} <= set(names)
    made.data["x"] = "2"
    replaced = core.replace_namespaced_config_map("a", namespace, made)
    with pytest.raises(ApiException) as caught:
        core.replace_namespaced_config_map("a", namespace, made)
    assert caught.value.status == 409
    # The client sends dicts as strategic merge patches, lists as JSON patches.
    merged = core.patch_namespaced_config_map("a", namespace, {"data": {"y": "3"}})
    assert merged.data == {"x": "2", "y": "3"}
    operations = [{"op": "remove", "path": "/data/y"}, {"op": "test", "path": "/data/x", "value": "2"}]
    assert core.patch_namespaced_config_map("a", namespace, operations).data == {"x": "2"}
    assert int(replaced.metadata.resource_version) > 0
    status = core.delete_namespaced_config_map("a", namespace)
    assert status.status == "Success"
    with pytest.raises(ApiException) as caught:
        core.read_namespaced_config_map("a", namespace)
    assert caught.value.status == 404


def test_deployments_and_their_scale(api_client: client.ApiClient, namespace: str) -> None:
    apps = client.AppsV1Api(api_client)
    labels = {"app": "web"}
    container = client.V1Container(name="c", image="nginx:1", ports=[client.V1ContainerPort(container_port=80)])
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(replicas=0, selector=client.V1LabelSelector(match_labels=labels), template=template)
    deployment = client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
    made = apps.create_namespaced_deployment(namespace, deployment)
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    scaled = apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 2}})
    assert scaled.spec.replicas == 2
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}}}
    patched = apps.patch_namespaced_deployment("web", namespace, patch)
    assert patched.spec.template.spec.containers[0].image == "nginx:2"
    assert patched.spec.template.spec.containers[0].ports[0].container_port == 80
    apps.delete_namespaced_deployment("web", namespace, propagation_policy="Foreground")
    with pytest.raises(ApiException) as caught:
        wrong = {"spec": {"replicas": "many"}}
        apps.patch_namespaced_deployment("web2", namespace, wrong)
    assert caught.value.status in (404, 422, 400)


def test_watching(api_client: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("a"))
    core.patch_namespaced_config_map("a", namespace, {"data": {"x": "1"}})
    core.delete_namespaced_config_map("a", namespace)
    seen: list[str] = []
    stream = watch.Watch()
    for event in stream.stream(
        core.list_namespaced_config_map, namespace, resource_version=start, label_selector="app=a", timeout_seconds=20
    ):
        seen.append(event["type"])
        if event["type"] == "DELETED":
            stream.stop()
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


def test_the_dynamic_client_and_custom_resources(api_client: client.ApiClient, namespace: str) -> None:
    extensions = client.ApiextensionsV1Api(api_client)
    extensions.create_custom_resource_definition(crd("boats", "Boat"))
    seen = watch.Watch()
    for event in seen.stream(extensions.list_custom_resource_definition, timeout_seconds=20):
        conditions = event["object"].status.conditions or [] if event["object"].status else []
        name = event["object"].metadata.name
        if name == "boats.sea.example" and any(c.type == "Established" and c.status == "True" for c in conditions):
            seen.stop()
    dynamic = DynamicClient(api_client)
    boats = dynamic.resources.get(api_version="sea.example/v1", kind="Boat")
    body = {"apiVersion": "sea.example/v1", "kind": "Boat", "metadata": {"name": "argo"}, "spec": {"oars": 50}}
    made = boats.create(body=body, namespace=namespace)
    assert made.spec.oars == 50
    patched = boats.patch(
        name="argo", namespace=namespace, body={"spec": {"sails": 1}}, content_type="application/merge-patch+json"
    )
    assert (patched.spec.oars, patched.spec.sails) == (50, 1)
    status = {"apiVersion": "sea.example/v1", "kind": "Boat", "metadata": {"name": "argo"}, "status": {"at": "Iolcus"}}
    boats.status.patch(name="argo", namespace=namespace, body=status, content_type="application/merge-patch+json")
    assert boats.get(name="argo", namespace=namespace).status.at == "Iolcus"
    applied = boats.server_side_apply(
        body={**body, "spec": {"oars": 52}},
        name="argo",
        namespace=namespace,
        field_manager="jason",
        force_conflicts=True,
    )
    assert applied.spec.oars == 52
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    assert maps.get(namespace=namespace).kind == "ConfigMapList"
    boats.delete(name="argo", namespace=namespace)
    extensions.delete_custom_resource_definition("boats.sea.example")


CANDIDATE = """
import os, sys
from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

config.load_kube_config(sys.argv[1])

def lead():
    print("leading", flush=True)
    os._exit(0)

lock = ConfigMapLock("leader", sys.argv[2], sys.argv[3])
settings = electionconfig.Config(lock, lease_duration=3, renew_deadline=2, retry_period=1,
                                 onstarted_leading=lead, onstopped_leading=None)
leaderelection.LeaderElection(settings).run()
"""


def test_leader_election(served_api: KubeApi, api_client: client.ApiClient, namespace: str, tmp_path: Path) -> None:
    script = tmp_path / "candidate.py"
    script.write_text(CANDIDATE)
    done = subprocess.run(
        [sys.executable, str(script), str(served_api.kubeconfig), namespace, "one"],
        capture_output=True,
        text=True,
        timeout=40,
        env=clean_environment(),
        check=False,
    )
    assert "leading" in done.stdout, done.stderr
    lock = client.CoreV1Api(api_client).read_namespaced_config_map("leader", namespace)
    assert '"holderIdentity": "one"' in lock.metadata.annotations["control-plane.alpha.kubernetes.io/leader"]
