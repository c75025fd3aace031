"""What `kubectl get` shows: pods in every state, the other kinds' cells, ages, JSONPath columns, Tables."""

# ruff: noqa: E501 - the words of Kubernetes are as long as they are

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from control_api.examples_of_kinds import NOW, created, manifest

from control.api import jsonpath
from control.api.catalogue import BUILTIN
from control.api.cells.words import human_duration, some
from control.api.kind import Column
from control.api.meta import timestamp
from control.api.status import StatusError
from control.api.table import check_include, definitions, row, table

PODS = BUILTIN["pods"]
AGO = timestamp(NOW - timedelta(minutes=5, seconds=30))

DURATIONS = [
    (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"), (600, "10m"),
    (3 * 3600 - 1, "179m"), (3 * 3600, "3h"), (5 * 3600 + 60, "5h1m"), (8 * 3600, "8h"), (47 * 3600, "47h"),
    (48 * 3600, "2d"), (49 * 3600, "2d1h"), (8 * 86400, "8d"), (729 * 86400, "729d"), (730 * 86400, "2y"),
    (800 * 86400, "2y70d"), (8 * 365 * 86400, "8y"),
]  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def status(name: str = "a", *, ready: bool = False, restarts: int = 0, last: str = "", **state: Any) -> dict[str, Any]:
    found = {"name": name, "ready": ready, "restartCount": restarts, "state": state}
    if last:
        found["lastState"] = {"terminated": {"finishedAt": last, "exitCode": 1}}
    return found


def pod(*statuses: dict[str, Any], phase: str = "Running", init: tuple[Any, ...] = (), **fields: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "a"}, {"name": "b"}][: max(1, len(statuses))]}
    spec["initContainers"] = [{"name": "i"}, {"name": "j"}] if init else []
    if fields.pop("sidecar", False):
        spec["initContainers"][0]["restartPolicy"] = "Always"
    found = {"phase": phase, "containerStatuses": list(statuses), "initContainerStatuses": list(init), **fields}
    return {"metadata": {"name": "p", "creationTimestamp": AGO}, "spec": spec, "status": found}


def main_cells(obj: dict[str, Any]) -> tuple[str, str, str]:
    ready, state, restarts = row(PODS, obj, now=NOW)["cells"][1:4]
    return ready, state, restarts


