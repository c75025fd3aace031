"""Watches and informers: everything once, in order, whatever breaks."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web
from fake_http_api import FakeApi, path_of, pod, serve

from control.api.status import StatusError
from control.client import Client, Config, Informer, Unreachable, WatchEvent, informer
from control.client.bodies import WatchDecoder
from control.client.objects import ObjectStore, key_of


def with_api(body: Callable[[FakeApi, Client], Awaitable[Any]]) -> None:
    async def run() -> None:
        async with serve() as api, Client(Config(servers=(api.url,), patience=0.2)) as client:
            await body(api, client)

    asyncio.run(asyncio.wait_for(run(), 20))


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it holds; the test's own time limit ends it otherwise."""
    while not condition():
        await asyncio.sleep(0.005)


def test_events_come_out_however_bytes_are_cut(seed: int) -> None:
    events = [
        {"type": "ADDED", "object": {"metadata": {"name": f"ü{n}", "resourceVersion": str(n)}}} for n in range(50)
    ]
    data = b"".join(json.dumps(e, ensure_ascii=False).encode() + b"\n" for e in events) + b"\n"
    chance = random.Random(seed)
    decoder, found = WatchDecoder(), list[WatchEvent]()
    while data:
        size = chance.randint(1, 120)
        found += decoder.feed(data[:size])
        data = data[size:]
    assert [(e.type, e.object) for e in found] == [(e["type"], e["object"]) for e in events]
    assert found[7].resource_version == "7"


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"type":1,"object":{}}', b'{"type":"ADDED"}', b"\xff"])
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        WatchDecoder().feed(line + b"\n")


def test_a_line_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control.client.bodies._LONGEST_LINE", 100)
    decoder = WatchDecoder()
    with pytest.raises(ValueError, match="longer than 100"):
        for _ in range(11):
            decoder.feed(b'"aaaaaaaaa')


def test_a_watch_survives_broken_connections() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.put(path_of("a"), pod("a"))
        start = str(api.revision)
        seen: list[str] = []

        async def follow() -> None:
            async with aclosing(client.watch("pods", "default", resource_version=start)) as events:  # type: ignore[type-var]
                async for event in events:
                    seen.append(event.object["metadata"]["name"])

        task = asyncio.create_task(follow())
        for number in range(20):
            api.put(path_of(f"p{number}"), pod(f"p{number}"))
            await until(lambda expected=number: len(seen) > expected)
            if number % 5 == 0:
                api.cut_watches()
        task.cancel()
        assert seen == [f"p{number}" for number in range(20)]

    with_api(body)


def test_a_watch_from_nowhere_does_not_resume() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.put(path_of("a"), pod("a"))
        events = client.watch("pods", "default", resource_version="")
        assert (await anext(events)).type == "ADDED"
        api.cut_watches()
        with pytest.raises(Unreachable):
            await anext(events)

    with_api(body)


