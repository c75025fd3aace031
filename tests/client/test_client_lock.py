"""Locks: one holder at a time, fences that hold, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from harness.cluster import Cluster

from kvstore.client import AsyncClient, Client, LeaseLost, MaybeApplied, connect, put


def test_a_lock_is_a_key_that_is_gone_afterwards(client: Client, name: str) -> None:
    with client.lock(name + "l", ttl=30) as lock:
        assert lock.held
        found = client.get_prefix(name + "l/").kvs
        assert [(kv.key, kv.create_revision) for kv in found] == [(lock.key, lock.token)]
        assert found[0].key.decode().startswith(f"{name}l/")
        assert client.txn().when(lock.fenced()).then(put(name + "x")).commit().succeeded
        fence = lock.fenced()
    assert not lock.held
    assert client.get_prefix(name + "l/").count == 0
    assert not client.txn().when(fence).then(put(name + "x")).commit().succeeded
    with pytest.raises(LeaseLost):
        lock.fenced()


def test_a_lock_can_be_taken_again(client: Client, name: str) -> None:
    with client.session(ttl=30) as session:
        lock = client.lock(name, session=session)
        tokens = []
        for _ in range(3):
            with lock:
                tokens.append(lock.token)
        assert tokens == sorted(set(tokens))


def test_a_lock_with_a_session_of_its_own_can_be_taken_again(client: Client, name: str) -> None:
    lock = client.lock(name, ttl=30)
    for _ in range(2):
        with lock:
            assert lock.held
        assert not lock.held
    assert client.get_prefix(name).count == 0


def test_a_session_that_is_gone_gets_no_lock(client: Client, name: str) -> None:
    with client.session(ttl=30) as session:
        client.leases.revoke(session.lease_id)
        with pytest.raises(LeaseLost):
            client.lock(name, session=session).acquire()


def test_one_holder_at_a_time_with_growing_tokens(store: Cluster, name: str) -> None:
    async def run() -> tuple[int, list[int]]:
        inside, most, tokens = 0, 0, list[int]()

        async def work(client: AsyncClient) -> None:
            nonlocal inside, most
            for _ in range(4):
                async with client.lock(name, ttl=30) as lock:
                    inside += 1
                    most = max(most, inside)
                    tokens.append(lock.token)
                    await client.put(name + "work")
                    inside -= 1

        async with connect(store.endpoints) as one, connect(store.endpoints) as two:
            await asyncio.gather(*(work(client) for client in (one, two) for _ in range(4)))
        return most, tokens

    most, tokens = asyncio.run(run())
    assert most == 1
    assert len(tokens) == 32
    assert tokens == sorted(set(tokens))


def test_waiting_ends_in_time_and_leaves_nothing(client: Client, name: str) -> None:
    with client.lock(name, ttl=30):
        other = client.lock(name, ttl=30)
        with pytest.raises(TimeoutError):
            other.acquire(timeout=0.3)
        assert not other.held
        assert client.get_prefix(name + "/").count == 1
    with client.lock(name, ttl=30).acquire(timeout=5) as again:
        assert again.held


def test_a_cancelled_waiter_leaves_the_line(store: Cluster, name: str) -> None:
    async def run() -> int:
        async with connect(store.endpoints) as client, client.lock(name, ttl=30):
            waiting = asyncio.create_task(client.lock(name, ttl=30).acquire())
            while (await client.get_prefix(name + "/")).count < 2:
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return (await client.get_prefix(name + "/")).count

    assert asyncio.run(run()) == 1


def test_a_lost_lease_is_a_lost_lock(client: Client, name: str) -> None:
    with client.session(ttl=3) as session:
        lock = client.lock(name, session=session).acquire()
        fence = lock.fenced()
        client.leases.revoke(session.lease_id)
        lock.wait_lost()
        assert not lock.held
        assert not client.txn().when(fence).then(put(name + "late")).commit().succeeded
        with client.lock(name, ttl=30) as next_one:
            assert next_one.token > 0


def test_a_waiter_whose_lease_is_lost_is_told(store: Cluster, name: str) -> None:
    async def run() -> None:
        async with connect(store.endpoints) as client, client.lock(name, ttl=30):
            session = await client.session(2).start()
            waiting = asyncio.create_task(client.lock(name, session=session).acquire())
            while (await client.get_prefix(name + "/")).count < 2:
                await asyncio.sleep(0.01)
            await client.leases.revoke(session.lease_id)
            with pytest.raises(LeaseLost):
                await asyncio.wait_for(waiting, 10)

    asyncio.run(run())


def test_a_paused_holder_cannot_write(new_store: Callable[..., Cluster], name: str) -> None:
    """The holder does not renew (as if it was paused); another takes over; the first one's fence fails."""
    with new_store(members=1) as cluster, Client(cluster.endpoints, timeout=15) as client:
        paused = client.session(ttl=2)
        paused.start()
        first = client.lock(name, session=paused).acquire()
        fence, token = first.fenced(), first.token
        paused._inner._task.cancel()  # type: ignore[union-attr]
        with client.lock(name, ttl=30).acquire(timeout=30) as second:
            assert second.token > token
            assert not first.held
            assert not client.txn().when(fence).then(put(name + "x", "stale")).commit().succeeded
            assert client.txn().when(second.fenced()).then(put(name + "x", "fresh")).commit().succeeded


def test_locks_hold_through_the_death_of_the_leader(new_store: Callable[..., Cluster], name: str) -> None:
    with new_store(members=3) as cluster:

        async def run() -> tuple[int, int]:
            inside, most, done = 0, 0, 0

            async def work(client: AsyncClient) -> None:
                nonlocal inside, most, done
                for _ in range(5):
                    async with client.lock(name, ttl=30):
                        inside += 1
                        most = max(most, inside)
                        with contextlib.suppress(MaybeApplied):
                            await client.put(name + "work")
                        inside -= 1
                        done += 1

            async with connect(cluster.endpoints, timeout=15) as client:
                workers = [asyncio.create_task(work(client)) for _ in range(6)]
                while done < 8:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(lambda: cluster.kill(cluster.leader()))
                await asyncio.gather(*workers)
            return most, done

        assert asyncio.run(run()) == (1, 30)