UP: dict[str, Any] = {"running": {"startedAt": AGO}}
DONE: dict[str, Any] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
READY = [{"type": "Ready", "status": "True"}]
STATES = [
    (pod(phase="Pending"), ("0/1", "Pending", "0")),
    (pod(status(ready=True, **UP)), ("1/1", "Running", "0")),
    (pod(status(**UP)), ("0/1", "Running", "0")),
    (pod(status(ready=True, **UP), status("b", waiting={"reason": "ImagePullBackOff"})), ("1/2", "ImagePullBackOff", "0")),
    (pod(status(restarts=4, last=AGO, waiting={"reason": "CrashLoopBackOff"})), ("0/1", "CrashLoopBackOff", "4 (5m30s ago)")),
    (pod(status(restarts=2, ready=True, **UP)), ("1/1", "Running", "2")),
    (pod(status(terminated={"exitCode": 3, "reason": "Error"})), ("0/1", "Error", "0")),
    (pod(status(terminated={"exitCode": 3})), ("0/1", "ExitCode:3", "0")),
    (pod(status(terminated={"exitCode": 0, "signal": 9})), ("0/1", "Signal:9", "0")),
    (pod(status(**DONE), phase="Succeeded"), ("0/1", "Completed", "0")),
    (pod(status(**DONE), status("b", ready=True, **UP), conditions=READY), ("1/2", "Running", "0")),
    (pod(status(**DONE), status("b", ready=True, **UP)), ("1/2", "NotReady", "0")),
    (pod(phase="Failed", reason="Evicted"), ("0/1", "Evicted", "0")),
    (pod(phase="Pending", init=(status("i", **DONE), status("j", **UP))), ("0/1", "Init:1/2", "0")),
    (pod(phase="Pending", init=(status("i", waiting={"reason": "ErrImagePull"}),)), ("0/1", "Init:ErrImagePull", "0")),
    (pod(phase="Pending", init=(status("i", waiting={"reason": "PodInitializing"}),)), ("0/1", "Init:0/2", "0")),
    (
        pod(phase="Pending", init=(status("i", restarts=2, last=AGO, terminated={"exitCode": 1, "reason": "Error"}),)),
        ("0/1", "Init:Error", "2 (5m30s ago)"),
    ),
    (pod(status(waiting={"reason": "PodInitializing"}), phase="Pending"), ("0/1", "PodInitializing", "0")),
    (
        pod(phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
        ("0/1", "SchedulingGated", "0"),
    ),
    (
        pod(status(ready=True, **UP), init=(status("i", ready=True, restarts=1, **UP) | {"started": True}, status("j", **DONE)), sidecar=True),
        ("2/2", "Running", "1"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("obj", "cells"), STATES)
def test_pods_in_all_states(obj: dict[str, Any], cells: tuple[str, str, str]) -> None:
    assert main_cells(obj) == cells


def test_pods_that_end() -> None:
    obj = pod(status(ready=True, **UP))
    obj["metadata"]["deletionTimestamp"] = AGO
    assert main_cells(obj)[1] == "Terminating"
    obj["status"]["reason"] = "NodeLost"
    assert main_cells(obj)[1] == "Unknown"
    done = pod(status(**DONE), phase="Succeeded")
    done["metadata"]["deletionTimestamp"] = AGO
    assert main_cells(done)[1] == "Completed"
    conditions = row(PODS, done, now=NOW)["conditions"]
    assert [(entry["type"], entry["reason"]) for entry in conditions] == [("Completed", "Succeeded")]


def test_wide_columns_of_pods() -> None:
    obj = pod(podIP="10.0.0.1", nominatedNodeName="n2", conditions=[{"type": "up", "status": "True"}])
    obj["spec"].update(nodeName="n1", readinessGates=[{"conditionType": "up"}, {"conditionType": "x"}])
    assert row(PODS, obj, now=NOW)["cells"][4:] == ["5m30s", "10.0.0.1", "n1", "n2", "1/2"]
    assert row(PODS, pod(), now=NOW)["cells"][5:] == ["<none>"] * 4


def cells(name: str, **changes: Any) -> list[Any]:
    obj = manifest(name)
    kind = BUILTIN.by_kind(obj["apiVersion"], obj["kind"])
    assert kind is not None
    found = created(kind, obj) if kind.stored else obj
    for path, value in changes.items():
        *way, last = path.split("__")
        at = found
        for part in way:
            at = at.setdefault(part, {})
        at[last] = value
    shown: list[Any] = row(kind, found, now=NOW)["cells"]
    return shown


def test_cells_of_workloads() -> None:
    assert cells("deployments.apps.v1", status__readyReplicas=2, status__updatedReplicas=3) == [
        "web", "2/3", 3, 0, "0s", "web", "nginx", "app=web",
    ]  # fmt: skip
    assert cells("replicasets.apps.v1")[1:] == [2, 0, 0, "0s", "web", "nginx:1.27", "app in (site,web)"]
    assert cells("statefulsets.apps.v1")[1] == "0/1"
    assert cells("daemonsets.apps.v1")[1:7] == [0, 0, 0, 0, 0, "<none>"]
    assert cells("replicationcontrollers.v1")[-1] == "app=old"
    owner = [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": True}]
    assert cells("controllerrevisions.apps.v1", metadata__ownerReferences=owner)[1:3] == ["statefulset.apps/db", 1]
    assert cells("podtemplates.v1")[1:] == ["main", "busybox:1.36", "app=batch"]


def test_cells_of_jobs() -> None:
    assert cells("jobs.batch.v1")[1:4] == ["Running", "0/3", ""]
    done = [{"type": "Complete", "status": "True"}]
    times = {"status__startTime": AGO, "status__completionTime": timestamp(NOW - timedelta(seconds=30))}
    assert cells("jobs.batch.v1", status__conditions=done, status__succeeded=3, **times)[1:4] == [
        "Complete",
        "3/3",
        "5m",
    ]
    failed = [{"type": "Failed", "status": "True", "lastTransitionTime": timestamp(NOW)}]
    assert cells("jobs.batch.v1", status__conditions=failed, status__startTime=AGO)[1:4] == ["Failed", "0/3", "5m30s"]
    suspended = [{"type": "Suspended", "status": "True"}]
    assert cells("jobs.batch.v1", status__conditions=suspended, spec__completions=None)[1:3] == [
        "Suspended",
        "0/1 of 2",
    ]
    assert cells("cronjobs.batch.v1")[1:6] == ["30 2 * * MON-FRI", "<none>", "False", 0, "<none>"]
    assert cells("cronjobs.batch.v1", status__lastScheduleTime=AGO, status__active=[{}])[4:6] == [1, "5m30s"]


def test_cells_of_services() -> None:
    assert cells("services.v1", spec__clusterIPs=["10.0.0.1"])[1:5] == [
        "ClusterIP",
        "10.0.0.1",
        "<none>",
        "80/TCP,9090/TCP",
    ]
    ports = [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]
    balanced = {"spec__type": "LoadBalancer", "spec__ports": ports}
    assert cells("services.v1", **balanced)[3:5] == ["<pending>", "80:30080/TCP"]
    given = {"ingress": [{"hostname": "lb.example.com"}]}
    assert cells("services.v1", status__loadBalancer=given, **balanced)[3] == "lb.example.com"
    assert cells("services.v1", spec__type="ExternalName", spec__externalName="example.com")[3] == "example.com"
    assert cells("endpoints.v1")[1] == "10.244.1.5:8080"
    many = [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(5)], "ports": [{"port": 80}]}]
    assert cells("endpoints.v1", subsets=many)[1] == "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."
    assert cells("endpoints.v1", subsets=[])[1] == "<none>"
    assert cells("endpointslices.discovery.k8s.io.v1")[1:4] == ["IPv4", "8080", "10.244.1.5"]
    assert cells("ingresses.networking.k8s.io.v1")[1:5] == ["<none>", "shop.example.com", "", "80, 443"]
    assert cells("networkpolicies.networking.k8s.io.v1")[1] == "app=web"
    assert some(["a"], empty="-") == "a"


def test_cells_of_the_cluster() -> None:
    ready = [{"type": "Ready", "status": "True"}]
    addresses = [{"type": "InternalIP", "address": "192.168.0.2"}]
    node = cells("nodes.v1", status__conditions=ready, status__addresses=addresses, spec__unschedulable=True)
    assert node[1:3] == ["Ready,SchedulingDisabled", "worker"]
    assert node[5:7] == ["192.168.0.2", "<none>"]
    assert cells("nodes.v1")[1] == "Unknown"
    assert cells("nodes.v1", status__conditions=[{"type": "Ready", "status": "Unknown"}])[1] == "NotReady"
    assert cells("configmaps.v1")[1] == 2
    assert cells("secrets.v1")[1:3] == ["Opaque", 1]
    assert cells("events.v1") == [
        "0s", "Normal", "Started", "pod/web", "", "kubelet, worker-1", "Started container web", "0s", 1, "web.17f0a",
    ]  # fmt: skip
    assert cells("events.events.k8s.io.v1")[3:7] == [
        "pod/web",
        "",
        "fluyt.example/agent, worker-1",
        "Started container web",
    ]
    quota = cells("resourcequotas.v1", status__hard={"pods": "10", "limits.cpu": "2"}, status__used={"pods": "3"})
    assert quota[1:3] == ["pods: 3/10", "limits.cpu: 0/2"]
    binding = cells("rolebindings.rbac.authorization.k8s.io.v1")
    assert [binding[1], *binding[3:]] == ["ClusterRole/pod-reader", "jane", "", "default/robot"]
    assert cells("persistentvolumeclaims.v1")[1:4] == ["Pending", "", ""]
    bound = {"spec__volumeName": "d", "status__capacity": {"storage": "1Gi"}, "status__accessModes": ["ReadWriteMany"]}
    assert cells("persistentvolumeclaims.v1", **bound)[2:5] == ["d", "1Gi", "RWX"]
    assert cells("persistentvolumes.v1")[1:5] == ["5Gi", "RWO", "Retain", "Pending"]
    assert cells("pods.metrics.k8s.io.v1beta1") == ["web", "51m", "36Mi", "15s"]
    assert cells("poddisruptionbudgets.policy.v1")[1:4] == ["50%", "N/A", 0]


def test_targets_of_autoscalers() -> None:
    name = "horizontalpodautoscalers.autoscaling.v2"
    assert cells(name)[1:5] == ["Deployment/web", "cpu: <unknown>/60%, memory: <unknown>/200Mi", "2", 10]
    current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 42}}}]
    assert cells(name, status__currentMetrics=current)[2].startswith("cpu: 42%/60%, ")
    assert cells("horizontalpodautoscalers.autoscaling.v1")[2] == "cpu: <unknown>/80%"
    metric = {"name": "queue"}
    metrics = [
        {"type": "Pods", "pods": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "5"}}},
        {"type": "External", "external": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "5"}}},
        {"type": "Object", "object": {"metric": metric, "target": {"type": "Value", "value": "7"}}},
    ]
    assert cells(name, spec__metrics=metrics)[2] == "<unknown>/5, <unknown>/5 (avg) + 1 more..."


