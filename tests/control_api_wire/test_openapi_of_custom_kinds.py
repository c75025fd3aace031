"""Custom kinds in the documents: their schema in both versions of OpenAPI, and what survives a new catalogue."""

from __future__ import annotations

import json
from typing import Any

from control.api.catalogue import BUILTIN
from control.api.crd import kinds_of
from control.api.kind import Kind
from control.api.openapi import OpenApi

SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "description": "how big it is"},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "maybe": {"type": "string", "nullable": True, "description": "or not"},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "default": "h"}},
        "one": {"type": "object", "oneOf": [{"required": ["a"]}], "additionalProperties": {"type": "string"}},
    },
}


def kind(name: str = "things") -> Kind:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{name}.my.example.com"},
        "spec": {
            "group": "my.example.com",
            "scope": "Namespaced",
            "names": {"plural": name, "singular": name[:-1], "kind": name[:-1].title(), "listKind": name.title()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC}}},
                }
            ],
        },
    }
    (made,) = kinds_of(definition)
    return made


def v3(service: OpenApi) -> Any:
    document = service.document("apis/my.example.com/v1")
    assert document is not None
    return json.loads(document.body)


def test_version_3_says_all_of_it() -> None:
    document = v3(OpenApi(BUILTIN.extended([kind()]), "v1.32.0"))
    thing = document["components"]["schemas"]["com.example.my.v1.Thing"]
    assert thing["properties"]["spec"] == SPEC
    assert thing["x-kubernetes-group-version-kind"] == [{"group": "my.example.com", "version": "v1", "kind": "Thing"}]
    metadata = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    assert thing["properties"]["metadata"] == {"allOf": [{"$ref": metadata}]}
    assert "com.example.my.v1.Things" in document["components"]["schemas"]
    paths = document["paths"]
    assert "patch" in paths["/apis/my.example.com/v1/namespaces/{namespace}/things/{name}"]
    assert set(paths["/apis/my.example.com/v1/namespaces/{namespace}/things/{name}/status"]) >= {"get", "put", "patch"}


def test_version_2_leaves_out_what_it_cannot_say() -> None:
    service = OpenApi(BUILTIN.extended([kind()]), "v1.32.0")
    thing = json.loads(service.v2.body)["definitions"]["com.example.my.v1.Thing"]
    assert thing["properties"]["spec"] == {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1, "description": "how big it is"},
            "port": {"x-kubernetes-int-or-string": True},
            "maybe": {"description": "or not"},
            "open": {"x-kubernetes-preserve-unknown-fields": True},
            "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "one": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    assert service.v2_protobuf.body


def test_a_new_catalogue_keeps_the_documents_of_built_in_groups() -> None:
    first = OpenApi(BUILTIN.extended([kind()]), "v1.32.0")
    before, apps = v3(first), first.document("apis/apps/v1")
    second = OpenApi(BUILTIN.extended([kind(), kind("others")]), "v1.32.0", first)
    assert second.document("apis/apps/v1") is apps
    after = v3(second)
    assert set(after["components"]["schemas"]) > set(before["components"]["schemas"])
    third = OpenApi(BUILTIN, "v1.32.0", second)
    assert third.document("apis/my.example.com/v1") is None
