"""Elections: one leader, its values, its succession."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from harness.cluster import Cluster

from kvstore.client import Client, LeaseLost, NoElectionLeader, connect, put
from kvstore.client.watch import Watch


def test_campaign_proclaim_resign(client: Client, name: str) -> None:
    with client.election(name, ttl=30) as election:
        with pytest.raises(NoElectionLeader):
            election.leader()
        with pytest.raises(LeaseLost):
            election.proclaim("not yet")
        election.campaign("one")
        assert election.is_leader
        assert (election.leader().value, election.leader().key) == (b"one", election.key)
        election.proclaim("two")
        assert election.leader().value == b"two"
        assert election.leader().create_revision == election.token
        fence = election.fenced()
        assert client.txn().when(fence).then(put(name + "x")).commit().succeeded
        election.resign()
        assert not election.is_leader
        assert not client.txn().when(fence).then(put(name + "x")).commit().succeeded
        election.campaign("again")
        assert election.leader().value == b"again"
    with pytest.raises(NoElectionLeader):
        client.election(name).leader()


def test_who_leads_may_hang_on_another_lease_than_who_waits(store: Cluster, name: str) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as client:
            leading = client.session(ttl=30)
            async with client.election(name, ttl=600) as election:
                waiting = election.session
                await election.campaign("one", lead_under=leading)
                mine = await election.leader()
                assert (mine.lease, mine.value, mine.create_revision) == (leading.lease_id, b"one", election.token)
                assert election.is_leader
                assert (await client.leases.time_to_live(waiting.lease_id)).TTL == -1, "the candidacy's lease is kept"
                await client.leases.revoke(leading.lease_id)
                await election.wait_lost()
                assert not election.is_leader
            with pytest.raises(NoElectionLeader):
                await client.election(name).leader()

    asyncio.run(run())


def test_a_place_that_is_gone_takes_no_other_lease(store: Cluster, name: str) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as client:
            gone = client.session(ttl=30)
            await gone.start()
            await client.leases.revoke(gone.lease_id)
            election = client.election(name, ttl=30)
            with pytest.raises(LeaseLost):
                await election.campaign("one", lead_under=gone)
            assert not (await client.get_prefix(name + "/")).count, "a candidacy is left"
            assert not election.is_leader
            await election.close()

    asyncio.run(run())


def test_candidates_follow_each_other_in_order(store: Cluster, name: str) -> None:
    async def run() -> list[str]:
        led: list[str] = []
        async with connect(store.endpoints) as client:

            async def stand(who: str) -> None:
                async with client.election(name, ttl=30) as election:
                    await election.campaign(who)
                    led.append(who)

            async with client.election(name, ttl=30) as first:
                await first.campaign("first")
                candidates = []
                for count, who in enumerate("abcd", start=2):
                    candidates.append(asyncio.create_task(stand(who)))
                    while (await client.get_prefix(name + "/")).count < count:
                        await asyncio.sleep(0.01)
                assert led == []
            await asyncio.gather(*candidates)
        return led

    assert asyncio.run(run()) == ["a", "b", "c", "d"]


def test_observers_see_every_leader(store: Cluster, name: str) -> None:
    async def run() -> list[bytes]:
        seen: list[bytes] = []
        async with connect(store.endpoints) as client:

            async def observe() -> None:
                async for answer in client.election(name).observe():
                    seen.append(answer.kvs[0].value)

            async def until(value: bytes) -> None:
                while not seen or seen[-1] != value:
                    await asyncio.sleep(0.01)

            observer = asyncio.create_task(observe())
            for who in (b"one", b"two"):
                async with client.election(name, ttl=30) as election:
                    await election.campaign(who)
                    await asyncio.wait_for(until(who), 10)
                    await election.proclaim(who + b"!")
                    await asyncio.wait_for(until(who + b"!"), 10)
            observer.cancel()
            await asyncio.gather(observer, return_exceptions=True)
        return seen

    assert asyncio.run(run()) == [b"one", b"one!", b"two", b"two!"]


def test_observing_goes_on_after_an_outage(new_store: Callable[..., Cluster], name: str) -> None:
    """The store is away, for longer than a call may take, when the observer wants to hear of the next value."""

    async def run(cluster: Cluster) -> None:
        async with (
            connect(cluster.endpoints) as client,
            connect(cluster.endpoints, timeout=0.5) as other,
            client.election(name, ttl=60) as election,
        ):
            await election.campaign("one")
            observing = other.election(name)
            seen = observing.observe()
            assert (await anext(seen)).kvs[0].value == b"one"
            tries, watch = 0, observing._watches.watch

            def counted(*args: Any, **options: Any) -> Watch:
                nonlocal tries
                tries += 1
                return watch(*args, **options)

            observing._watches.watch = counted  # type: ignore[method-assign]
            cluster.kill(0)
            following = asyncio.ensure_future(anext(seen))
            async with asyncio.timeout(30):
                while tries < 2 and not following.done():
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(cluster.restart, 0)
                await election.proclaim("two")
                assert (await following).kvs[0].value == b"two"
            await seen.aclose()  # type: ignore[attr-defined]

    with new_store(members=1) as cluster:
        asyncio.run(run(cluster))


def test_a_leader_whose_lease_is_gone_knows(client: Client, name: str) -> None:
    with client.session(ttl=3) as session:
        election = client.election(name, session=session)
        election.campaign("v")
        client.leases.revoke(session.lease_id)
        election.wait_lost()
        assert not election.is_leader
        with pytest.raises(LeaseLost):
            election.proclaim("v2")
