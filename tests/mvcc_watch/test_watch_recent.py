"""RecentEvents: consecutive, bounded, and all or nothing."""

from __future__ import annotations

from watch_fakes import ListHistory, Recorder, publish, settle

from kvstore.mvcc.types import PUT, StoredEvent, pack
from kvstore.mvcc.watch import WatchHub
from kvstore.mvcc.watch_recent import RecentEvents


def event(main: int, sub: int = 0, size: int = 10) -> StoredEvent:
    return StoredEvent(PUT, b"a", pack(main, sub), b"x" * size, 0)


def held(recent: RecentEvents, start: int, end: int) -> list[int] | None:
    found = recent.since(start, end)
    return None if found is None else [one.revision >> 32 for one in found]


def test_all_or_nothing() -> None:
    recent = RecentEvents(1000)
    assert held(recent, 0, 0) is None
    recent.add(5, [event(5), event(5, 1)])
    recent.add(6, [event(6)])
    recent.add(7, [event(7)])
    assert held(recent, 5, 7) == [5, 5, 6, 7]
    assert held(recent, 6, 6) == [6]
    assert held(recent, 4, 7) is None
    assert held(recent, 5, 8) is None
    assert held(recent, 8, 7) is None


def test_a_gap_begins_anew() -> None:
    recent = RecentEvents(1000)
    recent.add(5, [event(5)])
    recent.add(9, [event(9)])
    assert held(recent, 5, 5) is None
    assert held(recent, 9, 9) == [9]


def test_bounded() -> None:
    recent = RecentEvents(100)
    for main in range(2, 100):
        recent.add(main, [event(main)])
        assert recent._size <= 100
    assert held(recent, 95, 99) == [95, 96, 97, 98, 99]
    assert held(recent, 50, 99) is None
    recent.add(100, [event(100, size=500)])
    assert held(recent, 100, 100) is None, "what is larger than the whole is not kept"
    recent.add(101, [event(101)])
    assert held(recent, 101, 101) == [101]


def test_who_is_a_little_behind_does_not_read_history() -> None:
    history = ListHistory()
    hub = WatchHub(history, buffer_bound=100)
    sink = Recorder(100)
    hub.watch(sink, 0, b"a", b"")
    sink.buffered = 101
    for _ in range(50):
        publish(history, hub, (PUT, b"a"))
        hub.flush()
    sink.buffered = 0
    hub.drained(sink)
    settle(hub)
    assert sink.seen() == [(n, b"a") for n in range(2, 52)]
    assert history.reads == 0
