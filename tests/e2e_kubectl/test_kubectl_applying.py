"""kubectl apply from the client's and the server's side, diff, edit, patch: all that changes an object."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from kubectl_cli import Kubectl

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: c
        image: "nginx:1"
        ports: [{{containerPort: 80}}]
        env: [{{name: A, value: "1"}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}}}
data: {{a: "1", b: "2"}}
"""


def web(name: str, replicas: int = 0, replaced: dict[str, str] | None = None) -> str:
    text = WEB.format(name=name, replicas=replicas)
    for old, new in (replaced or {}).items():
        text = text.replace(old, new)
    return text


def revisions(kubectl: Kubectl, name: str) -> list[str]:
    plain = [kubectl.field(f"{kind}/{name}", ".metadata.resourceVersion") for kind in ("svc", "cm")]
    return [*plain, spec_of(kubectl, name)]


def spec_of(kubectl: Kubectl, name: str) -> str:
    # The controllers write a Deployment's status and annotations whenever they please.
    found = kubectl.object(f"deploy/{name}")
    return json.dumps([found["spec"], found["metadata"]["generation"], found["metadata"]["labels"]], sort_keys=True)


def test_apply_twice_changes_nothing(kubectl: Kubectl) -> None:
    created = kubectl.run("apply", "-f", "-", stdin=web("twice"))
    assert created.splitlines() == ["deployment.apps/twice created", "service/twice created", "configmap/twice created"]
    before = revisions(kubectl, "twice")
    again = kubectl.run("apply", "-f", "-", stdin=web("twice"))
    assert again.split() == [
        "deployment.apps/twice",
        "unchanged",
        "service/twice",
        "unchanged",
        "configmap/twice",
        "unchanged",
    ]
    assert revisions(kubectl, "twice") == before


