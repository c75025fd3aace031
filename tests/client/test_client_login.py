"""Logins: one for all calls that wait for it, each within its own time; and again whenever the store wants it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cutting_proxy import CuttingProxy
from harness.cluster import Cluster
from harness.ports import free_port
from scripted_server import ScriptedServer, refusal

from kvstore.client import AsyncClient, AuthenticationFailed, Client, ClientError, StoreError, Unreachable, connect
from kvstore.client.rpcs import RANGE
from kvstore.pb import etcd_pb2 as pb

pytestmark = pytest.mark.usefixtures("library")

OK = pb.PutResponse(header=pb.ResponseHeader(revision=7))
FOUND = pb.RangeResponse(kvs=[pb.KeyValue(key=b"k", value=b"v")], count=1)
TOKEN = pb.AuthenticateResponse(token="one")


async def timed(call: Any) -> tuple[float, object]:
    """How long the call took, and what it ended with."""
    started = time.monotonic()
    (ended,) = await asyncio.gather(call, return_exceptions=True)
    return time.monotonic() - started, ended


def test_calls_do_not_wait_for_each_others_logins() -> None:
    async def run() -> list[tuple[float, object]]:
        async with connect(f"127.0.0.1:{free_port()}", user="u", password="p", timeout=0.5) as client:
            return await asyncio.gather(*(timed(client.get("k")) for _ in range(12)))

    for took, ended in asyncio.run(run()):
        assert took < 3
        assert isinstance(ended, Unreachable)
        assert "connection refused" in str(ended)


def test_a_hanging_login_holds_a_call_no_longer_than_its_own_time() -> None:
    released = threading.Event()

    def hang(request: bytes, context: Any) -> pb.AuthenticateResponse:
        released.wait(60)
        return TOKEN

    async def run(server: ScriptedServer) -> None:
        async with connect(server.endpoint, user="u", password="p", timeout=60) as client:
            slow = asyncio.create_task(client.get("k"))
            while not server.asked["Authenticate"]:
                await asyncio.sleep(0.01)
            took, ended = await timed(client._transport.unary(RANGE, pb.RangeRequest(key=b"k"), timeout=0.3))
            assert took < 20
            assert isinstance(ended, ClientError)
            released.set()
            assert (await slow) is not None
        assert server.asked["Authenticate"] == 1

    with ScriptedServer(Authenticate=[hang], Range=[FOUND]) as server:
        try:
            asyncio.run(run(server))
        finally:
            released.set()


def test_a_refused_login_is_told_to_all_who_waited_for_it() -> None:
    async def run(server: ScriptedServer) -> None:
        async with connect(server.endpoint, user="u", password="p") as client:
            ended = await asyncio.gather(*(client.get("k") for _ in range(5)), return_exceptions=True)
            assert [type(each) for each in ended] == [AuthenticationFailed] * 5
            assert server.asked["Authenticate"] == 1
            assert (await client.get("k")) is not None

    with ScriptedServer(Authenticate=[refusal("AUTH_FAILED"), TOKEN], Range=[FOUND]) as server:
        asyncio.run(run(server))


def test_a_call_that_is_cancelled_leaves_the_login_to_the_others() -> None:
    released = threading.Event()

    def wait(request: bytes, context: Any) -> pb.AuthenticateResponse:
        released.wait(60)
        return TOKEN

    async def run(server: ScriptedServer) -> None:
        async with connect(server.endpoint, user="u", password="p", timeout=30) as client:
            first, second = (asyncio.create_task(client.get("k")) for _ in range(2))
            while not server.asked["Authenticate"]:
                await asyncio.sleep(0.01)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            released.set()
            assert (await second) is not None
        assert server.asked["Authenticate"] == 1

    with ScriptedServer(Authenticate=[wait], Range=[FOUND]) as server:
        try:
            asyncio.run(run(server))
        finally:
            released.set()


def test_a_store_that_wants_users_later_gets_them() -> None:
    seen: list[str | None] = []

    def look(request: bytes, context: Any) -> pb.PutResponse:
        seen.append(dict(context.invocation_metadata()).get("token"))
        if seen[-1] is None and len(seen) > 1:
            raise AssertionError("no token")
        return OK

    script: list[Any] = [look, refusal("USER_EMPTY"), look]
    with ScriptedServer(Authenticate=[refusal("AUTH_NOT_ENABLED"), TOKEN], Put=script) as server:
        with Client(server.endpoint, user="u", password="p") as client:
            client.put("k", "v")
            client.put("k", "v")
        assert seen == [None, "one"]
        assert server.asked == {"Authenticate": 2, "Put": 3}


@pytest.mark.parametrize("user", ["u", None])
def test_a_name_that_is_empty_is_told(user: str | None) -> None:
    """The store says so also of a user that is to be added: that is no reason to go on asking."""
    with ScriptedServer(Authenticate=[TOKEN], Put=[refusal("USER_EMPTY")]) as server:
        with Client(server.endpoint, user=user, password="p") as client, pytest.raises(StoreError, match="is empty"):
            client.put("k", "v")
        assert server.asked["Put"] == (2 if user else 1)


# ---- a real store ----


async def with_users(endpoints: list[str]) -> AsyncClient:
    """Switch authentication on; a client of root."""
    async with connect(endpoints) as anyone:
        await anyone.auth.user_add("root", "r")
        await anyone.auth.role_add("root")
        await anyone.auth.user_grant_role("root", "root")
        await anyone.auth.enable()
    return connect(endpoints, user="root", password="r")


def test_whoever_began_before_there_were_users_goes_on(new_store: Callable[..., Cluster], name: str) -> None:
    async def run(endpoints: list[str]) -> None:
        async with (
            connect(endpoints, user="root", password="r") as calling,
            connect(endpoints, user="root", password="r") as watching,
            connect(endpoints, user="root", password="r") as renewing,
        ):
            lease = await renewing.leases.grant(60)
            standing = await watching.watch(name).start()
            await calling.get(name)
            root = await with_users(endpoints)
            await calling.put(name, "v")
            assert (await renewing.leases.keep_alive_once(lease.ID)).TTL == 60
            async with asyncio.timeout(20):
                assert (await anext(standing)).kv.value == b"v"
                async with watching.watch(name) as watch:
                    await calling.put(name, "w")
                    assert (await anext(watch)).kv.value == b"w"
            await standing.aclose()
            await root.close()

    with new_store(members=1, flags=["--bcrypt-cost", "4"]) as cluster:
        asyncio.run(run(cluster.endpoints))


def test_watches_by_jwt_outlive_a_change_of_users(new_store: Callable[..., Cluster], name: str, tmp_path: Path) -> None:
    async def run(endpoints: list[str], proxy: CuttingProxy) -> None:
        root = await with_users(endpoints)
        await root.auth.user_add("ann", "a")
        await root.auth.role_add("reader")
        await root.auth.role_grant_permission("reader", pb.Permission.READWRITE, name, prefix=True)
        await root.auth.user_grant_role("ann", "reader")
        async with connect(proxy.endpoint, user="ann", password="a") as ann, asyncio.timeout(20):
            standing = await ann.watch(name).start()
            await root.auth.role_add("unrelated")
            async with ann.watch(name) as begun:
                await root.auth.role_add("unrelated, too")
                proxy.cut()
                await root.put(name, "v")
                assert (await anext(begun)).kv.value == b"v"
                assert (await anext(standing)).kv.value == b"v"
            await standing.aclose()
        await root.close()

    key = tmp_path / "key"
    key.write_bytes(b"s" * 64)
    tokens = f"jwt,sign-method=HS256,ttl=10m,priv-key={key}"
    flags = ["--bcrypt-cost", "4", "--auth-token", tokens]
    with new_store(members=1, flags=flags) as cluster, CuttingProxy(cluster.endpoints[0]) as proxy:
        asyncio.run(run(cluster.endpoints, proxy))
