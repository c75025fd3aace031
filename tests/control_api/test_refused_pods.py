"""Pods that are refused: every cause with its exact path and words; and what may change in a pod that is there."""

# ruff: noqa: E501 - the words of Kubernetes are as long as they are

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from control_api.examples_of_kinds import pod

from control.api.catalogue import BUILTIN
from control.api.status import StatusError
from control.api.validate import check_create, check_update, create_causes, update_causes

PODS = BUILTIN["pods"]


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "image": "x", **fields}


def with_container(**fields: Any) -> dict[str, Any]:
    return {"containers": [container(**fields)]}


def terms(**term: Any) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


C = "spec.containers[0]"
PORT_RANGE = "must be between 1 and 65535, inclusive"
CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"containers": []}, ["spec.containers: Required value"]),
    (with_container(image=""), [f"{C}.image: Required value"]),
    (with_container(image=" x"), [f'{C}.image: Invalid value: " x": must not have leading or trailing whitespace']),
    ({"containers": [container(name="")]}, [f"{C}.name: Required value"]),
    ({"containers": [container(), container()]}, ['spec.containers[1].name: Duplicate value: "a"']),
    (
        {"initContainers": [container()], "containers": [container()]},
        ['spec.containers[0].name: Duplicate value: "a"'],
    ),
    ({"restartPolicy": "Sometimes"}, ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"']),
    (with_container(imagePullPolicy="Often"), [f'{C}.imagePullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"']),
    (with_container(ports=[{"containerPort": 70000}]), [f"{C}.ports[0].containerPort: Invalid value: 70000: {PORT_RANGE}"]),
    (with_container(ports=[{"containerPort": 0}]), [f"{C}.ports[0].containerPort: Required value"]),
    (
        with_container(ports=[{"containerPort": 1, "name": "x"}, {"containerPort": 2, "name": "x"}]),
        [f'{C}.ports[1].name: Duplicate value: "x"'],
    ),
    (
        with_container(ports=[{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}]),
        [f'{C}.ports[1].hostPort: Duplicate value: "TCP//80"'],
    ),
    (
        {"hostNetwork": True, **with_container(ports=[{"containerPort": 1, "hostPort": 80}])},
        [f"{C}.ports[0].containerPort: Invalid value: 1: must match `containerPort` when `hostNetwork` is true"],
    ),
    (with_container(ports=[{"containerPort": 1, "protocol": "ICMP"}]), [f'{C}.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"']),
    (with_container(env=[{"name": "", "value": "x"}]), [f"{C}.env[0].name: Required value"]),
    (with_container(env=[{"name": "a=b"}]), [f'{C}.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than \'=\'']),
    (
        with_container(env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        [f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
    ),
    (
        with_container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}]),
        [f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.nope": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'],
    ),
    (with_container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]), [f"{C}.env[0].valueFrom.secretKeyRef.key: Required value"]),
    (with_container(volumeMounts=[{"name": "v", "mountPath": "/x"}]), [f'{C}.volumeMounts[0].name: Not found: "v"']),
    (
        {"volumes": [{"name": "v"}], **with_container(volumeMounts=[{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}])},
        [f'{C}.volumeMounts[1].mountPath: Invalid value: "/x": must be unique'],
    ),
    (
        {"volumes": [{"name": "v"}], **with_container(volumeMounts=[{"name": "v", "mountPath": "/x", "subPath": "../y"}])},
        [f"{C}.volumeMounts[0].subPath: Invalid value: \"../y\": must not contain '..'"],
    ),
    (with_container(livenessProbe={"periodSeconds": 5}), [f"{C}.livenessProbe: Required value: must specify a handler type"]),
    (
        with_container(livenessProbe={"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}),
        [f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
    ),
    (with_container(livenessProbe={"exec": {}}), [f"{C}.livenessProbe.exec.command: Required value"]),
    (with_container(livenessProbe={"tcpSocket": {"port": 0}}), [f"{C}.livenessProbe.tcpSocket.port: Invalid value: 0: {PORT_RANGE}"]),
    (
        with_container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2}),
        [f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    ),
    (
        with_container(readinessProbe={"tcpSocket": {"port": 1}, "timeoutSeconds": -1}),
        [f"{C}.readinessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0"],
    ),
    (with_container(lifecycle={"preStop": {}}), [f"{C}.lifecycle.preStop: Required value: must specify a handler type"]),
    (
        with_container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
        [f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
    ),
    (with_container(resources={"limits": {"cpu": "-1"}}), [f'{C}.resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0', f'{C}.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
    (
        with_container(resources={"requests": {"gpu": "1"}}),
        [f'{C}.resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers'],
    ),
    (
        with_container(resources={"limits": {"example.com/gpu": "500m"}}),
        [f'{C}.resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer'],
    ),
    (with_container(securityContext={"runAsUser": -1}), [f"{C}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"]),
    (
        {"initContainers": [container(name="i", livenessProbe={"tcpSocket": {"port": 1}})]},
        ["spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"],
    ),
    ({"ephemeralContainers": [container(name="e")]}, ["spec.ephemeralContainers: Forbidden: cannot be set on create"]),
    ({"volumes": [{"name": "v"}, {"name": "v"}]}, ['spec.volumes[1].name: Duplicate value: "v"']),
    (
        {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
        ["spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type"],
    ),
    ({"volumes": [{"name": "v", "secret": {}}]}, ["spec.volumes[0].secret.secretName: Required value"]),
    ({"volumes": [{"name": "v", "configMap": {}}]}, ["spec.volumes[0].configMap.name: Required value"]),
    ({"volumes": [{"name": "v", "hostPath": {"path": "/x/../y"}}]}, ["spec.volumes[0].hostPath.path: Invalid value: \"/x/../y\": must not contain '..'"]),
    ({"volumes": [{"name": "v", "hostPath": {"path": ""}}]}, ["spec.volumes[0].hostPath.path: Required value"]),
    (
        {"volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 1000}}]},
        ["spec.volumes[0].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive"],
    ),
    (
        {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "/x"}]}}]},
        ['spec.volumes[0].configMap.items[0].path: Invalid value: "/x": must be a relative path'],
    ),
    (
        {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 60}}]}}]},
        ["spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes"],
    ),
    ({"tolerations": [{"operator": "Equal"}]}, ['spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"']),
    (
        {"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 5}]},
        ["spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set"],
    ),
    (
        {"affinity": terms(matchExpressions=[{"key": "a", "operator": "In"}])},
        ["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"],
    ),
    (
        {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}}},
        ["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value"],
    ),
    (
        {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "Never"}]},
        [
            'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Never": supported values: "DoNotSchedule", "ScheduleAnyway"',
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ],
    ),
    ({"dnsPolicy": "None"}, ["spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"]),
    ({"activeDeadlineSeconds": 0}, ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]),
    ({"nodeSelector": {"a b": "c"}}, ["spec.nodeSelector"]),
    ({"hostAliases": [{"ip": "nowhere"}]}, ['spec.hostAliases[0].ip: Invalid value: "nowhere": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']),
    ({"os": {"name": "plan9"}}, ['spec.os.name: Unsupported value: "plan9": supported values: "linux", "windows"']),
    ({"serviceAccountName": "A"}, ['spec.serviceAccountName: Invalid value: "A"']),
    ({"hostname": "a.b"}, ['spec.hostname: Invalid value: "a.b"']),
    ({"schedulingGates": [{"name": "a"}], "nodeName": "n"}, ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), CASES)