def test_tables() -> None:
    obj = manifest("configmaps.v1")
    kind = BUILTIN["configmaps"]
    found = table(kind, [obj], now=NOW, metadata={"resourceVersion": "7"})
    assert (found["kind"], found["apiVersion"], found["metadata"]) == (
        "Table",
        "meta.k8s.io/v1",
        {"resourceVersion": "7"},
    )
    assert found["columnDefinitions"][0] == {
        "name": "Name", "type": "string", "format": "name", "description": "name of the object", "priority": 0,
    }  # fmt: skip
    assert found["rows"][0]["object"] == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "greetings"},
    }  # fmt: skip
    assert "object" not in table(kind, [obj], now=NOW, include="None")["rows"][0]
    whole = table(kind, [obj], now=NOW, include="Object", headers=False)
    assert (whole["rows"][0]["object"], whole["columnDefinitions"]) == (obj, [])
    with pytest.raises(StatusError):
        check_include("Everything")
    assert [d["priority"] for d in definitions(PODS)] == [0, 0, 0, 0, 0, 1, 1, 1, 1]


VALUE = {
    "a": {"b.c": [1, 2, 3], "d": {"x": "y"}},
    "conditions": [{"type": "Ready", "status": "True", "n": 5}, {"type": "Old", "status": "False"}],
}
PATHS: list[tuple[str, list[Any]]] = [
    (".a.d.x", ["y"]),
    ("{.a.d.x}", ["y"]),
    ("$.a.d['x']", ["y"]),
    (".a.b\\.c[0]", [1]),
    (".a['b.c'][-1]", [3]),
    (".a['b.c'][0:2]", [1, 2]),
    (".a['b.c'][::2]", [1, 3]),
    (".a['b.c'][*]", [1, 2, 3]),
    (".a['b.c', 'd']", [[1, 2, 3], {"x": "y"}]),
    (".a.*", [[1, 2, 3], {"x": "y"}]),
    ("..x", ["y"]),
    (".conditions[?(@.type=='Ready')].status", ["True"]),
    ('.conditions[?(@.type == "Ready")].status', ["True"]),
    (".conditions[?(@.type!='Ready')].type", ["Old"]),
    (".conditions[?(@.n>4)].type", ["Ready"]),
    (".conditions[?(@.n)].type", ["Ready"]),
    (".conditions[?(@.type>4)].type", []),
    (".conditions[9]", []),
    (".nothing.here[0]", []),
    ("", [VALUE]),
    (".", [VALUE]),
]


