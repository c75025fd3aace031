"""kubectl create of every kind, from files and with generators; delete in all its ways; wait; nodes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from kubectl_cli import Kubectl

from control.api.catalogue import BUILTIN

EXAMPLES = Path(__file__).parents[1] / "control_api" / "examples"


def examples() -> list[dict[str, Any]]:
    """One object of every kind that is stored."""
    found = [yaml.safe_load(path.read_text()) for path in sorted(EXAMPLES.glob("*.yaml"))]
    kinds = [BUILTIN.by_kind(value["apiVersion"], value["kind"]) for value in found]
    return [value for value, kind in zip(found, kinds, strict=True) if kind and kind.stored and kind.plural]


def of_this_namespace(kubectl: Kubectl) -> list[dict[str, Any]]:
    """The examples, with names that no other test uses."""
    items = []
    for number, value in enumerate(examples()):
        kind = value["kind"]
        if kind == "CustomResourceDefinition":
            continue  # its name is no choice of ours; test_custom_kinds makes one
        value["metadata"]["name"] = f"{kind.lower()}-{kubectl.namespace}-{number}"
        value["metadata"].pop("namespace", None)
        value.get("involvedObject", value.get("regarding", {}))["namespace"] = kubectl.namespace
        for webhook in value.get("webhooks", ()):
            webhook["rules"] = []  # it would be called for everything that other tests write
        items.append(value)
    return items


def applied(kubectl: Kubectl, items: list[dict[str, Any]]) -> list[Any]:
    """What server-side apply answers, without what controllers write meanwhile."""
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    flags = ["--server-side", "--force-conflicts", "--field-manager=e2e", "-o", "json"]
    flags += [] if kubectl.old else ["--show-managed-fields"]
    found = json.loads(kubectl.run("apply", *flags, "-f", "-", stdin=json.dumps(listed)))["items"]
    for value in found:
        value.pop("status", None)
        metadata = value["metadata"]
        entries = metadata.get("managedFields", ())
        metadata["managedFields"] = [entry for entry in entries if entry["manager"] == "e2e"]
        for name in ("resourceVersion", "annotations"):
            metadata.pop(name, None)
    return found


def test_every_kind_from_a_file(kubectl: Kubectl) -> None:
    items = of_this_namespace(kubectl)
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    names = kubectl.run("create", "-f", "-", "-o", "name", stdin=json.dumps(listed)).split()
    assert len(names) == len(items)
    shown = kubectl.run("get", *names, "-o", "name").split()
    assert [name.split("/")[1] for name in shown] == [item["metadata"]["name"] for item in items]
    first = applied(kubectl, items)
    assert {"ConfigMap", "Deployment", "Pod", "Role"} <= {v["kind"] for v in first if v["metadata"]["managedFields"]}
    assert applied(kubectl, items) == first
    kubectl.run("delete", *names, "--wait=false", "--ignore-not-found")


GENERATORS = {
    "clusterrole": "create clusterrole {} --verb=get --resource=pods",
    "clusterrolebinding": "create clusterrolebinding {} --clusterrole=view --user=u",
    "configmap": "create configmap {} --from-literal=a=b",
    "cronjob": "create cronjob {} --image=x --schedule=@daily -- date",
    "deployment": "create deployment {} --image=nginx --replicas=0",
    "ingress": "create ingress {} --rule=h.example/=svc:80",
    "job": "create job {} --image=busybox -- true",
    "namespace": "create namespace {}",
    "poddisruptionbudget": "create pdb {} --selector=a=b --min-available=1",
    "pod": "run {} --image=busybox --restart=Never --labels=a=b -- sleep 1",
    "priorityclass": "create priorityclass {} --value=10",
    "resourcequota": "create quota {} --hard=configmaps=1000",
    "role": "create role {} --verb=get --resource=pods",
    "rolebinding": "create rolebinding {} --role=r --user=u",
    "secret": "create secret generic {} --from-literal=k=v",
    "service": "create service clusterip {} --tcp=80",
    "serviceaccount": "create serviceaccount {}",
}


# Of kubectl 1.20, whose bodies are JSON as those of files are. It makes cron jobs and disruption budgets in versions of
# the API that Kubernetes has dropped.
OLD = ("clusterrole", "configmap", "deployment", "job", "namespace", "pod", "resourcequota", "secret", "service")


def test_generators(kubectl: Kubectl) -> None:
    name = f"gen-{kubectl.namespace}"
    commands = [command for kind, command in GENERATORS.items() if kind in OLD or not kubectl.old]
    with ThreadPoolExecutor(3) as threads:
        outputs = list(threads.map(lambda text: kubectl.run(*named(text, name)), commands))
    made = [output.strip() for output in outputs]
    assert kubectl.run("get", *made, "-o", "name").split() == made
    said = kubectl.run(*GENERATORS["configmap"].format(name).split(), code=1)
    assert f'configmaps "{name}" already exists' in said
    kubectl.run("delete", *made, "--wait=false", "--ignore-not-found")


def named(command: str, name: str) -> list[str]:
    """The words of a command that prints the name of what it makes."""
    words = command.format(name).split()
    place = words.index("--") if "--" in words else len(words)
    return [*words[:place], "-o", "name", *words[place:]]


def test_tokens(newest: Kubectl) -> None:
    token = newest.run("create", "token", "default", "--duration=10m").strip()
    assert token.count(".") == 2


def test_a_job_from_a_cronjob(newest: Kubectl) -> None:
    cronjob = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {
            "schedule": "0 0 1 1 *",
            "jobTemplate": {
                "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}}
            },
        },
    }
    newest.run("create", "-f", "-", stdin=json.dumps(cronjob))
    newest.run("create", "job", "once", "--from=cronjob/nightly")
    assert newest.object("job/once")["metadata"]["ownerReferences"][0]["name"] == "nightly"


def test_names_that_the_server_makes(kubectl: Kubectl) -> None:
    value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "some-"}}
    names = {kubectl.run("create", "-f", "-", "-o", "name", stdin=json.dumps(value)).strip() for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("configmap/some-") for name in names)


def deployment(name: str) -> str:
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "c", "image": "nginx"}], "terminationGracePeriodSeconds": 0},
                },
            },
        }
    )


def made(kubectl: Kubectl, name: str) -> None:
    """A Deployment whose controller has made its ReplicaSet and Pod."""
    kubectl.run("create", "-f", "-", stdin=deployment(name))
    kubectl.run("wait", "deploy", name, "--for=condition=Progressing", "--timeout=30s")


def children(kubectl: Kubectl, name: str) -> list[str]:
    return kubectl.run("get", "rs,po", "-l", f"app={name}", "-o", "name").split()


def test_delete_in_the_foreground(kubectl: Kubectl) -> None:
    made(kubectl, "fore")
    kubectl.run("delete", "deploy", "fore", "--cascade=foreground", "--timeout=40s")
    assert children(kubectl, "fore") == []


def test_delete_in_the_background(kubectl: Kubectl) -> None:
    made(kubectl, "back")
    owned = [name for name in children(kubectl, "back") if name.startswith("replicaset")]
    kubectl.run("delete", "deploy", "back", "--cascade=background")
    if owned := [name for name in owned if kubectl.run("get", name, "--ignore-not-found")]:
        kubectl.run("wait", *owned, "--for=delete", "--timeout=40s", code=None)
    assert not any(kubectl.run("get", name, "--ignore-not-found") for name in owned)


def test_delete_leaving_orphans(kubectl: Kubectl) -> None:
    made(kubectl, "free")
    kubectl.run("delete", "deploy", "free", "--cascade=orphan", "--timeout=40s")
    left = children(kubectl, "free")
    assert left[0].startswith("replicaset")
    assert "ownerReferences" not in kubectl.object(left[0])["metadata"]
    kubectl.run("delete", left[0], "--wait=false")


def test_delete_many_and_with_finalizers(kubectl: Kubectl) -> None:
    for number in range(3):
        kubectl.run("create", "cm", f"bulk-{number}")
        kubectl.run("label", "cm", f"bulk-{number}", "bulk=yes")
    kubectl.run("patch", "cm", "bulk-0", "-p", '{"metadata":{"finalizers":["example.com/hold"]}}')
    kubectl.run("delete", "cm", "-l", "bulk=yes", "--wait=false")
    assert kubectl.run("get", "cm", "-l", "bulk=yes", "-o", "name") == "configmap/bulk-0\n"
    assert kubectl.field("cm/bulk-0", ".metadata.deletionTimestamp")
    assert "timed out" in kubectl.run("wait", "cm", "bulk-0", "--for=delete", "--timeout=0.3s", code=1)
    kubectl.run("patch", "cm", "bulk-0", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    assert "not found" in kubectl.run("get", "cm", "bulk-0", code=1)


def test_wait_for_a_condition(newest: Kubectl) -> None:
    made(newest, "waited")
    said = newest.run("wait", "deploy", "waited", "--for=condition=Available", "--timeout=0.3s", code=1)
    assert "timed out" in said
    newest.run("wait", "deploy", "waited", "--for=jsonpath={.spec.replicas}=1", "--timeout=5s")
    newest.run("delete", "deploy", "waited", "--wait=false")


NODE = """
apiVersion: v1
kind: Node
metadata: {{name: {0}}}
"""


def test_cordon_taint_and_drain(kubectl: Kubectl) -> None:
    name = f"node-{kubectl.namespace}"
    kubectl.run("create", "-f", "-", stdin=NODE.format(name))
    kubectl.run("cordon", name)
    assert kubectl.field(f"node/{name}", ".spec.unschedulable") is True
    assert "SchedulingDisabled" in kubectl.run("get", "node", name)
    kubectl.run("uncordon", name)
    assert not kubectl.field(f"node/{name}", ".spec.unschedulable")
    kubectl.run("taint", "node", name, "key=value:NoSchedule")
    assert "key=value:NoSchedule" in kubectl.run("describe", "node", name)
    kubectl.run("taint", "node", name, "key:NoSchedule-")
    assert "key=value:NoSchedule" not in kubectl.run("describe", "node", name)
    kubectl.run("drain", name, "--ignore-daemonsets", "--timeout=20s")
    kubectl.run("delete", "node", name)


def test_custom_kinds(kubectl: Kubectl) -> None:
    group = f"{kubectl.namespace}.example.com"
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "description": "how big it is"},
                    "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                },
            },
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    }
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["th"]},
            "versions": [version],
        },
    }
    kubectl.run("apply", "-f", "-", stdin=json.dumps(crd))
    kubectl.run("wait", "crd", f"things.{group}", "--for=condition=Established", "--timeout=20s")
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "one"}, "spec": {"size": 3}}
    assert "created" in kubectl.run("apply", "-f", "-", stdin=json.dumps(thing))
    assert "unchanged" in kubectl.run("apply", "-f", "-", stdin=json.dumps(thing))
    kubectl.run("apply", "--server-side", "-f", "-", stdin=json.dumps(thing))
    resource = f"things.{group}"
    assert kubectl.run("get", resource, "one", "-o", "jsonpath={.spec.colour}") == "red"
    assert kubectl.run("get", resource).split()[:2] == ["NAME", "SIZE"]
    assert "how big it is" in kubectl.run("explain", "things.spec", f"--api-version={group}/v1")
    kubectl.run("patch", resource, "one", "--type=merge", "-p", '{"spec":{"size":4}}')
    assert kubectl.run("get", resource, "one", "-o", "jsonpath={.spec.size}") == "4"
    said = kubectl.run("patch", resource, "one", "--type=merge", "-p", '{"spec":{"size":0}}', code=1)
    assert "spec.size" in said
    thing["spec"] = {"size": 1, "weight": 2}
    assert "weight" in kubectl.run("create", "-f", "-", stdin=json.dumps(thing), code=1)
    kubectl.run("delete", "crd", f"things.{group}", "--timeout=30s")
