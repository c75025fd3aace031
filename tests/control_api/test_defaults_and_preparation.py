"""What an object gets that its author left out, and what an update may set."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from control_api.examples_of_kinds import ENTROPY, NOW, created, manifest, pod

from control.api.catalogue import BUILTIN
from control.api.defaults import apply_defaults, default_type
from control.api.prepare import identify, is_same, prepare_create, prepare_update
from control.api.rules.defaulting import image_tag
from control.api.rules.qos import qos_class
from control.api.status import StatusError

IMAGES = {
    "nginx": "latest", "nginx:latest": "latest", "nginx:1.27": "1.27", "localhost:5000/nginx": "latest",
    "localhost:5000/nginx:1": "1", "nginx@sha256:ab": "", "nginx:1@sha256:ab": "1",
}  # fmt: skip


@pytest.mark.parametrize(("image", "tag"), IMAGES.items())
def test_pull_policy_follows_the_tag(image: str, tag: str) -> None:
    assert image_tag(image) == tag
    container = default_type("core.v1.Container", {"name": "a", "image": image})
    assert container["imagePullPolicy"] == ("Always" if tag == "latest" else "IfNotPresent")


def test_pods() -> None:
    limits = {"cpu": "1", "memory": "1Gi"}
    containers = [
        {
            "name": "a",
            "image": "x",
            "ports": [{"containerPort": 80}],
            "resources": {"limits": limits, "requests": {"cpu": "500m"}},
            "livenessProbe": {"httpGet": {"port": 80}},
            "lifecycle": {"preStop": {"httpGet": {"port": 80, "scheme": "HTTPS"}}},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        }
    ]
    volumes = [{"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}, {"name": "c", "hostPath": {"path": "/x"}}]
    spec = pod(containers=containers, hostNetwork=True, serviceAccount="robot", volumes=volumes)["spec"]
    container = spec["containers"][0]
    assert container["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    assert container["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3,
    }  # fmt: skip
    assert container["lifecycle"]["preStop"]["httpGet"] == {"port": 80, "path": "/", "scheme": "HTTPS"}
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert (container["terminationMessagePath"], container["terminationMessagePolicy"]) == (
        "/dev/termination-log",
        "File",
    )
    assert [spec[name] for name in ("restartPolicy", "dnsPolicy", "schedulerName", "securityContext")] == [
        "Always", "ClusterFirst", "default-scheduler", {},
    ]  # fmt: skip
    assert (spec["terminationGracePeriodSeconds"], spec["enableServiceLinks"]) == (30, True)
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "robot"
    assert spec["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "secret": {"secretName": "s", "defaultMode": 420}},
        {"name": "c", "hostPath": {"path": "/x", "type": ""}},
    ]


def spec_of(name: str, **changes: Any) -> dict[str, Any]:
    obj = manifest(name)
    obj["spec"].update(changes)
    kind = BUILTIN.by_kind(obj["apiVersion"], obj["kind"])
    assert kind is not None
    found: dict[str, Any] = created(kind, obj)["spec"]
    return found


def test_workloads() -> None:
    deployment = spec_of("deployments.apps.v1")
    assert deployment["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (deployment["revisionHistoryLimit"], deployment["progressDeadlineSeconds"]) == (10, 600)
    assert "enableServiceLinks" not in deployment["template"]["spec"]
    assert spec_of("deployments.apps.v1", strategy={"type": "Recreate"})["strategy"] == {"type": "Recreate"}
    stateful = spec_of("statefulsets.apps.v1")
    assert stateful["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert (stateful["replicas"], stateful["podManagementPolicy"]) == (1, "OrderedReady")
    assert stateful["volumeClaimTemplates"][0]["spec"]["volumeMode"] == "Filesystem"
    assert stateful["volumeClaimTemplates"][0]["status"] == {"phase": "Pending"}
    daemons = spec_of("daemonsets.apps.v1")
    assert daemons["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    controller = created(BUILTIN["replicationcontrollers"], manifest("replicationcontrollers.v1"))
    assert controller["spec"]["selector"] == controller["metadata"]["labels"] == {"app": "old"}


def test_jobs() -> None:
    template = manifest("jobs.batch.v1")["spec"]["template"]
    bare = created(BUILTIN["jobs.batch"], {"metadata": {"name": "j"}, "spec": {"template": template}})
    spec, uid = bare["spec"], bare["metadata"]["uid"]
    assert [spec[name] for name in ("completions", "parallelism", "backoffLimit", "completionMode", "suspend")] == [
        1, 1, 6, "NonIndexed", False,
    ]  # fmt: skip
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert spec["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/job-name": "j", "job-name": "j", "batch.kubernetes.io/controller-uid": uid,
        "controller-uid": uid,
    }  # fmt: skip
    assert spec_of("jobs.batch.v1", completions=None, parallelism=3).get("completions") is None
    assert spec_of("jobs.batch.v1", completionMode="Indexed", backoffLimitPerIndex=1)["backoffLimit"] == 2**31 - 1
    assert spec_of("jobs.batch.v1", podFailurePolicy={"rules": []})["podReplacementPolicy"] == "Failed"
    manual = spec_of("jobs.batch.v1", manualSelector=True, selector={"matchLabels": {"a": "b"}})
    assert manual["selector"] == {"matchLabels": {"a": "b"}}
    cron = spec_of("cronjobs.batch.v1")
    assert [cron[name] for name in ("concurrencyPolicy", "suspend")] == ["Allow", False]
    assert (cron["successfulJobsHistoryLimit"], cron["failedJobsHistoryLimit"]) == (3, 1)


def test_services() -> None:
    spec = spec_of("services.v1", ports=[{"port": 80}, {"port": 81, "targetPort": "x"}])
    assert [port["targetPort"] for port in spec["ports"]] == [80, "x"]
    assert (spec["type"], spec["sessionAffinity"], spec["internalTrafficPolicy"]) == ("ClusterIP", "None", "Cluster")
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("SingleStack", ["IPv4"])
    assert "externalTrafficPolicy" not in spec
    headless = spec_of("services.v1", clusterIP="None", sessionAffinity="ClientIP")
    assert headless["clusterIPs"] == ["None"]
    assert headless["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    balanced = spec_of("services.v1", type="LoadBalancer", clusterIPs=["fd00::1"])
    assert (balanced["externalTrafficPolicy"], balanced["allocateLoadBalancerNodePorts"]) == ("Cluster", True)
    assert (balanced["clusterIP"], balanced["ipFamilies"]) == ("fd00::1", ["IPv6"])
    outside = spec_of("services.v1", type="ExternalName", externalName="example.com")
    assert "ipFamilies" not in outside


def test_other_kinds() -> None:
    limits = spec_of("limitranges.v1")["limits"][0]
    assert limits["default"] == {"cpu": "500m", "memory": "256Mi"}
    assert limits["defaultRequest"] == {"cpu": "500m", "memory": "256Mi"}
    hpa = spec_of("horizontalpodautoscalers.autoscaling.v2", metrics=None)
    target = {"type": "Utilization", "averageUtilization": 80}
    assert hpa["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert hpa["behavior"]["scaleUp"]["policies"][0] == {"type": "Pods", "value": 4, "periodSeconds": 15}
    assert hpa["behavior"]["scaleDown"]["selectPolicy"] == "Max"
    assert spec_of("horizontalpodautoscalers.autoscaling.v1")["targetCPUUtilizationPercentage"] == 80
    assert spec_of("networkpolicies.networking.k8s.io.v1")["policyTypes"] == ["Ingress"]
    assert spec_of("networkpolicies.networking.k8s.io.v1", egress=[{}])["policyTypes"] == ["Ingress", "Egress"]
    secret = created(BUILTIN["secrets"], manifest("secrets.v1"))
    assert (secret["data"], secret["type"], "stringData" in secret) == ({"password": "c3dvcmRmaXNo"}, "Opaque", False)
    namespace = created(BUILTIN["namespaces"], manifest("namespaces.v1"))
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert (namespace["spec"], namespace["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    node = created(BUILTIN["nodes"], manifest("nodes.v1"))
    assert node["status"]["allocatable"] == node["status"]["capacity"] == {"cpu": "4", "memory": "8Gi", "pods": "110"}
    binding = created(
        BUILTIN["rolebindings.rbac.authorization.k8s.io"], manifest("rolebindings.rbac.authorization.k8s.io.v1")
    )
    assert [subject.get("apiGroup") for subject in binding["subjects"]] == ["rbac.authorization.k8s.io", None]
    hook = created(
        BUILTIN["mutatingwebhookconfigurations.admissionregistration.k8s.io"],
        manifest("mutatingwebhookconfigurations.admissionregistration.k8s.io.v1"),
    )["webhooks"][0]
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["rules"][0]["scope"]) == ("Fail", 10, "*")


def test_statuses_begin_with_what_typed_clients_require() -> None:
    assert created(BUILTIN["replicasets.apps"], manifest("replicasets.apps.v1"))["status"] == {"replicas": 0}
    daemons = created(BUILTIN["daemonsets.apps"], manifest("daemonsets.apps.v1"))["status"]
    assert set(daemons.values()) == {0}
    assert len(daemons) == 4
    assert created(BUILTIN["deployments.apps"], manifest("deployments.apps.v1"))["status"] == {}


AMOUNTS = [
    ([{}], "BestEffort"),
    ([{"requests": {"cpu": "1"}}], "Burstable"),
    ([{"requests": {"example.com/gpu": "1"}}], "BestEffort"),
    ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
    ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}], "Burstable"),
    ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
    ([{"limits": {"cpu": "0"}, "requests": {"cpu": "0"}}], "BestEffort"),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "wanted"), AMOUNTS)
def test_quality_of_service(resources: list[dict[str, Any]], wanted: str) -> None:
    containers = [{"name": f"c{index}", "resources": amounts} for index, amounts in enumerate(resources)]
    assert qos_class({"spec": {"containers": containers}}) == wanted


def test_limits_alone_make_a_pod_guaranteed() -> None:
    containers = [{"name": "a", "image": "x", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]
    assert pod(containers=containers)["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}


def test_a_new_object_is_the_servers() -> None:
    obj = manifest("deployments.apps.v1")
    obj["status"] = {"replicas": 5}
    obj["metadata"].update(uid="mine", creationTimestamp="2000-01-01T00:00:00Z", generation=7, selfLink="/x")
    obj["metadata"].update(deletionTimestamp="2000-01-01T00:00:00Z", deletionGracePeriodSeconds=3)
    found = created(BUILTIN["deployments.apps"], obj)
    assert found["metadata"] == {
        "name": "web", "namespace": "default", "uid": "00010203-0405-4607-8809-0a0b0c0d0e0f",
        "creationTimestamp": "2026-01-02T03:04:05Z", "generation": 1,
    }  # fmt: skip
    assert found["status"] == {}
    assert "generation" not in created(BUILTIN["configmaps"], manifest("configmaps.v1"))["metadata"]
    named = prepare_create(BUILTIN["pods"], {"metadata": {"generateName": "web-"}}, now=NOW, entropy=ENTROPY)
    assert named["metadata"]["name"] == "web-vwxz2"
    with pytest.raises(StatusError, match="resourceVersion should not be set on objects to be created"):
        prepare_create(BUILTIN["pods"], {"metadata": {"name": "a", "resourceVersion": "7"}}, now=NOW, entropy=ENTROPY)


def test_an_object_must_be_what_its_url_says() -> None:
    pods = BUILTIN["pods"]
    fitted = identify(pods, {"spec": {}, "metadata": {"name": "a"}}, namespace="shop", name="a")
    assert list(fitted.items()) == [
        ("apiVersion", "v1"), ("kind", "Pod"), ("metadata", {"name": "a", "namespace": "shop"}), ("spec", {}),
    ]  # fmt: skip
    for wrong in (
        {"kind": "Node"},
        {"apiVersion": "v2"},
        {"metadata": {"namespace": "other"}},
        {"metadata": {"name": "b"}},
        {"metadata": "a"},
    ):
        with pytest.raises(StatusError) as error:
            identify(pods, deepcopy(wrong), namespace="shop", name="a")
        assert error.value.code == 400
    with pytest.raises(StatusError, match="not allowed"):
        identify(BUILTIN["nodes"], {"metadata": {"namespace": "shop"}})


def stored(name: str = "deployments.apps.v1", resource: str = "deployments.apps") -> dict[str, Any]:
    obj = created(BUILTIN[resource], manifest(name))
    obj["metadata"]["resourceVersion"] = "5"
    obj["status"] = {"replicas": 3, "observedGeneration": 1}
    return obj


def test_generation_grows_with_the_spec_only() -> None:
    kind, old = BUILTIN["deployments.apps"], stored()
    new = deepcopy(old)
    new["metadata"]["labels"] = {"a": "b"}
    assert prepare_update(kind, new, old)["metadata"]["generation"] == 1
    assert not is_same(new, old)
    new["spec"]["replicas"] = 9
    new["metadata"]["generation"] = 77
    assert prepare_update(kind, new, old)["metadata"]["generation"] == 2
    old["metadata"]["managedFields"] = [{"manager": "x", "time": "2026-01-01T00:00:00Z"}]
    same = deepcopy(old)
    same["metadata"].update(resourceVersion="9", managedFields=[{"manager": "x", "time": "2026-01-01T00:00:01Z"}])
    assert is_same(prepare_update(kind, same, old), old)
    same["metadata"]["managedFields"][0]["manager"] = "y"
    assert not is_same(same, old)


def test_status_and_spec_are_written_apart() -> None:
    kind, old = BUILTIN["deployments.apps"], stored()
    new = deepcopy(old)
    new["status"] = {"replicas": 9}
    new["spec"]["replicas"] = 9
    assert prepare_update(kind, deepcopy(new), old)["status"] == old["status"]
    assert prepare_update(kind, deepcopy(new), old)["spec"]["replicas"] == 9
    new["metadata"].update(uid="other", creationTimestamp="x", resourceVersion="6")
    status = prepare_update(kind, deepcopy(new), old, subresource="status")
    assert (status["status"], status["spec"]) == ({"replicas": 9}, old["spec"])
    assert status["metadata"] == {**old["metadata"], "resourceVersion": "6"}
    assert list(status)[:3] == ["apiVersion", "kind", "metadata"]
    del new["status"]
    assert prepare_update(kind, new, old, subresource="status").get("status", {}) == {}


def test_deletion_is_not_a_clients_to_write() -> None:
    kind, old = BUILTIN["deployments.apps"], stored()
    old["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    new = deepcopy(old)
    del new["metadata"]["deletionTimestamp"]
    assert prepare_update(kind, new, old)["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"


def test_services_keep_what_was_allocated() -> None:
    kind = BUILTIN["services"]
    old = created(kind, manifest("services.v1"))
    old["spec"].update(type="NodePort", clusterIP="10.0.0.9", clusterIPs=["10.0.0.9"])
    old["spec"]["ports"][0]["nodePort"] = 30080
    new = manifest("services.v1")
    new["metadata"] = deepcopy(old["metadata"])
    new["spec"]["type"] = "NodePort"
    spec = prepare_update(kind, new, old)["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("10.0.0.9", ["10.0.0.9"])
    assert [port.get("nodePort") for port in spec["ports"]] == [30080, None]


def test_namespaces_finish_through_finalize() -> None:
    kind = BUILTIN["namespaces"]
    old = created(kind, manifest("namespaces.v1"))
    new = deepcopy(old)
    new["spec"] = {}
    assert prepare_update(kind, deepcopy(new), old)["spec"] == {"finalizers": ["kubernetes"]}
    assert prepare_update(kind, deepcopy(new), old, subresource="finalize")["spec"] == {}


def test_who_adds_an_ephemeral_container_changes_nothing_else() -> None:
    kind, old = BUILTIN["pods"], {**pod(), "status": {"phase": "Running", "qosClass": "BestEffort"}}
    new = deepcopy(old)
    new["metadata"].update(labels={"app": "stolen"}, finalizers=["x.y/z"], ownerReferences=[{}], resourceVersion="7")
    new["spec"].update(nodeName="other", hostNetwork=True, ephemeralContainers=[{"name": "e", "image": "busybox"}])
    new["spec"]["containers"][0]["image"] = "evil"
    new["status"] = {"phase": "Failed"}
    made = prepare_update(kind, new, old, subresource="ephemeralcontainers")
    [added] = made["spec"].pop("ephemeralContainers")
    assert (added["name"], added["imagePullPolicy"]) == ("e", "Always")
    assert made["metadata"].pop("resourceVersion") == "7"
    assert made == apply_defaults(kind, deepcopy(old))
    nothing: dict[str, Any] = {"metadata": {}, "spec": {}}
    assert "ephemeralContainers" not in prepare_update(kind, nothing, old, subresource="ephemeralcontainers")["spec"]


def test_pods_keep_their_class() -> None:
    kind, old = BUILTIN["pods"], pod()
    new = deepcopy(old)
    new["status"] = {"phase": "Running", "startTime": (NOW + timedelta(seconds=1)).isoformat()}
    assert prepare_update(kind, new, old, subresource="status")["status"]["qosClass"] == "BestEffort"