def test_history_that_is_gone_is_told() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.put(path_of("a"), pod("a"))
        api.forget()
        with pytest.raises(StatusError) as caught:
            await anext(client.watch("pods", resource_version="1"))
        assert caught.value.code == 410

        async def gone_in_stream(request: web.Request) -> web.Response:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            return web.Response(body=json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")

        api.faults.append(gone_in_stream)
        with pytest.raises(StatusError) as caught:
            await anext(client.watch("pods", resource_version="9"))
        assert (caught.value.code, caught.value.reason) == (410, "Expired")

    with_api(body)


def test_an_informer_follows() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        for number in range(3):
            api.put(path_of(f"p{number}"), pod(f"p{number}", spec={"nodeName": "n1"}))
        told: list[tuple[str, str]] = []
        informer = Informer(client, "pods", indexes={"node": lambda p: [p["spec"]["nodeName"]]})
        informer.subscribe(lambda old, new: told.append((name(old), name(new))))
        assert not informer.has_synced
        async with informer as pods:
            assert pods.has_synced
            assert sorted(pods.objects) == [("default", f"p{n}") for n in range(3)]
            assert pods.get("p0", "default")["kind"] == "Pod"  # type: ignore[index]
            api.put(path_of("p1"), pod("p1", spec={"nodeName": "n2"}))
            api.remove(path_of("p0"))
            await until(lambda: len(told) == 5)
            assert told == [("", "p0"), ("", "p1"), ("", "p2"), ("p1", "p1"), ("p0", "")]
            assert [name(p) for p in pods.by_index("node", "n1")] == ["p2"]
            assert [name(p) for p in pods.by_index("node", "n2")] == ["p1"]
            assert sorted(pods.index_keys("node")) == ["n1", "n2"]
            late: list[str] = []
            end = pods.subscribe(lambda old, new: late.append(name(new)))
            assert late == ["p2", "p1"] or late == ["p1", "p2"]
            end()

    with_api(body)


def name(obj: dict[str, Any] | None) -> str:
    return obj["metadata"]["name"] if obj else ""


def test_an_informer_lists_again_when_history_is_gone() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.put(path_of("a"), pod("a"))
        api.put(path_of("b"), pod("b"))
        told: list[tuple[str, str]] = []
        async with Informer(client, "pods", jitter=lambda: 0.0) as pods:
            await until(lambda: any(r.query.get("watch") for r in api.requests))
            pods.subscribe(lambda old, new: told.append((name(old), name(new))))
            del told[:]

            async def away(request: web.Request) -> None:
                api.remove(path_of("a"))
                api.put(path_of("b"), pod("b", metadata={"uid": "another"}))
                api.put(path_of("c"), pod("c"))
                api.forget()

            api.faults.append(away)
            api.cut_watches()
            await until(lambda: len(told) == 4)
            assert told == [("a", ""), ("b", ""), ("", "b"), ("", "c")]
            assert sorted(pods.objects) == [("default", "b"), ("default", "c")]

    with_api(body)


def test_lists_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control.client.informer._PAGE", 2)

    async def body(api: FakeApi, client: Client) -> None:
        for number in range(5):
            api.put(path_of(f"p{number}"), pod(f"p{number}"))
        async with Informer(client, "pods") as pods:
            assert len(pods.objects) == 5
        lists = [r for r in api.requests if not r.query.get("watch")]
        assert [r.query.get("continue") for r in lists] == [None, "2", "4"]

    with_api(body)


def test_a_page_that_expired_is_fetched_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control.client.informer._PAGE", 2)

    async def body(api: FakeApi, client: Client) -> None:
        for number in range(5):
            api.put(path_of(f"p{number}"), pod(f"p{number}"))

        async def fine(request: web.Request) -> None:
            return None

        async def expired(request: web.Request) -> web.Response:
            return web.json_response({"kind": "Status", "code": 410}, status=410)

        api.faults += [fine, expired]
        async with Informer(client, "pods") as pods:
            assert len(pods.objects) == 5

    with_api(body)


def test_starting_waits_for_the_servers_but_not_for_what_is_never_there() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        async def down(request: web.Request) -> web.Response:
            return web.Response(status=500)

        async def unknown(request: web.Request) -> web.Response:
            return web.Response(status=404)

        api.put(path_of("a"), pod("a"))
        api.faults += [down, down]
        async with Informer(client, "pods", jitter=lambda: 0.0) as pods:
            assert len(pods.objects) == 1
        api.faults.append(unknown)
        refused = Informer(client, "pods")
        with pytest.raises(StatusError) as caught:
            await refused.start()
        assert caught.value.code == 404
        assert not refused.has_synced

    with_api(body)


def test_a_long_outage_is_noticed_to_be_over_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it failed, an informer looks again soon; and once it had a view, quickly."""
    waits: list[float] = []

    class Away:
        left = 12

        async def list(self, resource: str, namespace: str = "", **options: Any) -> dict[str, Any]:
            if self.left:
                self.left -= 1
                raise Unreachable({"server": "down"})
            return {"metadata": {"resourceVersion": "1"}, "items": []}

        async def watch(self, resource: str, namespace: str = "", **options: Any) -> AsyncIterator[WatchEvent]:
            now[0] += 60
            self.left = 1
            raise StatusError(410, "Expired", "too old")
            yield

    async def body() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: real() + now[0])
        async with Informer(Away(), "pods", jitter=lambda: 0.999) as pods:
            while len(waits) < 14:
                await asyncio.sleep(0)
            assert pods.has_synced

    async def wait(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await pause(0)

    now, real, pause = [0.0], time.monotonic, asyncio.sleep
    monkeypatch.setattr(informer.asyncio, "sleep", wait)
    asyncio.run(body())
    assert 0.9 < max(waits) <= 1.0
    assert waits[:12] == sorted(waits[:12])
    assert waits[12] < 0.06, "the view was there, so it begins again with short waits, the revision be what it is"


def test_after_an_outage_the_watch_goes_on_and_nobody_lists_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute without any server: an informer looks about once a second, and goes on from its revision; when history
    is gone, and only then, it lists.
    """
    calls: list[str] = []
    waits: list[float] = []

    class Away:
        async def list(self, resource: str, namespace: str = "", **options: Any) -> dict[str, Any]:
            calls.append("list")
            return {"metadata": {"resourceVersion": str(len(calls))}, "items": []}

        async def watch(self, resource: str, namespace: str = "", **options: Any) -> AsyncIterator[WatchEvent]:
            calls.append(f"watch {options['resource_version']}")
            if len(calls) == 2:
                yield WatchEvent("ADDED", {"metadata": {"name": "a", "namespace": "default", "resourceVersion": "7"}})
            if len(calls) == 12:
                raise StatusError(410, "Expired", "too old")
            raise Unreachable({"server": "down"})

    async def body() -> None:
        async with Informer(Away(), "pods", jitter=lambda: 0.999):
            while len(calls) < 14:
                await asyncio.sleep(0)

    async def wait(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await pause(0)

    pause = asyncio.sleep
    monkeypatch.setattr(informer.asyncio, "sleep", wait)
    asyncio.run(body())
    assert calls[:14] == ["list", "watch 1", *["watch 7"] * 10, "list", "watch 13"]
    assert 0.9 < max(waits[:10]) <= 1.0


def test_a_subscriber_s_mistake_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    async def body(api: FakeApi, client: Client) -> None:
        seen: list[str] = []
        informer = Informer(client, "pods", transform=lambda obj: {**obj, "seen": True})

        def wrong(old: Any, new: Any) -> None:
            raise RuntimeError("mine")

        informer.subscribe(wrong)
        informer.subscribe(lambda old, new: seen.append(name(new)))
        async with informer as pods:
            api.put(path_of("a"), pod("a"))
            await until(lambda: seen)
            assert pods.objects["default", "a"]["seen"]

    with_api(body)
    assert "a subscriber failed" in caplog.text


def test_resync_tells_everything_again() -> None:
    async def body(api: FakeApi, client: Client) -> None:
        api.put(path_of("a"), pod("a"))
        told: list[bool] = []
        informer = Informer(client, "pods", resync=0.01)
        informer.subscribe(lambda old, new: told.append(old is new))
        async with informer:
            await until(lambda: told.count(True) >= 2)

    with_api(body)


def test_the_store_s_indexes_always_say_what_is_there(seed: int) -> None:
    chance = random.Random(seed)
    store = ObjectStore({"node": lambda obj: obj["nodes"]})
    told: dict[tuple[str, str], Any] = {}

    def take(change: Any) -> None:
        old, new = change
        if new is None:
            told.pop(key_of(old))
        else:
            told[key_of(new)] = new

    def any_object() -> dict[str, Any]:
        metadata = {
            "name": chance.choice("abcde"),
            "resourceVersion": str(chance.randrange(9)),
            "uid": chance.choice("xy"),
        }
        return {"metadata": metadata, "nodes": chance.sample("123", chance.randrange(3))}

    for _ in range(500):
        action = chance.randrange(4)
        if action == 0:
            for change in store.replace([any_object() for _ in range(chance.randrange(5))]):
                take(change)
        else:
            change = store.remove(any_object()) if action == 1 else store.put(any_object())
            if change:
                take(change)
        assert told == store.objects
        for node in "123":
            expected = [obj for obj in store.objects.values() if node in obj["nodes"]]
            assert sorted(map(key_of, store.by_index("node", node))) == sorted(map(key_of, expected))
        assert sorted(store.keys_of("node")) == sorted({n for obj in store.objects.values() for n in obj["nodes"]})
