"""Verbs, errors, and what is sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fake_http_api import FakeApi, path_of, pod, serve

from control.api.status import StatusError
from control.client import Cause, Client, Config, Fence, Unreachable


def with_api(body: Callable[[FakeApi, Client], Awaitable[Any]], **config: Any) -> None:
    """Run a coroutine with a fake API and a client of it."""

    async def run() -> None:
        async with serve() as api, Client(Config(**{"servers": (api.url,), "patience": 0.0, **config})) as client:
            await body(api, client)

    asyncio.run(asyncio.wait_for(run(), 20))


async def break_it(request: web.Request) -> None:
    """A fault: the connection ends after the request has arrived."""
    assert request.transport is not None
    request.transport.abort()


def answering(code: int, headers: dict[str, str] | None = None) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A fault: this status."""

    async def fault(request: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "code": code, "message": "no"}, status=code, headers=headers)

    return fault


def test_objects_are_written_read_and_deleted() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        made = await client.create("pods", pod("a"))
        assert made["metadata"]["resourceVersion"] == "2"
        assert await client.get("pods", "a", "default") == made
        made["spec"] = {"nodeName": "n"}
        updated = await client.update("pods", made)
        patched = await client.patch("pods", "a", {"status": {"phase": "Running"}}, namespace="default")
        assert (updated["spec"], patched["status"]) == ({"nodeName": "n"}, {"phase": "Running"})
        listed = await client.list("pods", "default")
        assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
        await client.delete("pods", "a", namespace="default", uid="u2", propagation="Foreground", grace=0)
        assert api.bodies[-1] == {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": "u2"},
            "gracePeriodSeconds": 0,
        }

    with_api(body)


def test_urls_and_headers() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.put("/apis/apps/v1/namespaces/x/deployments/web/scale", {"spec": {}})
        fenced = client.fenced(Fence("/fluyt/leaders/controllers/7f", 12))
        await fenced.patch(
            "deployments.apps",
            "web",
            {"spec": {"replicas": 3}},
            namespace="x",
            subresource="scale",
            field_manager="me",
            cause=Cause("pods/default/ü", "7", "because", "u1"),
        )
        request = api.requests[-1]
        assert request.path_qs == "/apis/apps/v1/namespaces/x/deployments/web/scale?fieldManager=me"
        assert request.headers["Content-Type"] == "application/merge-patch+json"
        assert request.headers["Fluyt-Fence"] == "/fluyt/leaders/controllers/7f;12"
        told = json.loads(request.headers["Fluyt-Cause"])
        assert told == {"object": "pods/default/ü", "revision": "7", "rule": "because", "uid": "u1"}
        await client.patch("deployments.apps", "web", {}, namespace="x", subresource="scale")
        assert "Fluyt-Fence" not in api.requests[-1].headers

    with_api(body)


def test_a_long_rule_loses_its_end() -> None:
    header = Cause("pods/default/a", "1", "ü" * 5000).header()
    assert len(header) <= 2048
    assert json.loads(header)["rule"] == "ü" * len(json.loads(header)["rule"]) != ""


def test_refusals_are_status_errors() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.put(path_of("a"), pod("a"))
        with pytest.raises(StatusError, match='pods "a" already exists') as caught:
            await client.create("pods", pod("a"))
        assert (caught.value.code, caught.value.reason) == (409, "AlreadyExists")
        with pytest.raises(StatusError) as caught:
            await client.get("pods", "b", "default")
        assert caught.value.code == 404

        async def proxy(request: web.Request) -> web.Response:
            return web.Response(status=403, text="<html>go away</html>")

        api.faults.append(proxy)
        with pytest.raises(StatusError, match="go away") as caught:
            await client.get("pods", "a", "default")
        assert (caught.value.code, caught.value.reason) == (403, "Forbidden")

    with_api(body)


def test_a_write_that_may_have_arrived_is_not_sent_again() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.faults.append(break_it)
        with pytest.raises(Unreachable) as caught:
            await client.create("pods", pod("a"))
        assert caught.value.maybe_applied
        assert len(api.requests) == 1

    with_api(body, patience=5.0)


def test_a_read_is_sent_again() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.put(path_of("a"), pod("a"))
        api.faults += [break_it, answering(503), break_it]
        assert (await client.get("pods", "a", "default"))["metadata"]["name"] == "a"
        assert len(api.requests) == 4

    with_api(body, patience=5.0)


@pytest.mark.parametrize("code", [429, 503])
def test_later_means_later_for_writes_too(code: int) -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.faults.append(answering(code, {"Retry-After": "0"}))
        await client.create("pods", pod("a"))
        assert [r.method for r in api.requests] == ["POST", "POST"]

    with_api(body)


