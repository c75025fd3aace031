"""Elections that last longer than the store keeps history, or than a member of it lives: ends are noticed as before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from harness.cluster import Cluster, ClusterFactory

from control.client import Elector, Leadership
from control.client.election import PREFIX
from control.client.lifeline import Lifeline
from kvstore.client import AsyncClient, Compacted, connect

# Of leases whose end is not to be waited for, and what a crowded machine may take for anything else, in seconds.
LONG, CROWDED = 60, 20.0

CONNECTED: Final = "connected to the leader's process"


@pytest.fixture
def member(new_cluster: ClusterFactory) -> Cluster:
    """A store of one member, which the test may stop."""
    return new_cluster("fluyt", members=1)


def role() -> str:
    return f"role-{os.urandom(6).hex()}"


async def forget_history(store: AsyncClient) -> None:
    """Compact, past all that has happened so far."""
    for _ in range(2):
        now = (await store.put("some-other-key", "x")).header.revision
    await store.compact(now)


async def hear_that_history_is_gone(store: AsyncClient) -> None:
    """Watch from too early on; who did so before us has heard of it when this returns."""
    with pytest.raises(Compacted):
        async with store.watch("some-other-key", start_revision=1) as watch:
            await anext(watch)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(CROWDED):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def first_in_line(store: AsyncClient, name: str) -> AsyncIterator[Lifeline]:
    """A leader of another machine, as far as one sees of it: its key, which no lease ends, and its lifeline."""
    line = Lifeline("127.0.0.1")
    try:
        address = await line.open()
        value = {"host": address.host, "port": address.port, "word": address.word}
        await store.put(f"{PREFIX}{name}/1", json.dumps(value))
        yield line
    finally:
        line.close()


@contextlib.asynccontextmanager
async def candidate(store: AsyncClient, name: str) -> AsyncIterator[asyncio.Task[Leadership]]:
    """Stands for election; the task's result is its first term."""
    async with contextlib.aclosing(Elector(store, name, "two", ttl=LONG).terms()) as terms:  # type: ignore[type-var]

        async def elected() -> Leadership:
            return await anext(terms)

        standing = asyncio.create_task(elected())
        try:
            yield standing
        finally:
            standing.cancel()
            await asyncio.gather(standing, return_exceptions=True)


def counted(monkeypatch: pytest.MonkeyPatch, store: AsyncClient, method: str) -> list[Any]:
    """One item for every call of the store's method from now on."""
    calls, real = list[Any](), getattr(store, method)

    def call(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return real(*args, **options)

    monkeypatch.setattr(store, method, call)
    return calls


@pytest.mark.parametrize("kind", ["fluyt", "etcd-3.4"])
def test_who_stands_after_a_compaction_notices_a_death(
    kind: Any, new_cluster: ClusterFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(cluster: Cluster) -> None:
        async with connect(cluster.endpoints) as store:
            name = role()
            async with first_in_line(store, name) as line:
                await forget_history(store)
                async with candidate(store, name) as standing:
                    await until(lambda: CONNECTED in caplog.text)
                    await hear_that_history_is_gone(store)
                    line.close()
                    assert (await asyncio.wait_for(standing, CROWDED)).valid
        assert caplog.text.count(CONNECTED) == 1

    caplog.set_level("INFO")
    asyncio.run(run(new_cluster(kind, members=1)))


def test_who_sees_the_member_restarted_after_a_compaction_notices_a_death(
    member: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with connect(member.endpoints) as store:
            name, watches = role(), counted(monkeypatch, store, "watch")
            async with first_in_line(store, name) as line, candidate(store, name) as standing:
                await until(lambda: bool(watches) and CONNECTED in caplog.text)
                await forget_history(store)
                watches.clear()
                await asyncio.to_thread(member.restart, 0)
                await until(lambda: bool(watches))
                line.close()
                await asyncio.wait_for(standing, CROWDED)

    caplog.set_level("INFO")
    asyncio.run(run())


def test_a_death_while_the_store_is_away_is_not_forgotten(
    member: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a machine loses its leader and its member together."""

    async def run() -> None:
        async with connect(member.endpoints, timeout=0.5) as store:
            name = role()
            async with first_in_line(store, name) as line, candidate(store, name) as standing:
                await until(lambda: CONNECTED in caplog.text)
                deletions = counted(monkeypatch, store, "txn")
                await asyncio.to_thread(member.kill, 0)
                line.close()
                await until(lambda: len(deletions) > 1)
                await asyncio.to_thread(member.restart, 0)
                await asyncio.wait_for(standing, CROWDED)

    caplog.set_level("INFO")
    asyncio.run(run())


def test_who_stood_for_longer_than_history_is_kept_hears_that_its_key_was_taken(member: Cluster) -> None:
    async def run() -> None:
        async with connect(member.endpoints) as store:
            name = role()
            async with candidate(store, name) as first:
                await first
                async with candidate(store, name) as second:
                    while (await store.get_prefix(f"{PREFIX}{name}/")).count < 2:
                        await asyncio.sleep(0.005)
                    await forget_history(store)
                    await store.delete(first.result().fence.key)
                    term = await asyncio.wait_for(second, CROWDED)
                    await take_away(store, term)

    asyncio.run(run())


def test_who_leads_while_the_member_is_restarted_hears_that_its_key_was_taken(
    member: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with connect(member.endpoints) as store:
            watches = counted(monkeypatch, store, "watch")
            async with candidate(store, role()) as standing:
                term = await asyncio.wait_for(standing, CROWDED)
                await until(lambda: bool(watches))
                await forget_history(store)
                watches.clear()
                await asyncio.to_thread(member.restart, 0)
                await until(lambda: bool(watches))
                await take_away(store, term)

    asyncio.run(run())


async def take_away(store: AsyncClient, term: Leadership) -> None:
    """Delete the leader's key while its lease lives: it must hear of it."""
    await store.delete(term.fence.key)
    await asyncio.wait_for(term.lost.wait(), CROWDED)
    assert not term.valid
