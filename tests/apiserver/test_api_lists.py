"""Lists: pages of one revision, selectors, how old they may be, Tables, metadata only, compression."""

from __future__ import annotations

import gzip
import json
from typing import Any

from harness.api_site import Api, config_map, pod

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


def fill(api: Api, path: str, count: int) -> list[str]:
    names = [f"c{number:02}" for number in range(count)]
    for number, name in enumerate(names):
        labels = {"parity": "odd" if number % 2 else "even"}
        api.create(path, {**config_map(name), "metadata": {"name": name, "labels": labels}})
    return names


def pages(api: Api, path: str, between: Any = None, **query: str) -> list[dict[str, Any]]:
    """All pages of a list; between: called after the first one."""
    found = [api.get(path, **query)]
    while token := found[-1]["metadata"].get("continue"):
        if between is not None:
            between()
            between = None
        found.append(api.get(path, **{**query, "continue": token}))
    return found


def test_pages_are_of_one_revision(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    names = fill(any_api, path, 9)

    def disturb() -> None:
        any_api.ask("DELETE", f"{path}/c08")
        any_api.create(path, config_map("c99"))
        any_api.patch(f"{path}/c07", {"data": {"new": "value"}})

    found = pages(any_api, path, disturb, limit="4")
    assert [len(page["items"]) for page in found] == [4, 4, 1]
    assert [item["metadata"]["name"] for page in found for item in page["items"]] == names
    assert len({page["metadata"]["resourceVersion"] for page in found}) == 1
    assert found[0]["metadata"]["remainingItemCount"] == 5
    assert "data" not in found[1]["items"][3]
    chosen = pages(any_api, path, limit="2", labelSelector="parity=odd")
    assert [item["metadata"]["name"] for page in chosen for item in page["items"]] == ["c01", "c03", "c05", "c07"]


def test_history_that_is_gone(any_api: Api, any_namespace: str, any_site: Any) -> None:
    path = f"{any_namespace}/configmaps"
    fill(any_api, path, 4)
    first = any_api.get(path, limit="2")
    any_api.create(path, config_map("later"))
    revision = int(any_api.create(path, config_map("latest"))["metadata"]["resourceVersion"])
    stub = any_site.store.stub()
    from kvstore.pb.etcd_pb2 import CompactionRequest

    stub.Compact(CompactionRequest(revision=revision, physical=True), timeout=5)
    token = first["metadata"]["continue"]
    gone = any_api.ask("GET", path, limit="2", **{"continue": token})
    assert (gone.code, gone.reason) == (410, "Expired")
    old = any_api.ask("GET", path, resourceVersion="1", resourceVersionMatch="Exact")
    assert (old.code, old.reason) == (410, "Expired")
    assert len(any_api.get(path)["items"]) == 6


def test_selectors(api: Api, namespace: str) -> None:
    path = f"{namespace}/configmaps"
    fill(api, path, 4)

    def names(**query: str) -> list[str]:
        return [item["metadata"]["name"] for item in api.get(path, **query)["items"]]

    assert names(labelSelector="parity in (odd)") == ["c01", "c03"]
    assert names(labelSelector="!parity") == []
    assert names(fieldSelector="metadata.name=c02") == ["c02"]
    assert names(fieldSelector="metadata.name!=c02", labelSelector="parity=even") == ["c00"]
    assert api.ask("GET", path, labelSelector="a in (").code == 400
    assert api.ask("GET", path, fieldSelector="data.key=x").code == 400
    api.create(f"{namespace}/pods", pod("bound", nodeName="n-of-selectors"))
    found = api.get("/api/v1/pods", fieldSelector="spec.nodeName=n-of-selectors,status.phase!=Succeeded")
    assert [item["metadata"]["name"] for item in found["items"]] == ["bound"]


def test_how_old_a_list_may_be(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    made = any_api.create(path, config_map("a"))
    revision = made["metadata"]["resourceVersion"]
    any_api.create(path, config_map("b"))
    assert len(any_api.get(path)["items"]) == 2
    exact = any_api.get(path, resourceVersion=revision, resourceVersionMatch="Exact")
    assert [item["metadata"]["name"] for item in exact["items"]] == ["a"]
    assert exact["metadata"]["resourceVersion"] == revision
    newer = any_api.get(path, resourceVersion=revision, resourceVersionMatch="NotOlderThan")
    assert int(newer["metadata"]["resourceVersion"]) >= int(revision)
    assert "items" in any_api.get(path, resourceVersion="0")
    for query in (
        {"resourceVersionMatch": "Exact"},
        {"resourceVersion": "0", "resourceVersionMatch": "Exact"},
        {"resourceVersion": "1", "resourceVersionMatch": "Wrong"},
        {"resourceVersion": "many"},
        {"limit": "-1"},
        {"continue": "bm9uc2Vuc2U"},
    ):
        assert any_api.ask("GET", path, **query).code == 400, query


def test_a_version_from_the_future(api: Api, namespace: str) -> None:
    future = api.ask("GET", f"{namespace}/configmaps", resourceVersion=str(10**12))
    assert (future.code, future.reason) == (504, "Timeout")
    assert future.obj["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_tables_and_metadata(api: Api, namespace: str) -> None:
    path = f"{namespace}/configmaps"
    fill(api, path, 2)
    table = api.ask("GET", path, headers={"Accept": TABLE}).obj
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert [row["cells"][0] for row in table["rows"]] == ["c00", "c01"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table["metadata"]["resourceVersion"]
    whole = api.ask("GET", f"{path}/c00", headers={"Accept": TABLE}, includeObject="Object").obj
    assert whole["rows"][0]["object"]["kind"] == "ConfigMap"
    partial = api.ask("GET", path, headers={"Accept": PARTIAL}).obj
    assert partial["kind"] == "PartialObjectMetadataList"
    assert set(partial["items"][0]) == {"kind", "apiVersion", "metadata"}
    yaml = api.ask("GET", f"{path}/c00", headers={"Accept": "application/yaml"})
    assert yaml.headers["content-type"] == "application/yaml"
    assert b"kind: ConfigMap" in yaml.body
    assert api.ask("GET", path, headers={"Accept": "application/vnd.kubernetes.protobuf"}).code == 406


def test_big_lists_are_compressed_where_that_is_accepted(api: Api, namespace: str) -> None:
    path = f"{namespace}/configmaps"
    for number in range(4):
        api.create(path, config_map(f"big-{number}", text="x" * 100_000))
    packed = api.ask("GET", path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < 50_000
    assert json.loads(gzip.decompress(packed.body))["items"] == api.get(path)["items"]


def test_lists_over_all_namespaces(api: Api, namespace: str) -> None:
    api.create(f"{namespace}/configmaps", config_map("everywhere"))
    found = api.get("/api/v1/configmaps", fieldSelector="metadata.name=everywhere")
    assert [item["metadata"]["namespace"] for item in found["items"]] == [namespace.rpartition("/")[2]]
