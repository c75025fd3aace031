"""Watches: order, exactly once, over restarts, cuts and compaction."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from cutting_proxy import CuttingProxy
from harness.cluster import Cluster
from harness.wait import wait_until

from kvstore.client import Client, ClientError, Compacted, MaybeApplied, NoLeader, TimedOut, Unreachable, connect
from kvstore.pb import etcd_pb2 as pb


def test_events_come_in_order_with_what_they_replaced(client: Client, name: str) -> None:
    with client.watch(name, prefix=True, prev_kv=True) as events:
        client.put(name + "a", "1")
        client.put(name + "a", "2")
        client.delete(name + "a")
        first, second, third = (events.next(5) for _ in range(3))
    assert (first.type, first.kv.value, first.HasField("prev_kv")) == (pb.Event.PUT, b"1", False)
    assert (second.kv.value, second.prev_kv.value) == (b"2", b"1")
    assert (third.type, third.prev_kv.value) == (pb.Event.DELETE, b"2")


def test_a_watch_from_the_past_tells_history(client: Client, name: str) -> None:
    start = client.put(name, "0").header.revision
    for i in range(1, 200):
        client.put(name, str(i))
    with client.watch(name, start_revision=start) as events:
        assert [events.next(5).kv.value for _ in range(200)] == [str(i).encode() for i in range(200)]


def test_kinds_of_events_can_be_left_out(client: Client, name: str) -> None:
    with client.watch(name, ignore=["put"]) as deletes, client.watch(name, ignore=["delete"]) as puts:
        client.put(name, "1")
        client.delete(name)
        client.put(name, "2")
        assert deletes.next(5).type == pb.Event.DELETE
        assert [puts.next(5).kv.value for _ in range(2)] == [b"1", b"2"]
        with pytest.raises(TimeoutError):
            deletes.next(0.1)


def test_a_wait_that_timed_out_loses_nothing(client: Client, name: str) -> None:
    with client.watch(name) as events:
        for i in range(20):
            with pytest.raises(TimeoutError):
                events.next(0.001)
            client.put(name, str(i))
            assert events.next(5).kv.value == str(i).encode()


def test_a_watch_that_was_closed_before_it_began_stays_closed(client: Client, name: str) -> None:
    events = client.watch(name)
    events.close()
    assert list(events) == []


def test_compaction_ends_a_watch_that_is_behind(client: Client, name: str) -> None:
    start = client.put(name, "1").header.revision
    client.put(name, "2")
    last = client.put(name, "3").header.revision
    client.compact(last, physical=True)
    with client.watch(name, start_revision=start) as events:
        with pytest.raises(Compacted) as caught:
            events.next(5)
        assert caught.value.compact_revision == last
        with pytest.raises(Compacted):
            events.next(5)


def test_progress_is_told_on_request(client: Client, name: str) -> None:
    with client.watch(name) as events:
        client.put(name, "1")
        assert events.next(5).kv.value == b"1"
        last = client.put(name + "other", "2").header.revision
        events.request_progress()
        notice = next(events.responses())
    assert (len(notice.events), notice.header.revision >= last) == (0, True)


def test_closing_ends_a_reader_that_waits(client: Client, name: str) -> None:
    events = client.watch(name)
    events.start()
    seen: list[pb.Event] = []
    reader = threading.Thread(target=lambda: seen.extend(events))
    reader.start()
    client.put(name, "1")
    wait_until(lambda: len(seen) == 1, "the event")
    events.close()
    reader.join(5)
    assert not reader.is_alive()


@pytest.mark.usefixtures("library")
def test_a_slow_reader_is_waited_for_and_gets_all(client: Client, name: str) -> None:
    """What a reader does not take stays in the store and on the wire: the client holds a few responses."""
    with client.watch(name) as events:
        for i in range(800):
            client.put(name, f"{i}".ljust(5000))
        inner = events._inner
        assert inner._responses.qsize() <= inner._responses.maxsize
        assert [int(events.next(5).kv.value) for _ in range(800)] == list(range(800))


@pytest.mark.usefixtures("library")
def test_fragments_are_put_together(client: Client, name: str) -> None:
    with client.watch(name, prefix=True, fragment=True) as events:
        big = "x" * 600_000
        for _ in range(6):
            client.put(name + "a", big)
        revisions = [events.next(10).kv.mod_revision for _ in range(6)]
    assert revisions == sorted(set(revisions))


@pytest.mark.usefixtures("library")
def test_cut_connections_lose_and_repeat_nothing(store: Cluster, client: Client, name: str) -> None:
    with CuttingProxy(store.endpoints[0]) as proxy, Client(proxy.endpoint) as watcher:
        with watcher.watch(name) as events:
            for i in range(30):
                if i % 3 == 0:
                    proxy.arm()
                    # Makes the watch's connection carry a request, so that the next event is cut off.
                    events.request_progress()
                client.put(name, str(i))
            assert [int(events.next(10).kv.value) for _ in range(30)] == list(range(30))
        assert proxy.cuts > 1


def test_a_watch_outlives_its_store(new_store: Callable[..., Cluster], name: str) -> None:
    with (
        new_store(members=1) as cluster,
        Client(cluster.endpoints, timeout=20) as client,
        client.watch(name) as events,
    ):
        for round_ in range(3):
            client.put(name, f"{round_}a")
            if round_ == 0:
                assert events.next(10).kv.value == b"0a"
            cluster.kill(0)
            cluster.restart(0)
            client.put(name, f"{round_}b")
        assert [events.next(10).kv.value for _ in range(5)] == [b"0b", b"1a", b"1b", b"2a", b"2b"]


def test_watches_move_when_members_die(new_store: Callable[..., Cluster], name: str) -> None:
    """A writer, a watcher, and every member killed in turn: all acknowledged writes are seen, once and in order."""
    with new_store(members=3) as cluster, Client(cluster.endpoints, timeout=20) as client:
        stop = threading.Event()
        written: list[int] = []

        def write() -> None:
            number = 0
            while not stop.is_set():
                try:
                    client.put(name + str(number), str(number))
                    written.append(number)
                except (MaybeApplied, Unreachable, TimedOut):
                    pass
                number += 1

        with client.watch(name, prefix=True) as events:
            writer = threading.Thread(target=write)
            writer.start()
            for index in range(3):
                goal = len(written) + 30
                wait_until(lambda goal=goal: len(written) >= goal, "writes to go on")
                cluster.kill(index)
                goal = len(written) + 30
                wait_until(lambda goal=goal: len(written) >= goal, "writes without one member")
                cluster.restart(index)
            stop.set()
            writer.join(30)
            end = client.put(name + "end").header.revision
            seen = []
            while (event := events.next(20)).kv.mod_revision < end:
                seen.append(event)
        revisions = [event.kv.mod_revision for event in seen]
        assert revisions == sorted(set(revisions))
        numbers = [int(event.kv.value) for event in seen]
        assert set(written) <= set(numbers)
        # A put that was sent twice would have made a second version.
        assert all(event.kv.version == 1 for event in seen)


def test_a_watch_without_a_store_says_so(name: str) -> None:
    async def run() -> float:
        started = time.monotonic()
        async with connect("127.0.0.1:1", timeout=0.5) as client:
            with pytest.raises(Unreachable):
                await client.watch(name).start()
            with pytest.raises(ClientError):
                async with client.watch(name):
                    raise AssertionError
        return time.monotonic() - started

    assert asyncio.run(run()) < 30


def test_iteration_starts_a_watch_by_itself(store: Cluster, name: str) -> None:
    async def run() -> list[bytes]:
        async with connect(store.endpoints) as client:
            start = (await client.put(name, "1")).header.revision
            await client.put(name, "2")
            seen: list[bytes] = []
            watch = client.watch(name, start_revision=start)
            async for event in watch:
                seen.append(event.kv.value)
                if len(seen) == 2:
                    break
            await watch.aclose()
            return seen

    assert asyncio.run(run()) == [b"1", b"2"]


def test_a_watch_that_no_leader_lets_begin_says_so(new_cluster: Callable[..., Cluster]) -> None:
    with new_cluster(members=1, start=False) as cluster, Client(cluster.endpoints, timeout=0.5) as client:
        # The second one never comes: what was a majority is none any more.
        client.cluster.add(["http://[::1]:1"])
        wait_until(lambda: not client.maintenance.status().leader, "no leader")
        with pytest.raises(NoLeader), client.watch("k"):
            pass


@pytest.mark.parametrize("name", ["timeout", "dial_timeout"])
def test_no_time_at_all_is_refused(name: str) -> None:
    for seconds in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"^{name} must be more than 0 seconds"):
            Client("127.0.0.1:1", **{name: seconds})
