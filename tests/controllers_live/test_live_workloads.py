"""Controllers on a running API server: rollouts, jobs, cascades, namespaces, causes. The test plays the nodes."""

from __future__ import annotations

from typing import Any

from live_cluster import Live, deployment

Object = dict[str, Any]


def _status(live: Live, namespace: str, name: str = "web") -> Object:
    found = live.get("deployments", namespace, name)
    return (found or {}).get("status") or {}


def _rolled_out(live: Live, namespace: str, replicas: int = 2) -> bool:
    live.ready(namespace)
    found = live.get("deployments", namespace, "web") or {}
    status = found.get("status") or {}
    seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    return seen and [status.get(n, 0) for n in ("replicas", "updatedReplicas", "availableReplicas")] == [replicas] * 3


def test_a_deployment_rolls_out_updates_and_says_why(live: Live, namespace: str) -> None:
    live.create("deployments", namespace, deployment("web"))
    live.wait(lambda: _rolled_out(live, namespace), "the first rollout")
    template = deployment("web", image="app:2")["spec"]["template"]
    live.change("deployments", namespace, "web", {"spec": {"template": template}})
    live.wait(lambda: _rolled_out(live, namespace), "the second rollout")
    images = {pod["spec"]["containers"][0]["image"] for pod in live.list("pods", namespace)}
    assert images == {"app:2"}
    revisions = {
        rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: rs["spec"]["replicas"]
        for rs in live.list("replicasets", namespace)
    }
    assert revisions == {"1": 0, "2": 2}

    pod = live.list("pods", namespace)[0]["metadata"]["name"]
    _, causes = live.api.request("GET", f"/fluyt/causes/pods/{namespace}/{pod}")
    first = causes["items"][0]["cause"]
    assert first["object"].startswith(f"replicasets.apps/{namespace}/web-")
    assert first["rule"].startswith("scale up")
    _, above = live.api.request("GET", f"/fluyt/causes/{first['object']}")
    assert any(item["cause"].get("object") == f"deployments.apps/{namespace}/web" for item in above["items"])


def test_events_are_told_once_each(live: Live, namespace: str) -> None:
    live.create("deployments", namespace, deployment("web", replicas=3))
    live.wait(lambda: len(live.list("pods", namespace)) == 3, "pods")

    def told() -> bool:
        reasons = [event["reason"] for event in live.list("events", namespace)]
        return reasons.count("SuccessfulCreate") == 3 and reasons.count("ScalingReplicaSet") == 1

    live.wait(told, "the events")


def test_a_cascade_takes_everything_along_or_nothing(live: Live, namespace: str) -> None:
    for name in ("gone", "waited", "left"):
        live.create("deployments", namespace, deployment(name, replicas=1))
    live.wait(lambda: len(live.list("pods", namespace)) == 3, "pods")
    live.delete("deployments", namespace, "gone", "Background")
    live.delete("deployments", namespace, "waited", "Foreground")
    live.delete("deployments", namespace, "left", "Orphan")
    live.wait(lambda: not live.list("deployments", namespace), "no deployments")
    live.wait(lambda: len(live.list("replicasets", namespace)) == 1, "one orphan")
    live.wait(lambda: len(live.list("pods", namespace)) == 1, "its pod")
    (rs,) = live.list("replicasets", namespace)
    assert not rs["metadata"].get("ownerReferences")
    assert rs["metadata"]["labels"]["app"] == "left"


def test_an_adopted_orphan_goes_on_serving(live: Live, namespace: str) -> None:
    live.create("deployments", namespace, deployment("web"))
    live.wait(lambda: _rolled_out(live, namespace), "the rollout")
    before = {pod["metadata"]["uid"] for pod in live.list("pods", namespace)}
    live.delete("deployments", namespace, "web", "Orphan")
    live.wait(lambda: live.get("deployments", namespace, "web") is None, "no deployment")
    live.create("deployments", namespace, deployment("web"))
    live.wait(lambda: _rolled_out(live, namespace), "the adoption")
    assert {pod["metadata"]["uid"] for pod in live.list("pods", namespace)} == before


def test_a_service_says_that_it_has_no_pods_and_takes_endpoints_written_by_hand_along(
    live: Live, namespace: str
) -> None:
    ports = [{"port": 80}]
    web = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
    live.create("services", namespace, web)
    (only,) = live.wait(lambda: live.list("endpointslices", namespace), "the slice")
    assert not only.get("endpoints")
    subset = {"addresses": [{"ip": "192.0.2.1"}], "ports": ports}
    for name in ("outside", "alone"):
        live.create("endpoints", namespace, {"metadata": {"name": name}, "subsets": [subset]})
    live.create("services", namespace, {"metadata": {"name": "outside"}, "spec": {"ports": ports}})
    live.wait(lambda: len(live.list("endpointslices", namespace)) == 2, "the mirrored slice")
    live.delete("services", namespace, "outside", "Background")
    live.wait(lambda: live.get("endpoints", namespace, "outside") is None, "their end")
    assert live.get("endpoints", namespace, "alone") is not None, "they never had a service"
    assert live.get("endpointslices", namespace, only["metadata"]["name"]) == only, "nothing writes it again"