def test_refused(spec: dict[str, Any], words: list[str]) -> None:
    found = [str(cause) for cause in create_causes(PODS, pod(**spec))]
    assert len(found) == len(words), found
    for text, wanted in zip(sorted(found), sorted(words), strict=True):
        assert text.startswith(wanted)
    with pytest.raises(StatusError) as error:
        check_create(PODS, pod(**spec))
    assert (error.value.code, error.value.reason) == (422, "Invalid")
    assert error.value.message.startswith('Pod "p" is invalid: ')


def test_metadata() -> None:
    obj = pod()
    obj["metadata"].update(
        name="Bad_", labels={"a b": "ok", "ok": "-x"}, annotations={"/": "x"}, finalizers=["odd"],
        ownerReferences=[{"apiVersion": "v1", "kind": "A", "name": "b", "uid": ""}],
    )  # fmt: skip
    fields = [cause.field for cause in create_causes(PODS, obj)]
    assert set(fields) == {
        "metadata.name", "metadata.labels", "metadata.annotations", "metadata.finalizers[0]",
        "metadata.ownerReferences[0].uid",
    }  # fmt: skip
    assert fields.count("metadata.labels") == 2
    bare = pod()
    del bare["metadata"]["name"], bare["metadata"]["namespace"]
    assert [str(cause) for cause in create_causes(PODS, bare)] == [
        "metadata.name: Required value: name or generateName is required",
        "metadata.namespace: Required value",
    ]
    two = pod()
    owner = {"apiVersion": "v1", "kind": "A", "name": "b", "uid": "u", "controller": True}
    two["metadata"]["ownerReferences"] = [owner, {**owner, "name": "c"}]
    assert "Only one reference can have Controller set to true. Found b and c" in str(create_causes(PODS, two)[0])
    long = pod()
    long["metadata"]["annotations"] = {"a": "x" * 256 * 1024}
    assert [str(cause) for cause in create_causes(PODS, long)] == [
        "metadata.annotations: Too long: may not be more than 262144 bytes"
    ]


