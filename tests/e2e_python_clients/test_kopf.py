"""kopf's first examples on our server, unchanged: handlers run, results and progress come back, events are posted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from custom_kinds import crd
from harness.process import Process
from harness.wait import wait_until
from kubernetes import client

from control.testing.kube import KubeApi

OPERATOR = """
import kopf

@kopf.on.startup()
def configure(settings, **_):
    settings.posting.level = 20
    settings.watching.server_timeout = 60

@kopf.on.create("kopfexamples")
def create_fn(spec, body, logger, **kwargs):
    logger.info(f"And here we are! Creating: {spec}")
    kopf.info(body, reason="Greeted", message="said hello")
    return {"message": f"hello {spec['name']}"}

@kopf.on.update("kopfexamples")
def update_fn(old, new, diff, **_):
    return {"changes": [list(map(str, field)) for _, field, *_ in diff]}

@kopf.on.field("kopfexamples", field="spec.retries")
def flaky(retry, **_):
    if retry < 1:
        raise kopf.TemporaryError("not yet", delay=0.2)
    return {"tried": retry}

@kopf.on.create("kopfexamples")
def child(name, spec, **_):
    made = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"from": name}}
    kopf.adopt(made)
    return {"owner": made["metadata"]["ownerReferences"][0]["name"]}

@kopf.on.delete("kopfexamples")
def delete_fn(name, **_):
    print(f"deleted {name}", flush=True)
"""


@pytest.fixture
def examples(api_client: client.ApiClient, namespace: str) -> Iterator[Any]:
    """The CRD of kopf's examples, and calls for its objects."""
    extensions = client.ApiextensionsV1Api(api_client)
    definition = crd("kopfexamples", "KopfExample")
    extensions.create_custom_resource_definition(definition)
    yield client.CustomObjectsApi(api_client)
    extensions.delete_custom_resource_definition("kopfexamples.sea.example")


def test_an_operator(
    served_api: KubeApi, api_client: client.ApiClient, namespace: str, examples: Any, tmp_path: Path
) -> None:
    where = ("sea.example", "v1", namespace, "kopfexamples")
    script, log = tmp_path / "operator.py", tmp_path / "kopf.log"
    script.write_text(OPERATOR)
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", namespace, str(script)]
    operator = Process(command, log, environment={"KUBECONFIG": str(served_api.kubeconfig)})
    try:
        body = {"apiVersion": "sea.example/v1", "kind": "KopfExample", "metadata": {"name": "one"}}
        examples.create_namespaced_custom_object(*where, {**body, "spec": {"name": "world", "retries": 1}})

        def status() -> dict[str, Any]:
            found: dict[str, Any] = examples.get_namespaced_custom_object(*where, "one").get("status") or {}
            return found

        wait_until(lambda: "create_fn" in status(), "the handler's result", timeout=40)
        wait_until(lambda: "flaky/spec.retries" in status(), "the handler that fails at first", timeout=20)
        assert status()["create_fn"] == {"message": "hello world"}
        assert status()["child"] == {"owner": "one"}
        finalizers = examples.get_namespaced_custom_object(*where, "one")["metadata"]["finalizers"]
        assert finalizers == ["kopf.zalando.org/KopfFinalizerMarker"]
        examples.patch_namespaced_custom_object(*where, "one", {"spec": {"name": "moon"}})
        wait_until(lambda: "update_fn" in status(), "the update's result", timeout=20)
        assert status()["update_fn"]["changes"] == [["spec", "name"]]
        events = client.CoreV1Api(api_client)
        wait_until(
            lambda: any(e.reason == "Greeted" for e in events.list_namespaced_event(namespace).items),
            "the operator's event",
            timeout=20,
        )
        examples.delete_namespaced_custom_object(*where, "one")
        wait_until(lambda: "deleted one" in log.read_text(), "the delete handler", timeout=20)
        wait_until(lambda: not examples.list_namespaced_custom_object(*where)["items"], "the object's end", timeout=20)
    except BaseException:
        print(log.read_text()[-4000:])
        raise
    finally:
        operator.stop()
