"""OpenAPI by value: what clients look up in it, every reference, both versions, protobuf, and kubectl itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from harness.require import require
from kubectl_stub import OPENAPI, KubectlStub

from control.api.catalogue import BUILTIN
from control.api.openapi import OpenApi, gnostic
from control.api.protobuf import wire

PATHS = sorted(json.loads(OPENAPI.index.body)["paths"])


@cache
def v3(path: str) -> Any:
    document = OPENAPI.document(path)
    assert document is not None
    return json.loads(document.body)


@cache
def v2() -> Any:
    return json.loads(OPENAPI.v2.body)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_the_index_names_every_version_with_its_hash() -> None:
    index = json.loads(OPENAPI.index.body)["paths"]
    assert "api/v1" in index
    assert {f"apis/{g}/{v}" for g in BUILTIN.groups() if g for v in BUILTIN.versions(g)} == set(index) - {"api/v1"}
    for path, entry in index.items():
        document = OPENAPI.document(path)
        assert document is not None
        assert entry["serverRelativeURL"] == f"/openapi/v3/{path}?hash={document.hash}"
    assert OPENAPI.document("apis/nothing/v1") is None


@pytest.mark.parametrize("path", PATHS)
def test_every_reference_leads_somewhere(path: str) -> None:
    schemas = v3(path)["components"]["schemas"]
    wanted = set(references(v3(path)))
    assert {f"#/components/schemas/{name}" for name in schemas} >= wanted
    assert list(schemas) == sorted(schemas)


def test_every_reference_of_version_2() -> None:
    assert {f"#/definitions/{name}" for name in v2()["definitions"]} >= set(references(v2()))


@pytest.mark.parametrize("kind", list(BUILTIN), ids=lambda kind: f"{kind.plural}.{kind.group}/{kind.version}")
def test_every_kind_can_be_found(kind: Any) -> None:
    document = v3(kind.path.strip("/"))
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.name}
    owners = [
        s for s in document["components"]["schemas"].values() if gvk in s.get("x-kubernetes-group-version-kind", [])
    ]
    assert len(owners) == 1
    where = kind.url("{namespace}" if kind.namespaced else "")
    methods = [op for op in document["paths"][where].values() if isinstance(op, dict)]
    assert methods
    assert all(op["x-kubernetes-group-version-kind"] == gvk for op in methods)
    assert any(gvk in d.get("x-kubernetes-group-version-kind", []) for d in v2()["definitions"].values())


def test_what_kubectl_asks_of_a_patch() -> None:
    for kind in BUILTIN:
        if "patch" not in kind.verbs:
            continue
        url = kind.url("{namespace}" if kind.namespaced else "", "{name}")
        names = {parameter["name"] for parameter in v3(kind.path.strip("/"))["paths"][url]["patch"]["parameters"]}
        assert names == {"dryRun", "fieldManager", "fieldValidation", "force"}
        v2_names = {p["name"] for p in v2()["paths"][url]["patch"]["parameters"]}
        assert v2_names == names | {"body"}


def test_merge_traits() -> None:
    schemas = v3("apis/apps/v1")["components"]["schemas"]
    spec = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]
    assert spec["containers"] == {
        "type": "array",
        "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}]},
        "x-kubernetes-patch-strategy": "merge",
        "x-kubernetes-patch-merge-key": "name",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    } | {key: value for key, value in spec["containers"].items() if key == "description"}
    assert spec["volumes"]["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    assert spec["nodeSelector"]["x-kubernetes-map-type"] == "atomic"
    assert schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"]["x-kubernetes-map-type"] == "atomic"
    deployment = schemas["io.k8s.api.apps.v1.DeploymentSpec"]
    assert deployment["required"] == ["selector", "template"]
    assert deployment["properties"]["strategy"]["x-kubernetes-patch-strategy"] == "retainKeys"


def test_scalars() -> None:
    schemas = v3("api/v1")["components"]["schemas"]
    assert schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["oneOf"] == [
        {"type": "integer"},
        {"type": "string"},
    ]
    assert v2()["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["type"] == "string"
    assert schemas["io.k8s.apimachinery.pkg.apis.meta.v1.Time"]["format"] == "date-time"
    data = schemas["io.k8s.api.core.v1.Secret"]["properties"]["data"]
    assert data["additionalProperties"] == {"type": "string", "format": "byte"}


def test_operation_ids_are_unique() -> None:
    ids = [op["operationId"] for item in v2()["paths"].values() for op in item.values() if isinstance(op, dict)]
    assert len(ids) == len(set(ids))
    assert "listAppsV1NamespacedDeployment" in ids
    assert "readCoreV1NamespacedPodLog" in ids
    assert "replaceAppsV1NamespacedDeploymentScale" in ids


def test_the_same_bytes_every_time() -> None:
    again = OpenApi(BUILTIN, "v1.32.0")
    assert again.index.body == OPENAPI.index.body
    assert again.v2_protobuf.hash == OPENAPI.v2_protobuf.hash


def members(data: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, _, value in wire.fields(data):
        found.setdefault(number, []).append(value)
    return found


def test_protobuf_says_what_json_says() -> None:
    document = members(OPENAPI.v2_protobuf.body)
    assert document[1] == [b"2.0"]
    named = [members(entry) for entry in members(document[9][0])[1]]
    assert [entry[1][0].decode() for entry in named] == list(v2()["definitions"])
    pod_spec = next(members(e[2][0]) for e in named if e[1][0] == b"io.k8s.api.core.v1.PodSpec")
    properties = {e[1][0].decode(): members(e[2][0]) for e in map(members, members(pod_spec[25][0])[1])}
    extensions = {members(e)[1][0].decode(): members(members(e)[2][0])[2][0] for e in properties["containers"][31]}
    assert json.loads(extensions["x-kubernetes-patch-merge-key"]) == "name"
    assert members(properties["containers"][22][0])[1] == [b"array"]
    paths = [members(entry)[1][0].decode() for entry in members(document[8][0])[2]]
    assert paths == list(v2()["paths"])


def test_protobuf_of_every_kind_of_schema() -> None:
    schema = {
        "additionalProperties": True,
        "enum": ["a"],
        "default": 1,
        "maximum": 1.5,
        "maxLength": 3,
        "uniqueItems": True,
    }
    named = members(members(gnostic.encode({"definitions": {"x": schema}}))[9][0])[1][0]
    found = members(members(named)[2][0])
    assert members(found[21][0]) == {2: [1]}
    assert members(found[20][0]) == {2: [b'"a"\n']}
    assert (found[11], found[16]) == ([3], [1])
    assert wire.double(found[7][0]) == 1.5


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("tool", ["kubectl-1.20", "kubectl-1.32"])
def test_explain(tool: str, home: Path) -> None:
    with KubectlStub(home / tool, aggregated=tool != "kubectl-1.20") as stub:
        kubectl = require(tool)
        shown = stub.run(kubectl, "explain", "deployment.spec.template.spec.containers")
        assert "VERSION:" in shown
        assert "volumeMounts" in shown
        recursive = stub.run(kubectl, "explain", "cronjobs", "--recursive")
        assert "successfulJobsHistoryLimit" in recursive


@pytest.mark.parametrize("tool", ["kubectl-1.20", "kubectl-1.32"])
def test_validation_before_create(tool: str, home: Path) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
    with KubectlStub(home / tool, aggregated=tool != "kubectl-1.20") as stub:
        made = stub.run(require(tool), "create", "-f", "-", stdin=json.dumps(config))
        assert made.strip() == "configmap/c created"
        assert json.loads(stub.posted[0].data)["data"] == {"a": "b"}
