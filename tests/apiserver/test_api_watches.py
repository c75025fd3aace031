"""Watches: order, resumption, selectors, bookmarks, initial events, Tables, and what is too old."""

from __future__ import annotations

from typing import Any

from harness.api_site import Api, config_map, pod
from harness.wait import wait_until


def shown(event: dict[str, Any]) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"].get("name", "")


def test_changes_in_order(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    start = any_api.get(path)["metadata"]["resourceVersion"]
    with any_api.watch(path, resourceVersion=start) as events:
        any_api.create(path, config_map("a"))
        any_api.patch(f"{path}/a", {"data": {"k": "v"}})
        any_api.ask("DELETE", f"{path}/a")
        found = [next(events) for _ in range(3)]
    assert [shown(event) for event in found] == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in found]
    assert revisions == sorted(set(revisions))
    assert found[2]["object"]["data"] == {"k": "v"}
    with any_api.watch(path, resourceVersion=str(revisions[0])) as again:
        assert [next(again) for _ in range(2)] == found[1:]


def test_without_a_version_what_exists_comes_first(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    any_api.create(path, config_map("a"))
    for query in ({}, {"resourceVersion": "0"}):
        with any_api.watch(path, **query) as events:
            assert shown(next(events)) == ("ADDED", "a")


def test_selectors_turn_label_changes_into_coming_and_going(api: Api, namespace: str) -> None:
    path = f"{namespace}/configmaps"
    start = api.create(path, config_map("a"))["metadata"]["resourceVersion"]
    with api.watch(path, resourceVersion=start, labelSelector="on=yes") as events:
        api.patch(f"{path}/a", {"metadata": {"labels": {"on": "yes"}}})
        api.patch(f"{path}/a", {"data": {"k": "v"}})
        api.patch(f"{path}/a", {"metadata": {"labels": {"on": "no"}}})
        api.patch(f"{path}/a", {"data": {"k": "unseen"}})
        api.patch(f"{path}/a", {"metadata": {"labels": {"on": "yes"}}})
        found = [next(events) for _ in range(4)]
    assert [event["type"] for event in found] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
    assert found[2]["object"]["metadata"]["labels"] == {"on": "yes"}
    assert found[2]["object"]["data"] == {"k": "v"}


def test_by_name_and_by_namespace(api: Api, namespace: str) -> None:
    path = f"{namespace}/configmaps"
    other = api.namespace(f"{namespace.rpartition('/')[2]}-other")
    start = api.get(path)["metadata"]["resourceVersion"]
    with (
        api.watch(path, resourceVersion=start, fieldSelector="metadata.name=b") as one,
        api.watch("/api/v1/configmaps", resourceVersion=start) as everything,
    ):
        for name in ("a", "b"):
            api.create(path, config_map(name))
            api.create(f"{other}/configmaps", config_map(name))
        assert shown(next(one)) == ("ADDED", "b")
        assert [shown(next(everything))[1] for _ in range(4)] == ["a", "a", "b", "b"]


def test_by_a_field_that_is_absent(api: Api, namespace: str) -> None:
    path = f"{namespace}/pods"
    start = api.get(path)["metadata"]["resourceVersion"]
    with api.watch(path, resourceVersion=start, fieldSelector="spec.hostNetwork=false") as events:
        api.create(path, pod("host", hostNetwork=True))
        api.create(path, pod("a"))
        assert shown(next(events)) == ("ADDED", "a")
    with api.watch("/api/v1/nodes", resourceVersion=start, fieldSelector="spec.unschedulable=false") as events:
        api.create("/api/v1/nodes", {"metadata": {"name": "n"}})
        api.patch("/api/v1/nodes/n", {"spec": {"unschedulable": True}})
        api.patch("/api/v1/nodes/n", {"spec": {"unschedulable": None}})
        api.ask("DELETE", "/api/v1/nodes/n")
        assert [shown(next(events))[0] for _ in range(4)] == ["ADDED", "DELETED", "ADDED", "DELETED"]


def test_streaming_lists_end_with_a_bookmark(any_api: Api, any_namespace: str) -> None:
    path = f"{any_namespace}/configmaps"
    any_api.create(path, config_map("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    with any_api.watch(path, **query) as events:
        assert shown(next(events)) == ("ADDED", "a")
        mark = next(events)
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        any_api.create(path, config_map("b"))
        assert shown(next(events)) == ("ADDED", "b")
    assert any_api.ask("GET", path, watch="1", sendInitialEvents="true").code == 400
    assert any_api.ask("GET", path, watch="1", resourceVersionMatch="NotOlderThan").code == 400


def test_tables(api: Api, namespace: str) -> None:
    path = f"{namespace}/configmaps"
    api.create(path, config_map("a"))
    connection = api.connection()
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    connection.request("GET", f"{path}?watch=true", headers={"Authorization": f"Bearer {api.token}", "Accept": accept})
    import json

    event = json.loads(connection.getresponse().readline())
    connection.close()
    assert event["type"] == "ADDED"
    assert event["object"]["kind"] == "Table"
    assert event["object"]["rows"][0]["cells"][0] == "a"


def test_too_old_is_told_in_the_stream(later: Api, namespace: str) -> None:
    with later.watch(f"{namespace}/configmaps", resourceVersion="1") as events:
        error = next(events)
    assert error["type"] == "ERROR"
    assert (error["object"]["code"], error["object"]["reason"]) == (410, "Expired")


def test_time_is_kept(api: Api, namespace: str) -> None:
    with api.watch(f"{namespace}/configmaps", timeoutSeconds="1") as events:
        assert list(events) == []


def test_watchers_that_leave_are_forgotten(api: Api, namespace: str) -> None:
    def watchers() -> float:
        lines = api.ask("GET", "/metrics").body.decode().splitlines()
        start = 'apiserver_longrunning_requests{resource="secrets"} '
        return next(float(line.removeprefix(start)) for line in lines if line.startswith(start))

    with api.watch(f"{namespace}/secrets", resourceVersion="0"):
        wait_until(lambda: watchers() == 1, "the watch to be counted")
    wait_until(lambda: watchers() == 0, "the watch to be forgotten")