def changed(**spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    old = pod(schedulingGates=[{"name": "g"}], tolerations=[{"key": "a", "operator": "Exists"}])
    new = deepcopy(old)
    new["spec"].update(spec)
    return new, old


MORE = [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]
ALLOWED: list[dict[str, Any]] = [
    {"activeDeadlineSeconds": 5}, {"tolerations": MORE}, {"schedulingGates": []},
    {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}, *MORE]},
]  # fmt: skip
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"nodeName": "n"}, "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"),
    ({"restartPolicy": "Never"}, "spec: Forbidden"),
    ({"containers": []}, "spec.containers: Forbidden: pod updates may not add or remove containers"),
    ({"tolerations": []}, "spec.tolerations: Forbidden: existing toleration can not be modified"),
    ({"schedulingGates": [{"name": "other"}]}, "spec.schedulingGates[0]: Forbidden: only deletion is allowed"),
    ({"ephemeralContainers": [container(name="e")]}, "spec: Forbidden"),
]  # fmt: skip


@pytest.mark.parametrize("spec", ALLOWED)
def test_allowed_changes(spec: dict[str, Any]) -> None:
    new, old = changed(**spec)
    new["spec"]["containers"][0]["image"] = "busybox:2"
    check_update(PODS, new, old)


@pytest.mark.parametrize(("spec", "words"), REFUSED)
def test_refused_changes(spec: dict[str, Any], words: str) -> None:
    new, old = changed(**spec)
    assert any(str(cause).startswith(words) for cause in update_causes(PODS, new, old))


def test_a_deadline_only_shrinks() -> None:
    old = pod(activeDeadlineSeconds=10)
    for value, allowed in ((5, True), (10, True), (11, False), (None, False)):
        new = deepcopy(old)
        new["spec"].pop("activeDeadlineSeconds")
        if value is not None:
            new["spec"]["activeDeadlineSeconds"] = value
        assert (not update_causes(PODS, new, old)) is allowed


def test_identity_stays() -> None:
    old = pod()
    new = deepcopy(old)
    new["metadata"].update(uid="other", name="q")
    assert [cause.field for cause in update_causes(PODS, new, old)] == ["metadata.name", "metadata.uid"]
    dying = {**old, "metadata": {**old["metadata"], "deletionTimestamp": "2026-01-02T03:04:05Z", "finalizers": ["a/b"]}}
    late = deepcopy(dying)
    late["metadata"]["finalizers"] = ["a/b", "c/d"]
    assert "no new finalizers can be added if the object is being deleted" in str(update_causes(PODS, late, dying)[0])


def test_ephemeral_containers_are_added_through_their_subresource() -> None:
    old = pod()
    new = deepcopy(old)
    new["spec"]["ephemeralContainers"] = [container(name="e", targetContainerName="main")]
    assert update_causes(PODS, new, old, "ephemeralcontainers") == []
    again = deepcopy(new)
    again["spec"]["ephemeralContainers"][0]["image"] = "y"
    assert "may not be changed or removed" in str(update_causes(PODS, again, new, "ephemeralcontainers")[0])
    wrong = deepcopy(old)
    wrong["spec"]["ephemeralContainers"] = [container(name="e", targetContainerName="x", ports=[{"containerPort": 1}])]
    fields = {cause.field for cause in update_causes(PODS, wrong, old, "ephemeralcontainers")}
    assert fields == {"spec.ephemeralContainers[0].ports", "spec.ephemeralContainers[0].targetContainerName"}


def test_ephemeral_containers_of_a_pod_stay_as_they_are() -> None:
    old = pod(ephemeralContainers=[container(name="e")])
    for change in ([], [container(name="e", image="other")], [container(name="e"), container(name="f")]):
        new = deepcopy(old)
        new["spec"]["ephemeralContainers"] = change
        assert [cause.field for cause in update_causes(PODS, new, old)] == ["spec"]


@pytest.mark.parametrize("subresource", ["", "status"])
def test_a_pod_does_not_become_the_mirror_of_another(subresource: str) -> None:
    plain, mirror = pod(), pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
    assert "may not add mirror pod annotation" in str(update_causes(PODS, mirror, plain, subresource)[0])
    assert "may not remove or update" in str(update_causes(PODS, plain, mirror, subresource)[0])
    assert update_causes(PODS, mirror, deepcopy(mirror), subresource) == []


def test_status_is_not_judged_by_the_rules_of_specs() -> None:
    old = pod()
    new = deepcopy(old)
    status = {"name": "main", "image": "", "imageID": "", "ready": False, "restartCount": 0}
    new["status"] = {"containerStatuses": [status], "conditions": [{"type": "Odd", "status": "True"}]}
    assert update_causes(PODS, new, old, "status") == []


def test_a_hundred_causes_are_enough() -> None:
    many = pod(containers=[container(name=f"c{index}", image="") for index in range(500)])
    assert len(create_causes(PODS, many)) == 100