@pytest.mark.parametrize(("code", "headers"), [(503, {}), (504, {"Retry-After": "0"}), (500, {"Retry-After": "0"})])
def test_other_failures_of_a_write_are_told(code: int, headers: dict[str, str]) -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.faults.append(answering(code, headers))
        with pytest.raises(StatusError) as caught:
            await client.create("pods", pod("a"))
        assert (caught.value.code, len(api.requests)) == (code, 1)

    with_api(body, patience=5.0)


def test_an_evictions_429_is_an_answer() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.faults.append(answering(429, {"Retry-After": "0"}))
        with pytest.raises(StatusError):
            await client.create("pods", {"kind": "Eviction"}, namespace="default", name="a", subresource="eviction")
        assert api.requests[-1].path == "/api/v1/namespaces/default/pods/a/eviction"

    with_api(body)


def test_waiting_ends_with_the_call_s_time() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.faults += [answering(429, {"Retry-After": "60"})]
        with pytest.raises(StatusError):
            await client.create("pods", pod("a"))

    with_api(body, timeout=20.0)


def test_the_next_server_is_asked_when_one_is_gone() -> None:
    async def run() -> None:
        async with serve() as api, serve(FakeApi()) as other:
            gone = other.url
            async with Client(Config(servers=("http://127.0.0.1:1", api.url, gone), patience=0.0)) as client:
                await client.create("pods", pod("a"))
                assert client.transport.server == api.url
                await client.get("pods", "a", "default")
                assert not other.requests

    asyncio.run(run())


def test_nobody_answers() -> None:
    async def run() -> None:
        async with Client(Config(servers=("http://127.0.0.1:1", "http://127.0.0.1:2"), patience=0.0)) as client:
            with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1: .*refused.*127\.0\.0\.1:2") as caught:
                await client.create("pods", pod("a"))
            assert not caught.value.maybe_applied

    asyncio.run(run())


def test_a_hanging_server_is_left() -> None:
    async def run() -> None:
        async def hang(request: web.Request) -> None:
            await asyncio.sleep(60)

        async with serve() as slow, serve(FakeApi()) as quick:
            slow.faults.append(hang)
            quick.put(path_of("a"), pod("a"))
            config = Config(servers=(slow.url, quick.url), attempt_timeout=0.5)
            async with Client(config) as client:
                assert (await client.get("pods", "a", "default"))["kind"] == "Pod"

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")

    async def body(api: FakeApi, client: Client) -> None:
        await client.list("pods")
        token.write_text("other")
        await client.list("pods")
        assert [r.headers["Authorization"] for r in api.requests] == ["Bearer one", "Bearer other"]

    with_api(body, token_file=token)


def test_custom_resources_are_discovered() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        entry = {"resource": "boats", "responseKind": {"kind": "Boat"}, "scope": "Namespaced", "verbs": ["get"]}
        group = {"metadata": {"name": "sea.io"}, "versions": [{"version": "v1", "resources": [entry]}]}
        api.documents["/api"] = {"kind": "APIGroupDiscoveryList", "items": []}
        api.documents["/apis"] = {"kind": "APIGroupDiscoveryList", "items": []}
        with pytest.raises(StatusError, match="resource type"):
            await client.list("boats.sea.io")
        api.documents["/apis"]["items"].append(group)
        await client.list("boats.sea.io", "x")
        assert api.requests[-1].path == "/apis/sea.io/v1/namespaces/x/boats"
        assert (await client.directory.of_object("sea.io/v1", "Boat")).plural == "boats"
        seen = len(api.requests)
        await client.list("boats.sea.io")
        assert len(api.requests) == seen + 1

    with_api(body)


def test_old_discovery_serves_too() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        resources = [
            {"name": "boats", "kind": "Boat", "namespaced": False, "verbs": ["get"], "shortNames": ["bt"]},
            {"name": "boats/status", "kind": "Boat", "namespaced": False, "verbs": ["get"]},
        ]
        api.documents.update(
            {
                "/api": {"kind": "APIVersions", "versions": []},
                "/apis": {"kind": "APIGroupList", "groups": [{"name": "sea.io", "versions": [{"version": "v1"}]}]},
                "/apis/sea.io/v1": {"kind": "APIResourceList", "resources": resources},
            }
        )
        kind = await client.kind("boats.sea.io")
        assert (kind.subresources, kind.namespaced, kind.short_names) == (("status",), False, ("bt",))

    with_api(body)


def test_cancelling_gives_the_place_back() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        async def hang(request: web.Request) -> None:
            await asyncio.sleep(60)

        api.faults += [hang] * 64
        calls = [asyncio.create_task(client.get("pods", "a", "default")) for _ in range(64)]
        while len(api.requests) < 64:
            await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        with contextlib.suppress(StatusError):
            await client.get("pods", "a", "default")
        assert len(api.requests) == 65

    with_api(body)