@pytest.mark.parametrize(("path", "wanted"), PATHS)
def test_paths(path: str, wanted: list[Any]) -> None:
    assert jsonpath.find(jsonpath.compile_path(path), VALUE) == wanted


@pytest.mark.parametrize(
    "path",
    [".a[", ".a['b]", ".a[x]", ".a..", ".a b", "a b", ".a[?(@.b==x)]", ".a[?(x)]", ".a.", ".a[::0]", "." + "a" * 1100],
)
def test_malformed_paths(path: str) -> None:
    with pytest.raises(ValueError):
        jsonpath.compile_path(path)


TYPED: list[tuple[str, Any, Any]] = [
    ("string", "x", "x"), ("string", 5, "5"), ("string", True, "true"), ("string", [1, "a"], "[1 a]"),
    ("integer", 5, 5), ("integer", "5", None), ("integer", True, None), ("number", 1.5, 1.5), ("number", "x", None),
    ("boolean", False, False), ("boolean", "x", None), ("date", AGO, "5m30s"), ("date", 5, None), ("string", None, "None"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "wanted"), TYPED)
def test_cells_of_custom_columns_fit_their_type(kind: str, value: Any, wanted: Any) -> None:
    column = Column("V", ".spec.v", kind, path=True)
    of = replace(BUILTIN["configmaps"], columns=(column,))
    assert row(of, {"spec": {"v": value}}, now=NOW)["cells"] == [wanted]
    assert row(of, {"spec": {}}, now=NOW)["cells"] == [None]
