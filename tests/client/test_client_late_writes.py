"""Writes in a line of keys that a member carries out long after they were given up, and releases that failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from harness.cluster import Cluster
from holding_proxy import HoldingProxy

from kvstore.client import AsyncClient, Client, ClientError, connect
from kvstore.client.session import Session

pytestmark = pytest.mark.usefixtures("library")


@contextlib.asynccontextmanager
async def by_two_ways(store: Cluster, proxy: HoldingProxy) -> AsyncIterator[tuple[AsyncClient, Session]]:
    """A client with a session, whose next call goes through the proxy and the second attempt by the other way."""
    endpoints = [proxy.endpoint, store.endpoints[0].replace("127.0.0.1", "localhost")]
    async with connect(endpoints, spread=False, timeout=4) as client, client.session(60) as session:
        for _ in endpoints:
            await client.get("warm")
        turn_to_the_proxy(client)
        yield client, session


def turn_to_the_proxy(client: AsyncClient) -> None:
    for endpoint in client._transport.endpoints:
        endpoint.worked()
    client._transport._turn = 0


async def gone(client: AsyncClient, prefix: str) -> None:
    async with asyncio.timeout(20):
        while (await client.get_prefix(prefix)).count:
            await asyncio.sleep(0.01)


def test_an_entry_that_comes_late_does_not_stay_in_the_line(store: Cluster, name: str) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as other:
            with HoldingProxy(store.endpoints[0]) as proxy:
                async with by_two_ways(store, proxy) as (client, session):
                    lock = client.lock(name, session=session)
                    proxy.hold()
                    await lock.acquire()
                    assert proxy.held == 1
                    await lock.release()
                    await asyncio.to_thread(proxy.release)
                    await gone(other, name + "/")
                    async with asyncio.timeout(20), other.lock(name, ttl=30):
                        pass

    asyncio.run(run())


def test_an_entry_that_was_given_up_does_not_stay_in_the_line(store: Cluster, name: str) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as other:
            with HoldingProxy(store.endpoints[0]) as proxy:
                async with by_two_ways(store, proxy) as (client, session):
                    lock = client.lock(name, session=session)
                    proxy.hold()
                    with pytest.raises(TimeoutError):
                        await lock.acquire(timeout=0.3)
                    assert proxy.held == 1
                    await asyncio.to_thread(proxy.release)
                    await gone(other, name + "/")

    asyncio.run(run())


def test_a_lock_that_is_taken_again_is_not_taken_for_a_late_entry(store: Cluster, name: str) -> None:
    async def run() -> None:
        with HoldingProxy(store.endpoints[0]) as proxy:
            async with by_two_ways(store, proxy) as (client, session):
                lock = client.lock(name, session=session)
                proxy.hold()
                await lock.acquire()
                for _ in range(5):
                    await lock.release()
                    await lock.acquire()
                await asyncio.to_thread(proxy.release)
                found = await client.get(lock.key)
                assert found is not None
                assert found.create_revision == lock.token
                # By another lock of the same session and name, too.
                await lock.release()
                again = await client.lock(name, session=session).acquire()
                assert (await client.txn().when(again.fenced()).commit()).succeeded

    asyncio.run(run())


def test_a_late_proclamation_does_not_bring_an_old_value_back(store: Cluster, name: str) -> None:
    async def run() -> None:
        with HoldingProxy(store.endpoints[0]) as proxy:
            async with by_two_ways(store, proxy) as (client, session):
                election = await client.election(name, session=session).campaign("zero")
                turn_to_the_proxy(client)
                proxy.hold()
                await election.proclaim("one")
                assert proxy.held == 1
                await election.proclaim("two")
                await asyncio.to_thread(proxy.release)
                assert (await election.leader()).value == b"two"
                await election.proclaim("three")
                assert (await election.leader()).value == b"three"

    asyncio.run(run())


def test_a_proclamation_whose_fate_was_unknown_is_followed_by_another(store: Cluster, name: str) -> None:
    """The first one is given up and carried out all the same, so the key is not as we wrote it last."""

    async def run() -> None:
        with HoldingProxy(store.endpoints[0]) as proxy:
            async with by_two_ways(store, proxy) as (client, session):
                election = await client.election(name, session=session).campaign("zero")
                turn_to_the_proxy(client)
                proxy.hold()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(election.proclaim("one"), 0.3)
                await asyncio.to_thread(proxy.release)
                assert (await election.leader()).value == b"one"
                await election.proclaim("two")
                assert (await election.leader()).value == b"two"

    asyncio.run(run())


def test_a_late_change_of_the_lease_changes_nothing(store: Cluster, name: str) -> None:
    async def run() -> None:
        with HoldingProxy(store.endpoints[0]) as proxy:
            async with by_two_ways(store, proxy) as (client, session), client.session(60) as second:
                election = await client.election(name, session=session).campaign("v")
                place = election._place
                turn_to_the_proxy(client)
                proxy.hold()
                await place.move(second)
                assert proxy.held == 1
                await place.move(session)
                await asyncio.to_thread(proxy.release)
                assert (await election.leader()).lease == session.lease_id

    asyncio.run(run())


async def claim(client: AsyncClient, session: Session, name: str, what: str) -> Callable[[], object]:
    """Take the lock or win the election; how to let go of it."""
    if what == "lock":
        return (await client.lock(name, session=session).acquire()).release
    election = await client.election(name, session=session).campaign("v")
    return election.resign


@pytest.mark.parametrize("what", ["lock", "election"])
def test_what_could_not_be_released_can_be_released_again(
    new_store: Callable[..., Cluster], name: str, what: str
) -> None:
    async def run(cluster: Cluster) -> None:
        async with connect(cluster.endpoints, timeout=2) as client, client.session(60) as session:
            release = await claim(client, session, name, what)
            cluster.kill(0)
            with pytest.raises(ClientError):
                await release()  # type: ignore[misc]
            await asyncio.to_thread(cluster.restart, 0)
            await release()  # type: ignore[misc]
            assert not (await client.get_prefix(name + "/")).count

    with new_store(members=1) as cluster:
        asyncio.run(run(cluster))


def test_what_could_not_be_released_goes_by_itself_once_the_store_is_back(
    new_store: Callable[..., Cluster], name: str
) -> None:
    async def run(cluster: Cluster) -> None:
        async with connect(cluster.endpoints, timeout=2) as client, client.session(60) as session:
            async with client.lock(name, session=session):
                cluster.kill(0)
            await asyncio.to_thread(cluster.restart, 0)
            await gone(client, name + "/")

    with new_store(members=1) as cluster:
        asyncio.run(run(cluster))


def test_a_lock_can_be_taken_again_whose_release_failed(new_store: Callable[..., Cluster], name: str) -> None:
    with (
        new_store(members=1) as cluster,
        Client(cluster.endpoints, timeout=2) as client,
        client.session(60) as session,
    ):
        lock = client.lock(name, session=session).acquire()
        before = lock.token
        cluster.kill(0)
        with pytest.raises(ClientError):
            lock.release()
        cluster.restart(0)
        lock.acquire()
        assert lock.token > before
        assert client.txn().when(lock.fenced()).commit().succeeded
        lock.release()
