"""The watch cache by value: what watchers hear, what is kept, who is cut."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from control.api.catalogue import BUILTIN
from control.api.fieldselectors import FieldSelector, parse_field_selector
from control.api.selectors import EVERYTHING, parse_label_selector
from control.api.status import StatusError
from control.apiserver import watch_cache
from control.apiserver.cached import Selection
from control.apiserver.feed import prefix_of
from control.apiserver.splice import parse, to_value, with_revision
from control.apiserver.storage import Stored
from control.apiserver.watch_cache import WatchCache
from control.apiserver.watcher import SLICE_WATCHERS, Plain, Watcher, place_of

PREFIX = b"/registry/pods/"
PODS = BUILTIN["pods"]
ALL = Selection("", EVERYTHING, FieldSelector())


def stored(name: str, revision: int, node: str = "", **labels: str) -> Stored:
    metadata = {"name": name, "namespace": "ns", "labels": labels}
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}}
    return Stored(PREFIX + f"ns/{name}".encode(), to_value(obj), revision)


def cache_with(*items: Stored, revision: int = 10) -> WatchCache:
    cache = WatchCache(PREFIX, True, ("spec.nodeName", "status.phase"))
    cache.reload(items, revision)
    return cache


def put(cache: WatchCache, item: Stored) -> None:
    cache.apply(item.key, item, item.revision)


def events(watcher: Watcher) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in watcher.take().splitlines()]
    return [(e["type"], e["object"]["metadata"]["name"], e["object"]["metadata"]["resourceVersion"]) for e in lines]


def watching(cache: WatchCache, since: int, selection: Selection = ALL, limit: int = 1 << 20) -> Watcher:
    watcher = Watcher(selection, Plain(), since, limit)
    cache.watch(watcher)
    return watcher


def test_bytes_carry_their_revision() -> None:
    value = to_value({"spec": {}, "metadata": {"resourceVersion": "5", "name": 'a"metadata":{'}, "kind": "K", "apiVersion": "v1"})  # fmt: skip  # noqa: E501
    assert value.startswith(b'{"apiVersion":"v1","kind":"K","metadata":{"name"')
    assert parse(value, 7)["metadata"] == {"name": 'a"metadata":{', "resourceVersion": "7"}
    assert json.loads(with_revision(value, 7)) == parse(value, 7)


def test_values_that_others_wrote() -> None:
    pretty = b'{ "spec": {"metadata": {"x": 1}}, "kind": "K",\n "metadata": {"name": "a"}, "apiVersion": "v1" }'
    assert json.loads(with_revision(pretty, 7))["metadata"] == {"resourceVersion": "7", "name": "a"}
    good = stored("good", 5)
    cache = cache_with(Stored(PREFIX + b"ns/bad", b"garbage", 4), good)
    assert [c.name for c in cache.snapshot()] == ["good"]
    watcher = watching(cache, 10)
    put(cache, Stored(PREFIX + b"ns/bad", b"[]", 11))
    put(cache, Stored(PREFIX + b"ns/\xff", b"{}", 12))
    put(cache, Stored(good.key, b"null", 13))
    put(cache, stored("good", 14))
    assert events(watcher) == [("DELETED", "good", "13"), ("ADDED", "good", "14")]


def test_changes_are_replayed_and_then_told() -> None:
    cache = cache_with(stored("a", 5))
    put(cache, stored("b", 11))
    put(cache, stored("a", 12, x="y"))
    watcher = watching(cache, 11)
    cache.apply(PREFIX + b"ns/b", None, 13)
    assert events(watcher) == [("MODIFIED", "a", "12"), ("DELETED", "b", "13")]
    assert [c.name for c in cache.snapshot()] == ["a"]


def test_what_was_before_the_load_is_not_told_again() -> None:
    cache = cache_with(stored("a", 5))
    put(cache, stored("a", 4))
    put(cache, stored("b", 10))
    assert [(c.name, c.revision) for c in cache.snapshot()] == [("a", 5)]
    watcher = watching(cache, 20)
    put(cache, stored("b", 15))
    put(cache, stored("b", 21))
    assert events(watcher) == [("MODIFIED", "b", "21")]


def test_the_recent_changes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_cache, "RECENT_CHANGES", 4)
    cache = cache_with()
    for revision in range(11, 21):
        put(cache, stored("a", revision))
    assert [change.revision for change in cache.changes] == [17, 18, 19, 20]
    assert events(watching(cache, 17)) == [("MODIFIED", "a", str(r)) for r in (18, 19, 20)]
    assert len(events(watching(cache, 16))) == 4
    with pytest.raises(StatusError) as refused:
        watching(cache, 15)
    assert refused.value.code == 410


def test_changes_of_one_revision_are_forgotten_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_cache, "RECENT_CHANGES", 2)
    cache = cache_with()
    for name, revision in (("a", 11), ("b", 11), ("c", 12)):
        put(cache, stored(name, revision))
    assert [change.revision for change in cache.changes] == [12]
    with pytest.raises(StatusError):
        watching(cache, 10)


def test_selectors_by_field_and_label() -> None:
    cache = cache_with(stored("a", 5, "n1", app="web"))
    node = watching(cache, 10, Selection("", EVERYTHING, parse_field_selector("spec.nodeName=n1", PODS)))
    none = watching(cache, 10, Selection("", EVERYTHING, parse_field_selector("spec.nodeName=", PODS)))
    web = watching(cache, 10, Selection("ns", parse_label_selector("app=web"), FieldSelector()))
    other = watching(cache, 10, Selection("other", EVERYTHING, FieldSelector()))
    put(cache, stored("b", 11))
    put(cache, stored("b", 12, "n1"))
    put(cache, stored("a", 13, "n1", app="db"))
    put(cache, stored("b", 14, "n2"))
    assert events(node) == [("ADDED", "b", "12"), ("MODIFIED", "a", "13"), ("DELETED", "b", "14")]
    assert events(none) == [("ADDED", "b", "11"), ("DELETED", "b", "12")]
    assert events(web) == [("DELETED", "a", "13")]
    assert events(other) == []


def test_places_of_the_index() -> None:
    fields = parse_field_selector("status.phase!=Failed,spec.nodeName=n1", PODS)
    assert place_of(Selection("ns", EVERYTHING, fields)) == ("spec.nodeName", "n1")
    assert place_of(Selection("ns", EVERYTHING, FieldSelector())) == ("", "ns")
    assert place_of(ALL) == ("", "")


NODES = BUILTIN["nodes"]


@pytest.mark.parametrize(
    ("selector", "place"),
    [
        ("spec.hostNetwork=false", ("", "ns")),
        ("spec.hostNetwork=true", ("spec.hostNetwork", "true")),
        ("spec.hostNetwork=false,spec.nodeName=n1", ("spec.nodeName", "n1")),
        ("spec.nodeName=", ("", "ns")),
    ],
)
def test_a_zero_is_no_place(selector: str, place: tuple[str, str]) -> None:
    assert place_of(Selection("ns", EVERYTHING, parse_field_selector(selector, PODS))) == place


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [
        ("false", [("ADDED", "a", "2"), ("DELETED", "a", "4"), ("ADDED", "a", "5"), ("MODIFIED", "a", "6")]),
        ("true", [("ADDED", "a", "4"), ("DELETED", "a", "5")]),
    ],
)
def test_an_absent_field_is_its_zero(wanted: str, heard: list[tuple[str, str, str]]) -> None:
    cache = WatchCache(b"/registry/minions/", False, NODES.selectable)
    cache.reload([], 1)
    selection = Selection("", EVERYTHING, parse_field_selector(f"spec.unschedulable={wanted}", NODES))
    watcher = watching(cache, 1, selection)
    states: list[dict[str, Any]] = [{}, {"unschedulable": True}, {}, {"unschedulable": False}]
    for revision, spec in zip((2, 4, 5, 6), states, strict=True):
        obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "spec": spec}
        put(cache, Stored(b"/registry/minions/a", to_value(obj), revision))
    assert events(watcher) == heard
    assert events(watching(cache, 1, selection)) == heard


def test_groups_come_and_go() -> None:
    cache = cache_with()
    watchers = [Watcher(Selection("ns", EVERYTHING, FieldSelector()), Plain(), 10) for _ in range(3)]
    removers: list[Callable[[], None]] = [cache.watch(watcher) for watcher in watchers]
    assert len(cache.watchers) == 3
    put(cache, stored("a", 11))
    assert [events(watcher) for watcher in watchers] == [[("ADDED", "a", "11")]] * 3
    for remove in removers:
        remove()
        remove()
    assert len(cache.watchers) == 0
    put(cache, stored("a", 12))
    assert events(watchers[0]) == []


class Connection:
    """A sink that takes bytes only when it may."""

    def __init__(self) -> None:
        self.open = True
        self.aborted = False
        self.data = b""
        self.writes = 0
        self.on_room: Callable[[], None] | None = None

    def write(self, data: bytes) -> bool:
        if self.open:
            self.data += data
            self.writes += 1
        return self.open

    def abort(self) -> None:
        self.aborted = True


async def settled(watcher: Watcher) -> None:
    """Until everything is written, also after a round that the machine made long."""
    while watcher.pacer.busy:
        await asyncio.sleep(0)


def test_slow_watchers_are_cut_and_nobody_else_is() -> None:
    async def scene() -> None:
        cache = cache_with()
        slow, fast = watching(cache, 10, limit=2000), watching(cache, 10, limit=2000)
        stuck, quick = Connection(), Connection()
        slow.attach(stuck)
        fast.attach(quick)
        put(cache, stored("a", 11))
        await settled(fast)
        assert stuck.data.count(b"\n") == 1
        stuck.open = False
        for revision in range(12, 40):
            put(cache, stored("a", revision))
            await settled(fast)
        assert stuck.aborted
        assert slow.overflown
        assert await slow.ended(1)
        assert (quick.data.count(b"\n"), quick.aborted, fast.cut) == (29, False, "")

    asyncio.run(scene())


def test_a_pause_loses_nothing() -> None:
    async def scene() -> None:
        cache = cache_with()
        watcher, connection = watching(cache, 10), Connection()
        watcher.attach(connection)
        connection.open = False
        for revision in (11, 12):
            put(cache, stored("a", revision))
            await settled(watcher)
        connection.open = True
        assert connection.on_room is not None
        connection.on_room()
        put(cache, stored("a", 13))
        await settled(watcher)
        found = [json.loads(line)["object"]["metadata"]["resourceVersion"] for line in connection.data.splitlines()]
        assert found == ["11", "12", "13"]
        watcher.detach()
        put(cache, stored("a", 14))
        await settled(watcher)
        assert events(watcher) == [("MODIFIED", "a", "14")]

    asyncio.run(scene())


def test_what_comes_while_many_are_written_to_leaves_together() -> None:
    async def scene() -> None:
        cache = cache_with()
        watchers = [watching(cache, 10) for _ in range(3 * SLICE_WATCHERS)]
        connections = [Connection() for _ in watchers]
        for watcher, connection in zip(watchers, connections, strict=True):
            watcher.attach(connection)
        put(cache, stored("a", 11))
        await asyncio.sleep(0)
        written = [connection.writes for connection in connections]
        assert sum(written) == SLICE_WATCHERS, "one turn of the loop writes to a slice"
        for revision in range(12, 20):
            put(cache, stored("a", revision))
        await settled(watchers[0])
        assert {connection.writes for connection in connections} <= {1, 2}
        assert {connection.data for connection in connections} == {connections[0].data}
        found = [json.loads(line)["object"]["metadata"]["resourceVersion"] for line in connections[0].data.splitlines()]
        assert found == [str(revision) for revision in range(11, 20)]

    asyncio.run(scene())


def test_a_long_round_is_followed_by_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        cache = cache_with()
        watcher, connection = watching(cache, 10), Connection()
        watcher.attach(connection)
        clock = iter((0.0, 0.02))
        monkeypatch.setattr("control.apiserver.watcher.time.perf_counter", lambda: next(clock, 0.02))
        began = time.monotonic()
        put(cache, stored("a", 11))
        await asyncio.sleep(0)
        put(cache, stored("a", 12))
        assert connection.writes == 1
        await settled(watcher)
        assert connection.writes == 2
        assert time.monotonic() - began >= 0.02

    asyncio.run(scene())


def test_a_rebuild_ends_watchers_and_tells_subscribers_the_difference() -> None:
    cache = cache_with(stored("gone", 5), stored("same", 6), stored("new", 7))
    told: list[Any] = []
    cache.subscribe(lambda old, new: told.append((old and old["metadata"], new and new["metadata"])))
    assert len(told) == 3
    told.clear()
    watcher = watching(cache, 10)
    cache.reload([stored("same", 6), stored("new", 20), stored("fresh", 21)], 25)
    assert watcher.cut
    assert sorted(((old or {}).get("name"), (new or {}).get("name")) for old, new in told if old and new) == [
        ("new", "new")
    ]
    assert [old["name"] for old, new in told if new is None] == ["gone"]
    assert [new["name"] for old, new in told if old is None] == ["fresh"]
    with pytest.raises(StatusError):
        watching(cache, 12)


def test_pages() -> None:
    cache = cache_with(*(stored(name, 5) for name in "abcd"))
    assert [c.name for c in cache.snapshot("ns", PREFIX + b"ns/b")] == ["c", "d"]
    assert [c.name for c in cache.snapshot("", PREFIX + b"ns/b")] == ["c", "d"]
    assert cache.snapshot("n") == []
    assert cache.get("ns", "a") is not None


def test_prefixes_of_keys() -> None:
    assert prefix_of(b"/registry/pods/ns/a") == PREFIX
    assert prefix_of(b"/registry/nodes/n1") == b"/registry/nodes/"
    assert prefix_of(b"/registry/example.com/things/ns/a") == b"/registry/example.com/things/"
    assert prefix_of(b"/registry/odd") == b""


def test_deletions_count_with_what_they_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_cache, "RECENT_BYTES", 50_000)
    large = [stored(f"p{number}", number + 1, note="x" * 10_000) for number in range(10)]
    cache = cache_with(*large)
    for number, item in enumerate(large):
        cache.apply(item.key, None, 11 + number)
    assert len(cache.changes) == 4
