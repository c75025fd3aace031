"""The forms that bodies come in and answers go out, and the subresources that few clients use."""

from __future__ import annotations

import json

from harness.api_site import Api, config_map, pod

from control.api import protobuf

PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


def test_yaml_and_protobuf_bodies(api: Api, namespace: str) -> None:
    path = f"{namespace}/configmaps"
    yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  key: 'yes'\n"
    made = api.ask("POST", path, yaml, content_type="application/yaml")
    assert (made.code, made.obj["data"]) == (201, {"key": "yes"})
    packed = protobuf.encode(config_map("p", key="value"))
    made = api.ask("POST", path, packed, content_type="application/vnd.kubernetes.protobuf")
    assert (made.code, made.obj["data"]) == (201, {"key": "value"})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    wrong = api.ask("POST", path, protobuf.encode(secret), content_type="application/vnd.kubernetes.protobuf")
    assert wrong.code == 400
    refused = api.ask("POST", path, "x", content_type="text/html")
    assert (refused.code, refused.reason) == (415, "UnsupportedMediaType")
    refused = api.ask("PATCH", f"{path}/y", "{}", content_type="application/json")
    assert (refused.code, refused.reason) == (415, "UnsupportedMediaType")
    refused = api.ask("GET", path, headers={"Accept": "text/html"})
    assert (refused.code, refused.reason) == (406, "NotAcceptable")


def test_metadata_alone(api: Api, namespace: str) -> None:
    path = f"{namespace}/configmaps"
    api.create(path, config_map("a", key="value"))
    one = api.ask("GET", f"{path}/a", headers={"Accept": PARTIAL}).obj
    assert (one["kind"], "data" in one) == ("PartialObjectMetadata", False)
    connection = api.connection()
    headers = {"Authorization": f"Bearer {api.token}", "Accept": PARTIAL}
    connection.request("GET", f"{path}?watch=1", headers=headers)
    event = json.loads(connection.getresponse().readline())
    connection.close()
    assert (event["object"]["kind"], "data" in event["object"]) == ("PartialObjectMetadata", False)


def test_heads(api: Api, namespace: str) -> None:
    api.create(f"{namespace}/configmaps", config_map("a"))
    reply = api.ask("HEAD", f"{namespace}/configmaps/a")
    assert (reply.code, reply.body, int(reply.headers["content-length"]) > 100) == (200, b"", True)
    assert api.ask("HEAD", f"{namespace}/configmaps/none").code == 404
    assert api.ask("HEAD", f"{namespace}/configmaps?watch=1").code == 200


def test_debugging_containers(api: Api, namespace: str) -> None:
    path = f"{namespace}/pods"
    api.create(path, pod("p"))
    debug = {"name": "debug", "image": "busybox", "targetContainerName": "main"}
    patch = {"spec": {"ephemeralContainers": [debug]}}
    changed = api.patch(f"{path}/p/ephemeralcontainers", patch, "strategic")
    assert [c["name"] for c in changed["spec"]["ephemeralContainers"]] == ["debug"]
    other = {"spec": {"ephemeralContainers": [{**debug, "image": "other"}]}}
    kind = "application/strategic-merge-patch+json"
    assert api.ask("PATCH", f"{path}/p/ephemeralcontainers", other, content_type=kind).code == 422


def test_events_of_both_groups_are_the_same_objects(api: Api, namespace: str) -> None:
    name = namespace.rpartition("/")[2]
    about = {"kind": "Pod", "namespace": name, "name": "p"}
    event = {
        "metadata": {"name": "e", "namespace": name},
        "involvedObject": about,
        "reason": "Started",
        "type": "Normal",
    }
    api.create(f"{namespace}/events", {**event, "message": "it runs"})
    new = namespace.replace("/api/v1", "/apis/events.k8s.io/v1") + "/events"
    found = api.get(new, fieldSelector="regarding.name=p,reason=Started")["items"]
    assert [(e["apiVersion"], e["note"], e["regarding"]["name"]) for e in found] == [
        ("events.k8s.io/v1", "it runs", "p")
    ]
    assert api.get(new, fieldSelector="regarding.name=q")["items"] == []
    assert len(api.get(f"{namespace}/events", fieldSelector="involvedObject.name=p")["items"]) == 1
