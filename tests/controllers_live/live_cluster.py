"""A master as `fluyt up` starts it (store, API server, controllers), seen by a user, and by nodes the test plays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.process import Process
from harness.wait import wait_until

from control.testing.kube import KubeApi
from control.up.cluster import Cluster

Object = dict[str, Any]
GROUPS = {
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
    "boats": "/apis/example.com/v1",
    "events": "/api/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
}


class Live:
    """Requests as an administrator. folder: where the cluster's files are."""

    def __init__(self, api: KubeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.cluster = Cluster(folder)

    def path(self, resource: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
        parts = [GROUPS.get(resource, "/api/v1")]
        parts += [f"namespaces/{namespace}"] if namespace else []
        return "/".join([*parts, resource, *(part for part in (name, subresource) if part)])

    def create(self, resource: str, namespace: str, obj: Object) -> Object:
        status, answer = self.api.request("POST", self.path(resource, namespace), obj)
        assert status == 201, answer
        return dict(answer)

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        status, answer = self.api.request("GET", self.path(resource, namespace, name))
        assert status in (200, 404), answer
        return dict(answer) if status == 200 else None

    def list(self, resource: str, namespace: str = "") -> list[Object]:
        status, answer = self.api.request("GET", self.path(resource, namespace))
        assert status == 200, answer
        return list(answer["items"])

    def change(self, resource: str, namespace: str, name: str, change: Object, subresource: str = "") -> Object:
        """Read, merge at the top two levels, write."""

        def written() -> Object | None:
            path = self.path(resource, namespace, name, subresource)
            _, old = self.api.request("GET", self.path(resource, namespace, name))
            for part, fields in change.items():
                old[part] = {**(old.get(part) or {}), **fields}
            status, answer = self.api.request("PUT", path, old)
            assert status in (200, 409), answer
            return dict(answer) if status == 200 else None

        return wait_until(written, f"a write of {resource} {name}")

    def delete(self, resource: str, namespace: str, name: str, propagation: str) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        status, answer = self.api.request("DELETE", self.path(resource, namespace, name), body)
        assert status in (200, 202), answer

    def wait(self, condition: Callable[[], Any], reason: str, timeout: float = 20.0) -> Any:
        return wait_until(condition, reason, timeout)

    # ---- what nodes would do ----

    def ready(self, namespace: str) -> None:
        """All pods of the namespace run and are ready."""
        for pod in self.list("pods", namespace):
            if pod["status"].get("phase") == "Pending" and "deletionTimestamp" not in pod["metadata"]:
                self.report(pod, "Running")

    def report(self, pod: Object, phase: str) -> None:
        """A pod's agent says how it is."""
        ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
        conditions = [{**ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]
        metadata = pod["metadata"]
        status = {"phase": phase, "conditions": conditions, "podIP": "10.0.0.1"}
        self.change("pods", metadata["namespace"], metadata["name"], {"status": status}, "status")

    # ---- processes ----

    def another(self, name: str) -> Process:
        """One more `fluyt controllers` of this cluster, as on another master."""
        (row,) = (row for row in self.cluster.rows if row.role == "controllers")
        words = [word for word in row.command if not word.startswith("--secure-port")]
        command = [sys.executable, "-m", "kvstore.cli.main", *words, "--secure-port=0", f"--identity={name}"]
        return Process(command, self.folder / f"{name}.log")

    def first_pid(self) -> int:
        pid = self.cluster.children.pid("m1-controllers")
        assert pid is not None
        return pid


def deployment(name: str, replicas: int = 2, image: str = "app:1") -> Object:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": image}], "terminationGracePeriodSeconds": 0},
    }
    selector = {"matchLabels": {"app": name}}
    spec = {"replicas": replicas, "selector": selector, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
