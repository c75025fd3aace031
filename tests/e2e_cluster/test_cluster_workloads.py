"""What users do, by kubectl alone, on three masters and two nodes: on processes; in soaks on Docker and containerd."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from whole_clients import PodWatch, ServiceClient
from whole_cluster import Object, WholeCluster, example, is_ready, named
from whole_engines import DAEMONS
from whole_remains import desired_is_actual

RUNTIMES = ["process", *(pytest.param(name, marks=pytest.mark.soak) for name in sorted(DAEMONS))]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the nodes' containers are made by root"),
    pytest.mark.parametrize("cluster", RUNTIMES, indirect=True, scope="module"),
]


@pytest.fixture(scope="module", autouse=True)
def web(cluster: WholeCluster) -> None:
    """The web server of the examples; and a clock that strikes each minute, to be looked at last."""
    cluster.apply(*example("cronjob.yaml"), *example("web.yaml"))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_an_update_and_its_rollback_refuse_nobody(cluster: WholeCluster) -> None:
    address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    cluster.wait(lambda: served(address), "the Service's proxy")
    with ServiceClient(cluster, "web") as client, PodWatch(cluster, "web") as watch:
        cluster.wait(lambda: client.versions() == {"1"}, "answers of version 1")
        cluster.kubectl("set", "env", "deployment/web", "VERSION=2")
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        cluster.wait(lambda: client.versions() == {"2"}, "answers of version 2 alone")
        cluster.kubectl("rollout", "undo", "deployment/web")
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        cluster.wait(lambda: client.versions() == {"1"}, "answers of version 1 alone")
    assert client.refused == []
    assert watch.fewest_ready() >= 3
    history = cluster.kubectl("rollout", "history", "deployment/web").split()
    assert [word for word in history if word.isdigit()] == ["2", "3"]


def served(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_scaling(cluster: WholeCluster) -> None:
    cluster.kubectl("scale", "deployment/web", "--replicas=6")
    nodes = {pod["spec"]["nodeName"] for pod in cluster.wait_ready("web", 6)}
    assert nodes == {"n1", "n2"}
    cluster.kubectl("scale", "deployment/web", "--replicas=2")
    cluster.wait_ready("web", 2)


def test_logs_exec_port_forward_and_copies(cluster: WholeCluster) -> None:
    pod = cluster.wait_ready("web", 2)[0]
    name = pod["metadata"]["name"]
    cluster.wait(lambda: cluster.engine.request_noted in cluster.kubectl("logs", name), "the probes in the log")
    said = cluster.kubectl("exec", name, "--", "sh", "-c", "echo $POD_NAME $POD_IP")
    assert said.split() == [name, pod["status"]["podIP"]]
    forward = cluster.spawn("port-forward", "service/web", ":80", log="forward.log")
    line = cluster.wait(lambda: re.search(r"127\.0\.0\.1:(\d+) -> 8080", forward.output()), "it forwards")
    with urllib.request.urlopen(f"http://127.0.0.1:{line.group(1)}/", timeout=10) as answer:
        assert "version 1" in answer.read().decode()
    forward.kill()
    source = cluster.home / "there.bin"
    source.write_bytes(os.urandom(100_000))
    cluster.kubectl("cp", str(source), f"{name}:/tmp/there.bin")
    cluster.kubectl("cp", f"{name}:/tmp/there.bin", str(cluster.home / "back.bin"))
    assert (cluster.home / "back.bin").read_bytes() == source.read_bytes()


def test_a_stateful_set_keeps_its_order(cluster: WholeCluster) -> None:
    with PodWatch(cluster, "db") as watch:
        cluster.apply(*example("statefulset.yaml"))
        cluster.wait_ready("db", 3)
    for pods in watch.seen:
        names = [pod["metadata"]["name"] for pod in pods]
        assert names == ["db-0", "db-1", "db-2"][: len(names)]
        assert all(is_ready(pod) for pod in pods[:-1]), names
    with PodWatch(cluster, "db") as watch:
        cluster.kubectl("scale", "statefulset/db", "--replicas=1")
        cluster.wait(lambda: len(cluster.pods("db")) == 1, "db-0 alone")
    for pods in watch.seen:
        names = [pod["metadata"]["name"] for pod in pods]
        assert names == ["db-0", "db-1", "db-2"][: len(names)]
        assert all(is_ready(pod) for pod in pods[:-1]), names
    cluster.kubectl("delete", "statefulset,service", "db")


def test_a_job_finishes(cluster: WholeCluster) -> None:
    cluster.apply(*example("job.yaml"))
    cluster.kubectl("wait", "--for=condition=complete", "job/squares", "--timeout=60s")
    said = cluster.kubectl("logs", "-l", "job-name=squares").splitlines()
    assert sorted(said) == ["0 squared is 0", "1 squared is 1", "2 squared is 4"]
    cluster.kubectl("delete", "job", "squares")


def test_a_pod_goes_where_its_volume_is_and_waits_for_a_claim_that_has_none(cluster: WholeCluster) -> None:
    disk = cluster.home / "disk"
    local = {"kind": "StorageClass", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": "local"}}
    local |= {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
    cluster.apply(local, claim("kept", "local"), writer("kept", "n2"), claim("none", ""), writer("none"))
    cluster.apply(*(volume(f"disk-{node}", disk, "local", node) for node in ("n1", "n2")))
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/kept", "--timeout=60s")
    assert cluster.kubectl("get", "pod", "kept", "-o", "jsonpath={.spec.nodeName}") == "n2"
    cluster.wait(lambda: (disk / "written").exists(), "the file in the volume")
    unbound = "2 nodes are available: pod has unbound immediate PersistentVolumeClaims"
    cluster.wait(lambda: unbound in cluster.kubectl("describe", "pod", "none"), "the pod to be told why")
    assert cluster.kubectl("get", "pod", "none", "-o", "jsonpath={.status.phase}{.spec.nodeName}") == "Pending"
    cluster.kubectl("delete", "pod/kept", "pod/none", "pvc/kept", "pvc/none", "pv/disk-n1", "pv/disk-n2", "--now")
    cluster.kubectl("delete", "storageclass", "local")


def test_a_volume_is_made_on_the_node_that_the_scheduler_chose(cluster: WholeCluster) -> None:
    late = {"kind": "StorageClass", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": "late"}}
    late |= {"provisioner": "example.org/disks", "volumeBindingMode": "WaitForFirstConsumer"}
    cluster.apply(late, claim("made", "late"), writer("made"))

    def asked() -> Any:
        notes = json.loads(cluster.kubectl("get", "pvc", "made", "-o", "json"))["metadata"].get("annotations") or {}
        return "volume.kubernetes.io/storage-provisioner" in notes and notes["volume.kubernetes.io/selected-node"]

    node = cluster.wait(asked, "the provisioner to be told where")
    assert cluster.kubectl("get", "pod", "made", "-o", "jsonpath={.spec.nodeName}") == ""
    mine = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "default", "name": "made"}
    cluster.apply(volume("made", cluster.home / "made", "late", node, claimRef=mine))
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/made", "--timeout=60s")
    assert cluster.kubectl("get", "pod", "made", "-o", "jsonpath={.spec.nodeName}") == node
    cluster.kubectl("delete", "pod/made", "pvc/made", "pv/made", "storageclass/late", "--now")


def volume(name: str, folder: Path, of: str, node: str, **more: Any) -> Object:
    """A folder of one node's."""
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": of,
        "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        **more,
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def claim(name: str, of: str) -> Object:
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": of, "resources": resources}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def writer(claim: str, node: str = "") -> Object:
    """A pod named like its claim, that leaves a file there. node: the only one that it can be on, if any."""
    mounts = [{"name": "data", "mountPath": "/data"}]
    container = {"name": "main", "image": "host", "volumeMounts": mounts}
    container |= {"command": ["sh", "-c", "touch /data/written; exec sleep 600"]}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    spec: Object = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0}
    spec |= {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": claim}, "spec": spec}


@pytest.mark.soak
def test_load_makes_more_of_them(cluster: WholeCluster) -> None:
    cluster.apply(*example("hpa.yaml"))
    cluster.wait_ready("burn", 1)
    cluster.kubectl("exec", "deploy/burn", "--", "touch", "/tmp/burn")

    def grown() -> bool:
        (scaler,) = cluster.list("horizontalpodautoscalers")
        return int(scaler["status"].get("desiredReplicas") or 0) >= 2

    cluster.wait(grown, "the autoscaler to want more", 60)
    cluster.wait(lambda: len(cluster.pods("burn")) >= 2, "more pods")
    assert "burn" in cluster.kubectl("top", "pods")
    cluster.kubectl("delete", "hpa,deployment", "burn")


def test_a_node_joins_and_is_drained_within_a_budget(cluster: WholeCluster) -> None:
    cluster.apply(*example("daemonset.yaml"))
    cluster.wait_ready("watch", 2)
    cluster.up("--nodes", "3")
    assert {pod["spec"]["nodeName"] for pod in cluster.wait_ready("watch", 3)} == {"n1", "n2", "n3"}
    cluster.kubectl("cordon", "n1", "n2")
    cluster.apply(*guarded())
    assert {pod["spec"]["nodeName"] for pod in cluster.wait_ready("kept", 2)} == {"n3"}
    cluster.kubectl("uncordon", "n1", "n2")
    with PodWatch(cluster, "kept") as watch:
        said = cluster.kubectl("drain", "n3", "--ignore-daemonsets", "--timeout=60s", code=None)
        assert "node/n3 drained" in said, said
        moved = cluster.wait_ready("kept", 2)
    assert "Cannot evict pod as it would violate the pod's disruption budget" in said
    assert watch.fewest_ready() >= 1
    assert "n3" not in {pod["spec"]["nodeName"] for pod in moved}
    cluster.kubectl("delete", "daemonset/watch", "deployment/kept", "pdb/kept")


def guarded() -> list[Object]:
    """Two pods of which one may be away."""
    web = named(example("web.yaml"), "Deployment")
    template: Any = web["spec"]["template"]
    template["metadata"]["labels"] = {"app": "kept"}
    web["metadata"] = {"name": "kept"}
    web["spec"] |= {"replicas": 2, "selector": {"matchLabels": {"app": "kept"}}}
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}}
    return [
        web,
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "kept"}, "spec": budget},
    ]


def test_the_clock_has_struck(cluster: WholeCluster) -> None:
    cluster.wait(lambda: "Complete" in cluster.kubectl("get", "jobs"), "a run of the CronJob", 75)
    assert "Active" not in cluster.kubectl("get", "cronjob", "clock", "-o", "name")
    cluster.kubectl("delete", "cronjob", "clock")
    cluster.kubectl("delete", "deployment", "web", "--cascade=foreground", "--wait")
    desired_is_actual(cluster)
