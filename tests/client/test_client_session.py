"""Sessions and renewals when several use them, when a login fails for a moment, when a caller gives up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from cutting_proxy import CuttingProxy
from harness.cluster import Cluster

from kvstore.client import AsyncClient, ClientError, LeaseLost, LeaseNotFound, TimedOut, Unreachable, connect
from kvstore.client.channel import Metadata
from kvstore.client.errors import StoreError
from kvstore.client.session import Session
from kvstore.errors import Code

pytestmark = pytest.mark.usefixtures("library")

FOR_A_MOMENT = [
    TimedOut("the login took too long"),
    Unreachable({"here": "connection refused"}),
    StoreError(Code.UNAVAILABLE, "no quorum"),
]


async def leases(client: AsyncClient) -> set[int]:
    return {lease.ID for lease in (await client.leases.list()).leases}


def test_who_starts_a_session_together_has_one_lease(store: Cluster, name: str) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as client:
            before = await leases(client)
            session = client.session(30)
            one, two = client.lock(name + "1", session=session), client.lock(name + "2", session=session)
            await asyncio.gather(one.acquire(), two.acquire())
            assert await leases(client) - before == {session.lease_id}
            assert {kv.lease for kv in (await client.get_prefix(name)).kvs} == {session.lease_id}
            await session.close()
            assert await leases(client) <= before
            assert not (await client.get_prefix(name)).count

    asyncio.run(run())


def test_a_start_that_is_given_up_does_not_end_another(store: Cluster) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as client:
            session = client.session(30)
            first, second = asyncio.create_task(session.start()), asyncio.create_task(session.start())
            await asyncio.sleep(0)
            first.cancel()
            assert (await second).alive
            with pytest.raises(asyncio.CancelledError):
                await first
            await session.close()

    asyncio.run(run())


def test_a_session_that_is_closed_while_it_starts_is_closed(store: Cluster) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as client:
            before = await leases(client)
            session = client.session(30)
            starting = asyncio.create_task(session.start())
            await asyncio.sleep(0)
            await session.close()
            await asyncio.gather(starting, return_exceptions=True)
            assert not session.alive
            assert await leases(client) <= before

    asyncio.run(run())


def test_a_session_that_is_started_while_it_closes_lives(store: Cluster) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as client, client.session(30) as session:
            before = session.lease_id
            closing = asyncio.create_task(session.close())
            await asyncio.sleep(0)
            await session.start()
            await closing
            assert session.alive
            assert session.lease_id != before
            assert {before, session.lease_id} & await leases(client) == {session.lease_id}

    asyncio.run(run())


def logins_fail(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> list[ClientError]:
    """Let the next calls of the client fail at their login: what is left of the failures."""
    transport, failures = client._transport, list(FOR_A_MOMENT)
    honest = transport.metadata

    async def metadata(*args: object, **options: object) -> Metadata:
        if failures:
            raise failures.pop(0)
        return await honest(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(transport, "metadata", metadata)
    return failures


def test_a_session_outlives_logins_that_fail_for_a_moment(store: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with connect(proxy.endpoint) as client, client.session(12) as session:
            renewals = await renewed(session)
            failures = logins_fail(client, monkeypatch)
            before = renewals.lost_at
            # It is noticed with the next renewal, which is due after a third of the lease's time.
            proxy.cut()
            async with asyncio.timeout(30):
                while session.alive and renewals.lost_at == before:
                    await asyncio.sleep(0.01)
            assert session.alive
            assert not failures

    with CuttingProxy(store.endpoints[0]) as proxy:
        asyncio.run(run())


async def renewed(session: Session):  # type: ignore[no-untyped-def]
    """The renewals of a session once the first one was answered."""
    renewals = session._renewals
    assert renewals is not None
    async with asyncio.timeout(20):
        while not renewals.answered:
            await asyncio.sleep(0.01)
    return renewals


def test_without_a_time_to_live_a_renewal_says_why_it_failed(store: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as client:
            logins_fail(client, monkeypatch)
            with pytest.raises(TimedOut):
                await anext(client.leases.keep_alive(1))

    asyncio.run(run())


def test_a_watch_outlives_logins_that_fail_for_a_moment(
    store: Cluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with connect(proxy.endpoint) as client, client.watch(name) as watch, connect(store.endpoints) as other:
            reader = asyncio.create_task(anext(watch))
            failures = logins_fail(client, monkeypatch)
            proxy.cut()
            async with asyncio.timeout(20):
                while failures and not reader.done():
                    await asyncio.sleep(0.01)
                if not reader.done():
                    await other.put(name, "v")
                assert (await reader).kv.value == b"v"

    with CuttingProxy(store.endpoints[0]) as proxy:
        asyncio.run(run())


def test_a_watch_whose_first_login_fails_says_so(store: Cluster, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as client:
            logins_fail(client, monkeypatch)
            with pytest.raises(TimedOut):
                async with client.watch(name):
                    pass

    asyncio.run(run())


def test_a_renewal_that_was_given_up_leaves_no_answer_behind(new_store: Callable[..., Cluster]) -> None:
    """The answer to it is not taken for that to the next one, which is sent after the lease was revoked."""

    async def run(cluster: Cluster) -> None:
        async with connect(cluster.endpoints) as client, connect(cluster.endpoints) as other:
            lease = (await client.leases.grant(60)).ID
            renewals = client.leases.keep_alive(lease, ttl=60)
            await anext(renewals)
            renewals._due_at = 0
            cluster.pause(0)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(renewals), 0.3)
            cluster.resume(0)
            with contextlib.suppress(LeaseNotFound):
                await other.leases.revoke(lease)
            with pytest.raises(LeaseLost):
                await anext(renewals)
            await renewals.aclose()

    with new_store(members=1) as cluster:
        asyncio.run(run(cluster))