def test_a_quota_that_is_used_up_is_said_and_made_up_for(live: Live, namespace: str) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
    live.create("resourcequotas", namespace, quota)
    live.wait(lambda: (live.get("resourcequotas", namespace, "q") or {}).get("status", {}).get("used"), "the count")
    live.create("deployments", namespace, deployment("web", replicas=3))

    def failing() -> bool:
        conditions = _status(live, namespace).get("conditions") or ()
        return any(c["type"] == "ReplicaFailure" and "exceeded quota" in c["message"] for c in conditions)

    live.wait(failing, "ReplicaFailure")
    assert len(live.list("pods", namespace)) == 1
    live.change("resourcequotas", namespace, "q", {"spec": {"hard": {"pods": "5"}}})
    live.wait(lambda: _rolled_out(live, namespace, 3), "the rest of the pods", timeout=40)


def test_a_job_counts_its_pods_and_completes(live: Live, namespace: str) -> None:
    spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "app:1"}]}
    job = {"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": {"spec": spec}}
    live.create("jobs", namespace, {"metadata": {"name": "sum"}, "spec": job})

    def done() -> bool:
        for pod in live.list("pods", namespace):
            if pod["status"].get("phase") == "Pending":
                live.report(pod, "Succeeded")
        status = (live.get("jobs", namespace, "sum") or {}).get("status") or {}
        return any(c["type"] == "Complete" for c in status.get("conditions") or ())

    live.wait(done, "the job's end")
    status = (live.get("jobs", namespace, "sum") or {})["status"]
    assert (status["succeeded"], status["completedIndexes"]) == (3, "0-2")
    assert not any(pod["metadata"].get("finalizers") for pod in live.list("pods", namespace))


def test_a_namespace_goes_with_all_that_is_in_it_also_of_custom_kinds(live: Live, namespace: str) -> None:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    live.create("customresourcedefinitions", "", {"metadata": {"name": "boats.example.com"}, "spec": spec})
    boat = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "fluyt"}}

    def sails() -> bool:
        status, _ = live.api.request("POST", live.path("boats", namespace), boat)
        return status == 201

    live.wait(sails, "the custom kind")
    live.create("deployments", namespace, deployment("web"))
    live.wait(lambda: len(live.list("pods", namespace)) == 2, "pods")
    live.api.request("DELETE", live.path("namespaces", "", namespace))
    live.wait(lambda: live.get("namespaces", "", namespace) is None, "the namespace's end")
    assert live.list("boats") == []
    assert [pod for pod in live.list("pods") if pod["metadata"]["namespace"] == namespace] == []


def test_a_dependent_of_a_custom_owner_goes_with_it(live: Live, namespace: str) -> None:
    owner = live.create("configmaps", namespace, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    live.create("secrets", namespace, {"metadata": {"name": "s", "ownerReferences": [reference]}})
    live.delete("configmaps", namespace, "owner", "Background")
    live.wait(lambda: live.get("secrets", namespace, "s") is None, "the dependent's end")


def test_a_secret_of_an_owner_that_never_was_goes(live: Live, namespace: str) -> None:
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "nobody",
        "uid": "11111111-2222-3333-4444-555555555555",
    }
    live.create("secrets", namespace, {"metadata": {"name": "s", "ownerReferences": [reference]}})
    live.wait(lambda: live.get("secrets", namespace, "s") is None, "its end")


def test_storage_in_use_stays_until_nobody_uses_it(live: Live, namespace: str) -> None:
    size, modes = {"storage": "1Gi"}, {"accessModes": ["ReadWriteOnce"], "storageClassName": namespace}
    disk = {**modes, "capacity": size, "hostPath": {"path": "/nowhere"}}
    live.create("persistentvolumes", "", {"metadata": {"name": namespace}, "spec": disk})
    asked = {**modes, "resources": {"requests": size}}
    live.create("persistentvolumeclaims", namespace, {"metadata": {"name": "data"}, "spec": asked})

    def phases() -> list[str]:
        both = live.get("persistentvolumeclaims", namespace, "data"), live.get("persistentvolumes", "", namespace)
        return ["gone" if found is None else found["status"].get("phase", "") for found in both]

    live.wait(lambda: phases() == ["Bound", "Bound"], "the claim to be bound")
    mounted = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    spec = {**deployment("user")["spec"]["template"]["spec"], "nodeName": "n1", "volumes": mounted}
    live.create("pods", namespace, {"metadata": {"name": "user"}, "spec": spec})
    live.delete("persistentvolumes", "", namespace, "Background")
    live.delete("persistentvolumeclaims", namespace, "data", "Background")
    # Controllers that have dealt with a later claim have seen that deletion, too.
    live.create("persistentvolumeclaims", namespace, {"metadata": {"name": "later"}, "spec": asked})
    live.delete("persistentvolumeclaims", namespace, "later", "Background")
    live.wait(lambda: live.get("persistentvolumeclaims", namespace, "later") is None, "the unused one to go")
    assert phases() == ["Bound", "Bound"]
    live.delete("pods", namespace, "user", "Background")
    live.wait(lambda: phases() == ["gone", "gone"], "both to go")