def test_apply_removes_what_is_left_out(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", stdin=web("less"))
    kubectl.run("label", "deploy", "less", "mine=yes")
    kubectl.run(
        "apply", "-f", "-", stdin=web("less", 1, {'a: "1", b: "2"': 'b: "3"', 'env: [{name: A, value: "1"}]': ""})
    )
    assert kubectl.object("cm/less")["data"] == {"b": "3"}
    found = kubectl.object("deploy/less")
    assert found["spec"]["replicas"] == 1
    assert "env" not in found["spec"]["template"]["spec"]["containers"][0]
    assert found["metadata"]["labels"] == {"app": "less", "mine": "yes"}


def test_server_side_apply_twice_changes_nothing(kubectl: Kubectl) -> None:
    assert kubectl.run("apply", "--server-side", "-f", "-", stdin=web("server")).count("serverside-applied") == 3
    before = revisions(kubectl, "server")
    kubectl.run("apply", "--server-side", "-f", "-", stdin=web("server"))
    assert revisions(kubectl, "server") == before
    kubectl.run("apply", "--server-side", "-f", "-", stdin=web("server", 0, {'a: "1", b: "2"': 'b: "2"'}))
    assert kubectl.object("cm/server")["data"] == {"b": "2"}


def test_server_side_conflicts(kubectl: Kubectl) -> None:
    kubectl.run("apply", "--server-side", "-f", "-", stdin=web("contested"))
    kubectl.run("scale", "deploy", "contested", "--replicas=1")
    said = kubectl.run("apply", "--server-side", "-f", "-", stdin=web("contested"), code=1)
    assert "Apply failed with 1 conflict: conflict with" in said
    assert ".spec.replicas" in said
    kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=web("contested"))
    assert kubectl.field("deploy/contested", ".spec.replicas") == 0
    other = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"contested"},"data":{"a":"9","c":"3"}}'
    said = kubectl.run("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other, code=1)
    assert 'conflict with "kubectl"' in said
    mine = other.replace('"a":"9",', "")
    kubectl.run("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=mine)
    assert kubectl.object("cm/contested")["data"] == {"a": "1", "b": "2", "c": "3"}


def test_from_client_side_to_server_side(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", stdin=web("moving"))
    kubectl.run("apply", "--server-side", "-f", "-", stdin=web("moving", 1, {'a: "1", b: "2"': 'b: "5"'}))
    assert kubectl.field("deploy/moving", ".spec.replicas") == 1
    assert kubectl.field("cm/moving", ".data.b") == "5"
    if not kubectl.old:  # 1.20 does not hand over what it owned before
        assert kubectl.object("cm/moving")["data"] == {"b": "5"}


def test_diff_and_dry_runs(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", stdin=web("dry"))
    before = revisions(kubectl, "dry")
    assert kubectl.run("diff", "-f", "-", stdin=web("dry")) == ""
    shown = kubectl.run("diff", "-f", "-", stdin=web("dry", 3), code=1)
    assert "-  replicas: 0" in shown
    assert "+  replicas: 3" in shown
    assert "(server dry run)" in kubectl.run("apply", "--dry-run=server", "-f", "-", stdin=web("dry", 3))
    kubectl.run("delete", "cm", "dry", "--dry-run=server")
    kubectl.run("create", "cm", "dry-too", "--dry-run=server")
    assert revisions(kubectl, "dry") == before
    assert "not found" in kubectl.run("get", "cm", "dry-too", code=1)


def test_unknown_fields_are_refused(kubectl: Kubectl) -> None:
    said = kubectl.run("create", "-f", "-", stdin=web("wrong", 0, {"replicas": "replcas"}), code=1)
    assert "replcas" in said
    bad = web("wrong", 0, {"replicas: 0": "replicas: many"})
    assert "replicas" in kubectl.run("create", "-f", "-", stdin=bad, code=1)


@pytest.fixture(scope="module")
def deployment(kubectl: Kubectl) -> str:
    kubectl.run("apply", "-f", "-", stdin=web("changed"))
    return "deploy/changed"


def names(kubectl: Kubectl, what: str) -> list[str]:
    return [c["name"] for c in kubectl.object(what)["spec"]["template"]["spec"]["containers"]]


def test_three_kinds_of_patches(kubectl: Kubectl, deployment: str) -> None:
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}}
    kubectl.run("patch", deployment, "-p", json.dumps(strategic))
    assert names(kubectl, deployment) == ["side", "c"]
    kubectl.run("patch", deployment, "--type=merge", "-p", '{"spec":{"minReadySeconds":5,"paused":null}}')
    assert kubectl.field(deployment, ".spec.minReadySeconds") == 5
    operations = [
        {"op": "test", "path": "/spec/template/spec/containers/0/name", "value": "side"},
        {"op": "remove", "path": "/spec/template/spec/containers/0"},
    ]
    kubectl.run("patch", deployment, "--type=json", "-p", json.dumps(operations))
    assert names(kubectl, deployment) == ["c"]
    said = kubectl.run("patch", deployment, "--type=json", "-p", json.dumps(operations), code=1)
    assert "invalid" in said.lower()
    assert "no change" in kubectl.run("patch", deployment, "--type=merge", "-p", '{"spec":{"minReadySeconds":5}}')


def test_labels_and_annotations(kubectl: Kubectl, deployment: str) -> None:
    kubectl.run("label", deployment, "x=1")
    assert "already has a value" in kubectl.run("label", deployment, "x=2", code=1)
    kubectl.run("label", deployment, "x=2", "--overwrite")
    kubectl.run("annotate", deployment, "note=some words")
    found = kubectl.object(deployment)["metadata"]
    assert (found["labels"]["x"], found["annotations"]["note"]) == ("2", "some words")
    kubectl.run("label", deployment, "x-")
    kubectl.run("annotate", deployment, "note-")
    found = kubectl.object(deployment)["metadata"]
    assert "x" not in found["labels"]
    assert "note" not in found["annotations"]
    assert "invalid" in kubectl.run("label", deployment, "bad=a b", code=1).lower()


def test_set(kubectl: Kubectl, deployment: str) -> None:
    kubectl.run("set", "image", deployment, "c=nginx:2")
    kubectl.run("set", "env", deployment, "A=2", "B=3")
    kubectl.run("set", "resources", deployment, "--limits=cpu=100m,memory=64Mi")
    kubectl.run("set", "serviceaccount", deployment, "robot")
    spec = kubectl.object(deployment)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "nginx:2"
    assert {env["name"]: env["value"] for env in container["env"]} == {"A": "2", "B": "3"}
    assert container["resources"]["limits"] == {"cpu": "100m", "memory": "64Mi"}
    assert spec["serviceAccountName"] == "robot"
    kubectl.run("set", "selector", "svc", "changed", "app=other")
    assert kubectl.object("svc/changed")["spec"]["selector"] == {"app": "other"}


def test_scale(kubectl: Kubectl, deployment: str) -> None:
    kubectl.run("scale", deployment, "--replicas=2")
    assert kubectl.field(deployment, ".spec.replicas") == 2
    assert "Expected replicas to be 5" in kubectl.run(
        "scale", deployment, "--current-replicas=5", "--replicas=1", code=1
    )
    kubectl.run("scale", deployment, "--current-replicas=2", "--replicas=0")
    assert kubectl.field(deployment, ".spec.replicas") == 0


def test_rollout(kubectl: Kubectl, deployment: str) -> None:
    kubectl.run("rollout", "pause", deployment)
    assert kubectl.field(deployment, ".spec.paused") is True
    kubectl.run("rollout", "resume", deployment)
    assert not kubectl.field(deployment, ".spec.paused")
    kubectl.run("rollout", "restart", deployment)
    annotations = kubectl.object(deployment)["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations


def test_rollout_history_and_undo(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", stdin=web("rolled"))
    kubectl.run("rollout", "status", "deploy/rolled", "--timeout=30s")
    kubectl.run("set", "image", "deploy/rolled", "c=nginx:2")
    kubectl.run("rollout", "status", "deploy/rolled", "--timeout=30s")
    rows = kubectl.run("rollout", "history", "deploy/rolled").split()
    assert {"1", "2"} <= set(rows)
    assert "nginx:1" in kubectl.run("rollout", "history", "deploy/rolled", "--revision=1")
    kubectl.run("rollout", "undo", "deploy/rolled")
    assert kubectl.field("deploy/rolled", ".spec.template.spec.containers[0].image") == "nginx:1"


def test_edit(kubectl: Kubectl, deployment: str, tmp_path: Path) -> None:
    program = tmp_path / "editor.py"
    lines = ["import pathlib, sys", "file = pathlib.Path(sys.argv[1])"]
    lines += ["file.write_text(file.read_text().replace('minReadySeconds: 5', 'minReadySeconds: 9'))"]
    program.write_text("\n".join(lines))
    editor = f"{sys.executable} {program}"
    kubectl.run("edit", deployment, editor=editor)
    assert kubectl.field(deployment, ".spec.minReadySeconds") == 9
    generation = kubectl.field(deployment, ".metadata.generation")
    kubectl.run("edit", deployment, editor="true")
    assert kubectl.field(deployment, ".metadata.generation") == generation


def test_replace(kubectl: Kubectl) -> None:
    kubectl.run("create", "cm", "whole", "--from-literal=a=1")
    value = kubectl.object("cm/whole")
    value["data"] = {"b": "2"}
    kubectl.run("replace", "-f", "-", stdin=json.dumps(value))
    assert kubectl.object("cm/whole")["data"] == {"b": "2"}
    said = kubectl.run("replace", "-f", "-", stdin=json.dumps(value), code=1)
    assert "the object has been modified; please apply your changes to the latest version and try again" in said
    uid = kubectl.field("cm/whole", ".metadata.uid")
    del value["metadata"]["resourceVersion"]
    kubectl.run("replace", "--force", "-f", "-", stdin=json.dumps(value))
    assert kubectl.field("cm/whole", ".metadata.uid") != uid


def test_expose_and_autoscale(kubectl: Kubectl, deployment: str) -> None:
    kubectl.run("expose", deployment, "--name=exposed", "--port=80", "--target-port=8080")
    assert kubectl.field("svc/exposed", ".spec.ports[0].targetPort") == 8080
    kubectl.run("autoscale", deployment, "--min=1", "--max=5", "--cpu-percent=50")
    found = kubectl.object("hpa/changed")
    assert found["spec"]["maxReplicas"] == 5
    assert found["spec"]["scaleTargetRef"]["name"] == "changed"
    old = json.loads(kubectl.run("get", "horizontalpodautoscalers.v1.autoscaling", "changed", "-o", "json"))
    assert old["spec"]["targetCPUUtilizationPercentage"] == 50
    assert "changed" in kubectl.run("get", "hpa")


def test_managed_fields_are_shown_on_demand(kubectl: Kubectl, deployment: str) -> None:
    flags = [] if kubectl.old else ["--show-managed-fields"]
    found: Any = json.loads(kubectl.run("get", deployment, "-o", "json", *flags))
    managers = {entry["manager"] for entry in found["metadata"]["managedFields"]}
    assert {"kubectl-client-side-apply", "kubectl-edit", "kubectl-set"} <= managers
