"""Small objects for the tests of controllers, as the API server would have stored them."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def template(app: str = "web", image: str = "web:1", **spec: Any) -> Object:
    containers = [{"name": "main", "image": image}]
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": containers, **spec}}


def workload(kind: str, name: str, api: str = "apps/v1", **spec: Any) -> Object:
    """A workload whose selector is its template's labels."""
    made = spec.pop("template", None) or template(name)
    selector = {"matchLabels": dict(made["metadata"]["labels"])}
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": selector, "template": made, **spec},
    }


def pod(
    name: str, *, app: str = "web", node: str = "", phase: str = "Pending", ready: bool = False, **metadata: Any
) -> Object:
    made: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}, **metadata},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]},
        "status": {"phase": phase},
    }
    if node:
        made["spec"]["nodeName"] = node
    if ready:
        made["status"]["conditions"] = [ready_condition()]
    return made


def ready_condition(status: str = "True", since: str = "2026-01-01T00:00:00Z") -> Object:
    return {"type": "Ready", "status": status, "lastTransitionTime": since}


def node(name: str, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}, **metadata},
        "spec": {},
        "status": {"conditions": [ready_condition()], "allocatable": {"pods": "110"}},
    }
