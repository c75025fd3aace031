"""What kubectl reads: discovery, explain, get in all forms, watches, describe, events, permissions."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time

import pytest
import yaml
from kubectl_cli import Kubectl

from control.api.catalogue import BUILTIN

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: first, labels: {app: x, tier: front}}
data: {a: "1", b: "2"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: second, labels: {app: x}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: x}}
spec:
  replicas: 0
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec: {containers: [{name: c, image: "nginx:1", ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: x}}
spec: {selector: {app: x}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""


@pytest.fixture(scope="module")
def filled(kubectl: Kubectl) -> Kubectl:
    kubectl.run("create", "-f", "-", stdin=MANIFEST)
    return kubectl


@pytest.fixture(scope="module")
def full(newest: Kubectl) -> Kubectl:
    newest.run("create", "-f", "-", stdin=MANIFEST)
    return newest


def test_versions_and_resources(kubectl: Kubectl) -> None:
    assert "1.32" in kubectl.run("version", *([] if kubectl.old else ["-o", "json"]))
    listed = kubectl.run("api-resources", "-o", "name").split()
    assert set(listed) >= {kind.resource for kind in BUILTIN if "list" in kind.verbs}
    wide = kubectl.run("api-resources", "--api-group=apps", "-o", "wide")
    row = next(line.split() for line in wide.splitlines() if line.startswith("deployments"))
    assert row[:5] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert "autoscaling/v2" in kubectl.run("api-versions").split()


def test_explain(kubectl: Kubectl) -> None:
    shown = kubectl.run("explain", "pods.spec.containers.livenessProbe")
    assert "initialDelaySeconds" in shown
    recursive = kubectl.run("explain", "deployments", "--recursive")
    assert "maxSurge" in recursive
    assert "does not exist" in kubectl.run("explain", "pods.spec.nothing", code=1)
    assert "KIND:" in kubectl.run("explain", "hpa", "--api-version=autoscaling/v1")


def test_forms_of_output(filled: Kubectl) -> None:
    assert filled.run("get", "cm", "first", "-o", "name") == "configmap/first\n"
    found = json.loads(filled.run("get", "cm", "first", "-o", "json"))
    assert found["data"] == {"a": "1", "b": "2"}
    assert yaml.safe_load(filled.run("get", "cm", "first", "-o", "yaml")) == found
    assert filled.run("get", "cm/first", "-o", "jsonpath={.data.a}") == "1"
    template = "{{range .items}}{{.metadata.name}} {{end}}"
    assert filled.run("get", "cm", "-l", "app=x", "-o", f"go-template={template}") == "first second "
    columns = filled.run(
        "get", "deploy", "-o", "custom-columns=N:.metadata.name,I:.spec.template.spec.containers[0].image"
    )
    assert columns.split() == ["N", "I", "web", "nginx:1"]
    assert filled.run("get", "cm", "second", "--no-headers").split()[:2] == ["second", "0"]
    listed = json.loads(filled.run("get", "cm,deploy", "-l", "app=x", "-o", "json"))
    assert [item["kind"] for item in listed["items"]] == ["ConfigMap", "ConfigMap", "Deployment"]
    raw = json.loads(filled.run("get", "--raw", f"/api/v1/namespaces/{filled.namespace}/configmaps/first"))
    assert raw["data"]["b"] == "2"


def test_tables(filled: Kubectl) -> None:
    head, row = filled.run("get", "deploy", "web", "-o", "wide").splitlines()
    assert head.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert row.split()[:2] == ["web", "0/0"]
    assert row.split()[-3:] == ["c", "nginx:1", "app=x"]
    head, row = filled.run("get", "svc", "web", "--show-labels").splitlines()
    assert row.split()[1] == "ClusterIP"
    assert row.split()[-1] == "app=x"
    labels = filled.run("get", "cm", "first", "-L", "tier").splitlines()
    assert labels[1].split()[-1] == "front"
    everything = filled.run("get", "all")
    assert "deployment.apps/web" in everything
    assert "service/web" in everything
    assert filled.namespace in filled.run("get", "cm", "--all-namespaces")


def test_selectors_and_sorting(full: Kubectl) -> None:
    def names(*flags: str) -> list[str]:
        return [name.split("/")[1] for name in full.run("get", "cm", *flags, "-o", "name").split()]

    assert names("-l", "tier") == ["first"]
    assert names("-l", "app=x,!tier") == ["second"]
    assert names("-l", "tier in (front,back)") == ["first"]
    assert names("--field-selector", "metadata.name=second") == ["second"]
    assert set(names("--field-selector", "metadata.name!=second")) >= {"first"}
    table = full.run("get", "cm", "-l", "app=x", "--sort-by={.metadata.creationTimestamp}")
    assert [line.split()[0] for line in table.splitlines()] == ["NAME", "first", "second"]
    assert names("-l", "app=x", "--chunk-size=1") == ["first", "second"]
    refused = full.run("get", "cm", "--field-selector", "data.a=1", code=1)
    assert "field label not supported" in refused or "not a known field selector" in refused


def test_what_is_not_there(kubectl: Kubectl) -> None:
    assert 'configmaps "none" not found' in kubectl.run("get", "cm", "none", code=1)
    assert kubectl.run("get", "cm", "none", "--ignore-not-found") == ""
    assert "the server doesn't have a resource type" in kubectl.run("get", "zebras", code=1)


def read_until(process: subprocess.Popen[str], part: str, seconds: float = 20) -> str:
    """The output up to where `part` appears."""
    assert process.stdout is not None
    text, deadline = "", time.monotonic() + seconds
    while part not in text:
        ready, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"{part!r} did not come in {seconds} s, but {text!r}"
        piece = os.read(process.stdout.fileno(), 65536).decode()
        assert piece, f"the watch ended with {text!r}"
        text += piece
    return text


def test_watch(filled: Kubectl) -> None:
    process = filled.start("get", "cm", "-l", "watched=yes", "--watch", "--output-watch-events")
    named = filled.start("get", "cm", "first", "-w", "-o", "name")
    try:
        read_until(named, "configmap/first")
        filled.run("create", "-f", "-", stdin=json.dumps(configmap("seen", {"watched": "yes"})))
        text = read_until(process, "seen")
        assert "ADDED" in text
        filled.run("label", "cm", "seen", "watched=no", "--overwrite")
        assert "DELETED" in read_until(process, "DELETED")
        filled.run("label", "cm", "first", "touched=yes")
        read_until(named, "configmap/first")
    finally:
        for child in (process, named):
            child.kill()
            child.communicate()


def configmap(name: str, labels: dict[str, str]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


def test_describe(filled: Kubectl) -> None:
    shown = filled.run("describe", "deploy", "web")
    assert "25% max unavailable, 25% max surge" in shown
    assert "nginx:1" in shown
    service = filled.run("describe", "svc", "web")
    assert "8080/TCP" in service
    assert "Name:         first" in filled.run("describe", "cm", "first")
    assert "Active" in filled.run("describe", "ns", filled.namespace)


def test_events(filled: Kubectl) -> None:
    about = {"apiVersion": "v1", "kind": "ConfigMap", "name": "first", "namespace": filled.namespace}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "happened", "namespace": filled.namespace},
        "involvedObject": about | {"uid": filled.field("cm/first", ".metadata.uid")},
        "reason": "Tested",
        "message": "something was tested",
        "type": "Normal",
        "source": {"component": "e2e"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    filled.run("create", "-f", "-", stdin=json.dumps(event))
    row = filled.run("get", "events", "--field-selector", "involvedObject.name=first").splitlines()[1]
    assert row.split()[1:4] == ["Normal", "Tested", "configmap/first"]
    assert "Tested" in filled.run("get", "events.v1.events.k8s.io")
    assert "something was tested" in filled.run("describe", "cm", "first")
    if not filled.old:
        assert "something was tested" in filled.run("events", "--for", "configmap/first")


def test_can_i(kubectl: Kubectl) -> None:
    assert kubectl.run("auth", "can-i", "create", "pods").strip() == "yes"
    assert kubectl.run("auth", "can-i", "create", "pods", "--as=nobody", code=1).strip().startswith("no")


def test_permissions(full: Kubectl) -> None:
    service_account = f"system:serviceaccount:{full.namespace}:nobody"
    assert full.run("auth", "can-i", "create", "pods", "--as", service_account, code=1).startswith("no")
    full.run("create", "role", "reader", "--verb=get", "--resource=configmaps")
    full.run("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={full.namespace}:nobody")
    deadline = time.monotonic() + 10
    while not full.run("auth", "can-i", "--list", "--as", service_account).count("configmaps"):
        assert time.monotonic() < deadline
    assert full.run("get", "cm", "first", "-o", "name", "--as", service_account) == "configmap/first\n"
    forbidden = full.run("get", "cm", "--as", service_account, code=1)
    assert f'User "{service_account}" cannot list resource "configmaps" in API group ""' in forbidden
    assert "system:masters" in full.run("auth", "whoami")
