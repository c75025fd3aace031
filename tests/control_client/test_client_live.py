"""The client against the real server: TLS and logins, fences, causes, informers of real resources."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from control.api.status import StatusError
from control.client import Cause, Client, Config, Elector, EventRecorder, Fence, Informer, Unreachable, kubeconfig
from control.testing.kube import KubeApi
from kvstore.client import AsyncClient, Tls, connect
from kvstore.pki.certificates import make_authority


def with_client(api: KubeApi, body: Callable[[Client, str], Awaitable[Any]]) -> None:
    """Run a coroutine with a client and a namespace."""
    namespace = api.create_namespace()

    async def run() -> None:
        async with Client(kubeconfig.load(api.kubeconfig)) as client:
            await body(client, namespace)

    try:
        asyncio.run(asyncio.wait_for(run(), 60))
    finally:
        api.delete_namespace(namespace)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_objects_watches_and_informers(served_api: KubeApi) -> None:
    async def body(client: Client, namespace: str) -> None:
        told: list[tuple[Any, Any]] = []
        async with Informer(client, "configmaps", namespace=namespace, label_selector="watched=yes") as maps:
            maps.subscribe(lambda old, new: told.append((old, new)))
            labelled = config_map("a", x="1")
            labelled["metadata"]["labels"] = {"watched": "yes"}
            made = await client.create("configmaps", labelled, namespace=namespace)
            await client.create("configmaps", config_map("other"), namespace=namespace)
            made["data"]["x"] = "2"
            await client.update("configmaps", made)
            with pytest.raises(StatusError, match="the object has been modified"):
                await client.update("configmaps", made)
            await client.patch(
                "configmaps", "a", [{"op": "add", "path": "/data/y", "value": "3"}], namespace=namespace, kind="json"
            )
            applied = config_map("a", z="4")
            await client.patch(
                "configmaps", "a", applied, namespace=namespace, kind="apply", field_manager="test", force=True
            )
            await client.patch("configmaps", "a", {"metadata": {"labels": None}}, namespace=namespace)
            while len(told) < 5:
                await asyncio.sleep(0.01)
        changes = [(old and old.get("data"), new and new.get("data")) for old, new in told]
        assert changes[:2] == [(None, {"x": "1"}), ({"x": "1"}, {"x": "2"})]
        assert changes[3][1] == {"x": "2", "y": "3", "z": "4"}
        # Out of the selection is gone, for who follows it.
        assert changes[4][1] is None
        assert not maps.objects

    with_client(served_api, body)


def test_logins(served_api: KubeApi) -> None:
    by_file = kubeconfig.load(served_api.kubeconfig)

    async def who(config: Config) -> str:
        async with Client(config) as client:
            review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
            answer = await client.create("selfsubjectreviews.authentication.k8s.io", review)
            return str(answer["status"]["userInfo"]["username"])

    async def run() -> None:
        assert await who(by_file) == "kubernetes-admin"
        token = Config(servers=by_file.servers, ca=served_api.ca, token=served_api.token)
        assert await who(token) == "fluyt-test"
        assert await who(replace(token, impersonate="alice", impersonate_groups=("system:masters",))) == "alice"
        with pytest.raises(StatusError) as caught:
            await who(replace(token, token="wrong"))
        assert caught.value.code == 401

    asyncio.run(asyncio.wait_for(run(), 30))


def test_servers_that_cannot_prove_who_they_are_are_not_spoken_to(served_api: KubeApi) -> None:
    from datetime import UTC, datetime, timedelta

    config = kubeconfig.load(served_api.kubeconfig)
    stranger = make_authority("stranger", datetime.now(UTC), timedelta(days=1)).certificate_pem

    async def run() -> None:
        for wrong in (replace(config, ca=stranger), replace(config, server_name="elsewhere.example")):
            async with Client(replace(wrong, patience=0.0)) as client:
                with pytest.raises(Unreachable, match="TLS: ") as caught:
                    await client.create("configmaps", config_map("a"), namespace="default")
                assert not caught.value.maybe_applied

    asyncio.run(asyncio.wait_for(run(), 30))


def store_of(api: KubeApi) -> AsyncClient:
    """A client of the store behind the server."""
    from control.up.cluster import Cluster

    folder = api.ca.parent.parent
    pki = folder / "pki"
    tls = Tls(
        ca=str(pki / "etcd" / "ca.crt"),
        cert=str(pki / "apiserver-etcd-client.crt"),
        key=str(pki / "apiserver-etcd-client.key"),
    )
    plan = Cluster(folder).planned()
    return connect(plan.store_urls, tls=None if plan.etcd else tls)


def test_a_lost_leadership_cannot_write(served_api: KubeApi) -> None:
    async def body(client: Client, namespace: str) -> None:
        async with store_of(served_api) as store:
            async for term in Elector(store, f"test-{namespace}", "me").terms():
                fenced = client.fenced(term.fence)
                made = await fenced.create("configmaps", config_map("a"), namespace=namespace)
                await store.delete(term.fence.key)
                with pytest.raises(StatusError) as caught:
                    await fenced.patch("configmaps", "a", {"data": {"x": "late"}}, namespace=namespace)
                assert (caught.value.code, caught.value.reason) == (409, "Conflict")
                assert [cause.reason for cause in caught.value.causes] == ["FenceLost"]
                with pytest.raises(StatusError):
                    await fenced.delete("configmaps", "a", namespace=namespace)
                assert await client.get("configmaps", "a", namespace) == made
                await term.lost.wait()
                break
        never = client.fenced(Fence("/fluyt/leaders/none/1", 7))
        with pytest.raises(StatusError):
            await never.create("configmaps", config_map("b"), namespace=namespace)

    with_client(served_api, body)


def test_causes_are_kept(served_api: KubeApi) -> None:
    async def body(client: Client, namespace: str) -> None:
        first = await client.create("configmaps", config_map("a"), namespace=namespace)
        cause = Cause.of("configmaps", first, "because ü")
        await client.patch("configmaps", "a", {"data": {"x": "1"}}, namespace=namespace, cause=cause)
        records = await client.causes("configmaps", "a", namespace)
        assert [r["verb"] for r in records] == ["create", "patch"]
        assert records[0]["cause"]["rule"] == "user kubernetes-admin: create"
        assert records[0]["revision"] == first["metadata"]["resourceVersion"]
        assert records[1]["cause"]["rule"] == "because ü"
        assert records[1]["cause"]["object"] == f"configmaps/{namespace}/a"

    with_client(served_api, body)


def test_events_are_valid_there(served_api: KubeApi) -> None:
    async def body(client: Client, namespace: str) -> None:
        about = await client.create("configmaps", config_map("a"), namespace=namespace)
        async with EventRecorder(client, "test") as events:
            for _ in range(3):
                events.record(about, "Warning", "Odd", "it is odd")
        found = (await client.list("events", namespace))["items"]
        assert [(e["reason"], e["count"], e["involvedObject"]["name"]) for e in found] == [("Odd", 3, "a")]

    with_client(served_api, body)
