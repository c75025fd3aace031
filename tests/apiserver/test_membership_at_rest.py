"""What an API server that has nothing to announce asks of the store: nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from control.api.catalogue import BUILTIN
from control.apiserver import membership
from control.apiserver.membership import PREFIX, Membership, endpoints_of, slices_of
from control.apiserver.splice import to_value
from control.apiserver.storage import Stored
from control.apiserver.watch_cache import WatchCache

PLACE = "127.0.0.1:6443"
OBJECTS = {"endpoints": endpoints_of([PLACE]), "endpointslices.discovery.k8s.io": slices_of([PLACE])[0]}


class FakeStore:
    """The client and the storage of a server; every call is told. What is put comes back through the cache."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.client = self
        self.cache: WatchCache | None = None
        self.revision = 100
        # How often the server looked at its cache.
        self.loads = 0

    def session(self, ttl: int) -> Any:
        async def nothing() -> None:
            return None

        return SimpleNamespace(lease_id=7, alive=True, start=nothing, close=nothing)

    async def put(self, key: bytes, value: bytes, *, lease: int) -> None:
        self.calls.append(f"put {key.decode()} {lease}")
        self.revision += 1
        assert self.cache is not None
        self.cache.apply(key, Stored(key, value, self.revision), self.revision)

    def __getattr__(self, name: str) -> Any:
        async def called(*words: Any, **_: Any) -> Any:
            self.calls.append(name)
            return SimpleNamespace(items=[]) if name == "page" else None

        return called


def fake_server(store: FakeStore, caches: dict[str, WatchCache]) -> Any:
    async def load(cache: WatchCache) -> None:
        store.cache, store.loads = cache, store.loads + 1
        if not cache.loaded:
            cache.reload([], 1)

    async def loaded(kind: Any) -> WatchCache:
        return caches[kind.resource]

    return SimpleNamespace(
        settings=SimpleNamespace(advertise_address="127.0.0.1", bind_address="127.0.0.1"),
        port=6443,
        storage=store,
        feed=SimpleNamespace(load=load),
        resources=SimpleNamespace(catalogue=BUILTIN, loaded=loaded, cache_of=lambda kind: caches[kind.resource]),
    )


def cache_of(resource: str, obj: dict[str, Any]) -> WatchCache:
    kind = BUILTIN[resource]
    cache = WatchCache(kind.registry.encode(), True, ())
    value = to_value({"apiVersion": kind.api_version, "kind": kind.name, **obj})
    cache.reload([Stored(cache.key("default", "kubernetes"), value, 5)], 5)
    return cache


def test_a_server_whose_address_is_told_everywhere_leaves_the_store_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(membership, "PERIOD", 0.001)
    asyncio.run(_at_rest())


async def _at_rest() -> None:
    store, caches = FakeStore(), {name: cache_of(name, obj) for name, obj in OBJECTS.items()}
    member = Membership(fake_server(store, caches))
    member.start()
    try:
        async with asyncio.timeout(5):
            while store.loads < 6:
                await asyncio.sleep(0.001)
        assert store.calls == [f"put {PREFIX.decode()}{PLACE} 7"], "its key once, and nothing after that"
        caches["endpoints"].apply(caches["endpoints"].key("default", "kubernetes"), None, 6)
        async with asyncio.timeout(5):
            while "create" not in store.calls:
                await asyncio.sleep(0.001)
    finally:
        await member.close()


def test_a_key_that_was_lost_is_written_again() -> None:
    asyncio.run(_lost_key())


async def _lost_key() -> None:
    store, caches = FakeStore(), {name: cache_of(name, obj) for name, obj in OBJECTS.items()}
    member = Membership(fake_server(store, caches))
    member.start()
    try:
        async with asyncio.timeout(5):
            while not store.calls:
                await asyncio.sleep(0)
            assert store.cache is not None
            key = next(iter(store.cache.objects))
            store.cache.apply(key, None, 200)
            store.revision = 200
            while len(store.calls) < 2:
                await asyncio.sleep(0)
        assert store.calls == [store.calls[0]] * 2
    finally:
        await member.close()


def test_servers_on_different_ports_have_a_slice_each() -> None:
    places = ["10.0.0.1:6443", "10.0.0.2:6443", "127.0.0.1:7001", "fd00::1:6443"]
    found = slices_of(places)
    assert [
        (one["metadata"]["name"], one["ports"][0]["port"], [entry["addresses"] for entry in one["endpoints"]])
        for one in found
    ] == [
        ("kubernetes", 6443, [["10.0.0.1"], ["10.0.0.2"]]),
        ("kubernetes-ipv4-7001", 7001, [["127.0.0.1"]]),
        ("kubernetes-ipv6-6443", 6443, [["fd00::1"]]),
    ]


def test_the_slice_of_a_server_that_is_gone_goes() -> None:
    asyncio.run(_gone())


async def _gone() -> None:
    caches = {name: cache_of(name, obj) for name, obj in OBJECTS.items()}
    slices = caches["endpointslices.discovery.k8s.io"]
    former, foreign = slices_of([PLACE, "127.0.0.1:7001"])[1], slices_of([PLACE])[0]
    foreign["metadata"]["name"] = "kubernetes-mine"
    for revision, obj in enumerate((former, foreign), 6):
        key = slices.key("default", obj["metadata"]["name"])
        value = to_value({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **obj})
        slices.apply(key, Stored(key, value, revision), revision)
    deleted: list[str] = []

    class Objects:
        def __init__(self, server: Any) -> None:
            pass

        async def delete(self, resource: str, namespace: str, name: str) -> None:
            deleted.append(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership, "StoredObjects", Objects)
        await Membership(fake_server(FakeStore(), caches))._reconcile([PREFIX + PLACE.encode()])
    assert deleted == ["kubernetes-ipv4-7001"]
