"""Events: counted, merged, limited; and sent in spite of outages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from fake_http_api import FakeApi, pod, serve

from control.client import Client, Config, EventRecorder
from control.client.event_series import COMBINED, EventSeries, Write

POD = {"kind": "Pod", "namespace": "default", "name": "a", "uid": "u"}


def take(series: EventSeries, message: str, now: float = 0.0, **about: Any) -> Write | None:
    return series.take({**POD, **about}, "Normal", "Pulled", message, now)


def test_the_same_again_is_a_higher_count() -> None:
    series = EventSeries("kubelet", "node-1")
    first, second = take(series, "m", 100.0), take(series, "m", 101.0)
    assert first is not None
    assert second is not None
    assert first.patch is None
    assert first.event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "a.174876e800", "namespace": "default"},
        "involvedObject": POD,
        "reason": "Pulled",
        "message": "m",
        "source": {"component": "kubelet", "host": "node-1"},
        "firstTimestamp": "1970-01-01T00:01:40Z",
        "lastTimestamp": "1970-01-01T00:01:40Z",
        "count": 1,
        "type": "Normal",
        "reportingComponent": "kubelet",
        "reportingInstance": "node-1",
    }
    assert second.patch == {"count": 2, "lastTimestamp": "1970-01-01T00:01:41Z", "message": "m"}
    assert (second.name, second.event["count"]) == (first.name, 2)
    other = take(series, "m", 102.0, name="b")
    assert other is not None
    assert other.patch is None


def test_many_similar_ones_become_one() -> None:
    series = EventSeries("x")
    writes = [take(series, f"m{n}", float(n)) for n in range(12)]
    assert [w.patch is None for w in writes if w] == [True] * 10 + [False] * 2
    assert writes[9] is not None
    assert writes[9].event["message"] == COMBINED + "m9"
    assert writes[11] is not None
    assert writes[11].patch == {"count": 3, "lastTimestamp": "1970-01-01T00:00:11Z", "message": COMBINED + "m11"}
    later = take(series, "m99", 700.0)
    assert later is not None
    assert later.event["message"] == "m99"


def test_a_flood_is_cut_per_object() -> None:
    series = EventSeries("x")
    taken = [take(series, "m", 0.0) is not None for _ in range(40)]
    assert taken == [True] * 25 + [False] * 15
    assert take(series, "m", 0.0, name="b") is not None
    assert take(series, "m", 299.0) is None
    assert take(series, "m", 301.0) is not None


def test_memory_is_bounded() -> None:
    series = EventSeries("x")
    for number in range(5000):
        take(series, "m", name=f"p{number}")
    assert len(series._series._values) == len(series._buckets._values) == 4096
    again = take(series, "m", name="p4999")
    assert again is not None
    assert again.patch is not None


def test_long_messages_are_cut() -> None:
    write = take(EventSeries("x"), "ü" * 5000)
    assert write is not None
    assert len(write.event["message"]) == 1024


def test_events_arrive() -> None:
    async def run() -> None:
        async with serve() as api, Client(Config(servers=(api.url,), patience=0.0)) as client:
            clock = iter(range(1, 100))
            async with EventRecorder(client, "x", clock=lambda: float(next(clock))) as events:
                involved = pod("a", metadata={"uid": "u"})
                events.record(involved, "Normal", "Created", "made")
                events.record(involved, "Normal", "Created", "made")
                await sent(api, 2)
                (path,) = [p for p in api.objects if "/events/" in p]
                assert api.objects[path]["count"] == 2
                assert api.objects[path]["involvedObject"]["name"] == "a"
                api.remove(path)
                events.record(involved, "Normal", "Created", "made")
                await sent(api, 4)
                assert api.objects[path]["count"] == 3

    asyncio.run(asyncio.wait_for(run(), 20))


async def sent(api: FakeApi, writes: int) -> None:
    """Wait until so many writes have been tried."""
    while len([r for r in api.requests if r.method != "GET"]) < writes or len(api.bodies) < writes:
        await asyncio.sleep(0.005)


def test_an_outage_is_waited_for_and_a_refusal_is_not() -> None:
    class Sink:
        def __init__(self) -> None:
            from control.api.status import StatusError
            from control.client import Unreachable

            self.answers: Iterator[Exception | None] = iter(
                [
                    Unreachable({"x": "away"}),
                    StatusError(503, "", "later"),
                    None,
                    StatusError(403, "Forbidden", "no"),
                    None,
                ]
            )
            self.created: list[str] = []

        async def create(self, resource: str, obj: dict[str, Any], *, namespace: str = "") -> dict[str, Any]:
            answer = next(self.answers)
            if answer is not None:
                raise answer
            self.created.append(obj["message"])
            return obj

        async def patch(self, *args: Any, **more: Any) -> dict[str, Any]:
            raise AssertionError("nothing was created that could be patched")

    async def run() -> None:
        sink = Sink()
        async with EventRecorder(sink, "x") as events:
            events.record(POD, "Normal", "A", "one")
            events.record(POD, "Normal", "B", "refused")
            while not sink.created:
                await asyncio.sleep(0.005)
            while events._waiting or events._sending:
                await asyncio.sleep(0.005)
            events.record(POD, "Normal", "B", "refused")
        assert sink.created == ["one", "refused"]

    asyncio.run(asyncio.wait_for(run(), 20))
