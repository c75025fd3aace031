"""Discovery by value: the old form, the aggregated one, and that both say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control.api.catalogue import BUILTIN, Catalogue
from control.api.discovery import AGGREGATED_VERSIONS, Discovery
from control.api.documents import Document
from control.api.kind import Kind

DISCOVERY = Discovery(BUILTIN, "10.0.0.1:6443")


def read(document: Document | None) -> Any:
    assert document is not None
    return json.loads(document.body)


def test_roots() -> None:
    assert read(DISCOVERY.api) == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}],
    }
    groups = {group["name"]: group for group in read(DISCOVERY.apis)["groups"]}
    assert "" not in groups
    assert groups["autoscaling"]["versions"] == [
        {"groupVersion": "autoscaling/v2", "version": "v2"},
        {"groupVersion": "autoscaling/v1", "version": "v1"},
    ]
    assert groups["autoscaling"]["preferredVersion"]["version"] == "v2"


def test_a_group() -> None:
    assert read(DISCOVERY.group("apps")) == {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": "apps",
        "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
        "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
    }
    assert DISCOVERY.group("nothing") is None
    assert DISCOVERY.group("") is None


def test_a_version() -> None:
    listed = read(DISCOVERY.version("apps", "v1"))
    assert (listed["kind"], listed["groupVersion"]) == ("APIResourceList", "apps/v1")
    resources = {resource["name"]: resource for resource in listed["resources"]}
    assert resources["deployments"] == {
        "name": "deployments",
        "singularName": "deployment",
        "namespaced": True,
        "kind": "Deployment",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["deploy"],
        "categories": ["all"],
    }
    assert resources["deployments/scale"] == {
        "name": "deployments/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }
    assert "group" not in resources["deployments/status"]
    assert DISCOVERY.version("apps", "v7") is None


def test_subresources_of_pods() -> None:
    resources = {resource["name"]: resource for resource in read(DISCOVERY.version("", "v1"))["resources"]}
    eviction = resources["pods/eviction"]
    assert (eviction["group"], eviction["version"], eviction["kind"]) == ("policy", "v1", "Eviction")
    assert resources["pods/exec"]["verbs"] == ["create", "get"]
    assert resources["nodes"]["namespaced"] is False


@pytest.mark.parametrize("version", AGGREGATED_VERSIONS)
def test_aggregated_says_what_the_old_form_says(version: str) -> None:
    documents = [DISCOVERY.aggregated(core=core, version=version) for core in (True, False)]
    for document in documents:
        assert document.content_type == f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        assert read(document)["apiVersion"] == f"apidiscovery.k8s.io/{version}"
    items = [item for document in documents for item in read(document)["items"]]
    assert [item["metadata"].get("name", "") for item in items] == BUILTIN.groups()
    for item in items:
        group = item["metadata"].get("name", "")
        assert [v["version"] for v in item["versions"]] == BUILTIN.versions(group)
        for found in item["versions"]:
            assert flat(found) == old(read(DISCOVERY.version(group, found["version"])))


def flat(version: dict[str, Any]) -> dict[str, Any]:
    """name → (kind, verbs, namespaced) of an aggregated version."""
    found = {}
    for resource in version["resources"]:
        namespaced = resource["scope"] == "Namespaced"
        found[resource["resource"]] = (resource["responseKind"]["kind"], resource["verbs"], namespaced)
        for sub in resource.get("subresources", []):
            name = f"{resource['resource']}/{sub['subresource']}"
            found[name] = (sub["responseKind"]["kind"], sub["verbs"], namespaced)
    return found


def old(listed: dict[str, Any]) -> dict[str, Any]:
    return {r["name"]: (r["kind"], r["verbs"], r["namespaced"]) for r in listed["resources"]}


def test_documents_are_the_same_from_every_server() -> None:
    again = Discovery(Catalogue(reversed(list(BUILTIN)), BUILTIN.bodies), "10.0.0.1:6443")
    for core in (True, False):
        assert again.aggregated(core=core).etag == DISCOVERY.aggregated(core=core).etag
    assert len(DISCOVERY.api.hash) == 64


def test_a_custom_kind_appears() -> None:
    kind = Kind("example.com", "v1", "Thing", "things", "", short_names=("th",), subresources=("status",))
    found = read(Discovery(BUILTIN.extended([kind])).version("example.com", "v1"))["resources"]
    assert [resource["name"] for resource in found] == ["things", "things/status"]
