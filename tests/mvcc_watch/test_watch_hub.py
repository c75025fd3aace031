"""The hub's promises one by one."""

from __future__ import annotations

import pytest
from watch_fakes import ListHistory, Recorder, publish, settle

from kvstore.mvcc.types import DELETE, PUT
from kvstore.mvcc.watch import WatchHub, WatchRefused


@pytest.fixture
def history() -> ListHistory:
    return ListHistory()


@pytest.fixture
def hub(history: ListHistory) -> WatchHub:
    return WatchHub(history, buffer_bound=100)


@pytest.fixture
def sink() -> Recorder:
    return Recorder(bound=100)


def test_nothing_comes_before_a_flush(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    woken: list[int] = []
    hub.wake = lambda: woken.append(1)
    hub.watch(sink, 0, b"a", b"")
    publish(history, hub, (PUT, b"a"))
    publish(history, hub, (PUT, b"a"))
    assert sink.seen() == []
    assert woken == [1]
    hub.flush()
    assert sink.seen() == [(2, b"a"), (3, b"a")]
    assert sink.headers == [3]


def test_no_wake_when_nobody_wants_it(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    hub.watch(sink, 0, b"a", b"")
    hub.wake = lambda: pytest.fail("woken for nothing")
    publish(history, hub, (PUT, b"b"))


def test_ranges(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    hub.watch(sink, 0, b"b", b"")
    hub.watch(sink, 1, b"b", b"c")
    hub.watch(sink, 2, b"b", b"\0")
    for key in (b"a", b"b", b"bb", b"c"):
        publish(history, hub, (PUT, key))
    hub.flush()
    assert [key for _, key in sink.seen(0)] == [b"b"]
    assert [key for _, key in sink.seen(1)] == [b"b", b"bb"]
    assert [key for _, key in sink.seen(2)] == [b"b", b"bb", b"c"]


@pytest.mark.parametrize("end", [b"a", b"A", b"b"])
def test_empty_range_is_refused(hub: WatchHub, sink: Recorder, end: bytes) -> None:
    with pytest.raises(WatchRefused, match=r"^mvcc: watcher range is empty$"):
        hub.watch(sink, 0, b"b", end)
    assert hub.watcher_count == 0


def test_filters_and_previous_values(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    hub.watch(sink, 0, b"a", b"", filters=[PUT], prev_kv=True)
    hub.watch(sink, 1, b"a", b"", filters=[DELETE], prev_kv=True)
    hub.watch(sink, 2, b"a", b"")
    publish(history, hub, (PUT, b"a"))
    publish(history, hub, (PUT, b"a"))
    publish(history, hub, (DELETE, b"a"))
    hub.flush()
    assert [(e.type, e.prev_kv.mod_revision) for e in sink.got[0]] == [(DELETE, 3)]
    assert [(e.type, e.HasField("prev_kv")) for e in sink.got[1]] == [(PUT, False), (PUT, True)]
    assert not any(e.HasField("prev_kv") for e in sink.got[2])


def test_start_in_the_past_reads_history(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    for _ in range(5):
        publish(history, hub, (PUT, b"a"), (PUT, b"b"))
    hub.watch(sink, 0, b"a", b"", start_revision=3)
    publish(history, hub, (PUT, b"a"))
    assert sink.seen() == []
    settle(hub)
    assert sink.seen() == [(n, b"a") for n in range(3, 8)]
    assert set(sink.headers) == {7}, "catch-up responses carry the current revision"
    publish(history, hub, (PUT, b"a"))
    hub.flush()
    assert sink.seen()[-1] == (8, b"a")


def test_future_start_waits_for_it(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    watcher = hub.watch(sink, 0, b"a", b"", start_revision=4)
    for _ in range(4):
        publish(history, hub, (PUT, b"a"))
        hub.flush()
        assert hub.caught_up(watcher) == (history.revision >= 3)
    assert sink.seen() == [(4, b"a"), (5, b"a")]
    publish(history, hub, (PUT, b"a"))
    assert not hub.caught_up(watcher), "an event waits for the flush"


def test_a_new_watch_does_not_see_what_waits_for_others(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    hub.watch(sink, 0, b"a", b"")
    publish(history, hub, (PUT, b"a"))
    hub.watch(sink, 1, b"a", b"")
    hub.flush()
    assert sink.seen(0) == [(2, b"a")]
    assert sink.seen(1) == []


def test_compacted_start_is_canceled(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    for _ in range(9):
        publish(history, hub, (PUT, b"a"))
    history.compact(5)
    hub.watch(sink, 4, b"a", b"", start_revision=4)
    hub.watch(sink, 5, b"a", b"", start_revision=5)
    assert sink.canceled == {}, "created comes first"
    settle(hub)
    assert sink.canceled == {4: 5}
    assert sink.seen(5)[0] == (5, b"a")
    assert hub.watcher_count == 1


def test_compaction_during_a_walk(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    for _ in range(20):
        publish(history, hub, (PUT, b"a"))
    hub.watch(sink, 1, b"a", b"", start_revision=2)
    hub.watch(sink, 2, b"a", b"", start_revision=15)
    assert hub.catch_up(3)
    assert sink.seen(1) == [(2, b"a"), (3, b"a"), (4, b"a")]
    history.compact(10)
    settle(hub)
    assert sink.canceled == {1: 10}
    assert len(sink.seen(1)) == 3
    assert [n for n, _ in sink.seen(2)] == list(range(15, 22))


def test_slow_sink_falls_back_to_history(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    other = Recorder()
    watcher = hub.watch(sink, 0, b"a", b"")
    hub.watch(other, 0, b"a", b"")
    publish(history, hub, (PUT, b"a"))
    hub.flush()
    sink.buffered = 101
    for _ in range(50):
        publish(history, hub, (PUT, b"a"))
        hub.flush()
    assert len(other.seen()) == 51
    assert len(sink.seen()) == 1
    assert hub.slow_count == 1
    assert not hub.caught_up(watcher)
    sink.buffered = 0
    hub.drained(sink)
    settle(hub)
    assert sink.seen() == other.seen()
    assert hub.slow_count == 0


def test_sink_that_fills_up_during_a_walk(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    for _ in range(20):
        publish(history, hub, (PUT, b"a"))
    hub.watch(sink, 0, b"a", b"", start_revision=2)
    hub.catch_up(5)
    sink.buffered = 101
    settle(hub)
    assert len(sink.seen()) == 5
    sink.buffered = 0
    hub.drained(sink)
    settle(hub)
    assert [n for n, _ in sink.seen()] == list(range(2, 22))


def test_compaction_passes_a_slow_watcher(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    hub.watch(sink, 0, b"a", b"")
    sink.buffered = 101
    for _ in range(9):
        publish(history, hub, (PUT, b"a"))
    hub.flush()
    history.compact(7)
    settle(hub)
    assert sink.canceled == {}, "a full sink is not sent even that"
    sink.buffered = 0
    hub.drained(sink)
    settle(hub)
    assert sink.canceled == {0: 7}
    assert sink.seen() == []


def test_one_walk_serves_watchers_at_similar_revisions(history: ListHistory, hub: WatchHub) -> None:
    for _ in range(100):
        publish(history, hub, (PUT, b"a"))
    sinks = [Recorder() for _ in range(50)]
    for n, sink in enumerate(sinks):
        hub.watch(sink, 0, b"a", b"", start_revision=2 + n)
    history.reads = 0
    settle(hub)
    assert history.reads < 200
    for n, sink in enumerate(sinks):
        assert [r for r, _ in sink.seen()] == list(range(2 + n, 102))


def test_equal_watches_share_one_body(history: ListHistory, hub: WatchHub) -> None:
    sinks = [Recorder() for _ in range(3)]
    for sink in sinks:
        hub.watch(sink, 0, b"a", b"b")
    publish(history, hub, (PUT, b"a"), (PUT, b"aa"))
    hub.flush()
    assert sinks[0].batches[0] is sinks[1].batches[0] is sinks[2].batches[0]


def test_different_ranges_share_the_event(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    hub.watch(sink, 0, b"a", b"b")
    hub.watch(sink, 1, b"a", b"c")
    publish(history, hub, (PUT, b"a"))
    hub.flush()
    first, second = sink.batches
    assert first.parts()[0] is second.parts()[0]


def test_a_large_turn_is_delivered_early(history: ListHistory, sink: Recorder) -> None:
    hub = WatchHub(history, slice_bytes=200)
    hub.watch(sink, 0, b"a", b"")
    for _ in range(30):
        publish(history, hub, (PUT, b"a"))
    assert len(sink.seen()) > 20, "what waits for the flush is bounded"


def test_cancel_is_the_end(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    synced = hub.watch(sink, 0, b"a", b"")
    publish(history, hub, (PUT, b"a"))
    ready = hub.watch(sink, 1, b"a", b"", start_revision=2)
    hub.cancel(synced)
    hub.cancel(ready)
    hub.cancel(ready)
    settle(hub)
    assert sink.got == {}
    assert hub.watcher_count == 0


def test_cancel_on_a_walk_and_parked(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    for _ in range(9):
        publish(history, hub, (PUT, b"a"))
    watcher = hub.watch(sink, 0, b"a", b"", start_revision=2)
    hub.catch_up(2)
    hub.cancel(watcher)
    assert not hub.catch_up(2)
    parked = hub.watch(sink, 1, b"a", b"", start_revision=2)
    sink.buffered = 101
    settle(hub)
    assert hub.slow_count == 1
    hub.cancel(parked)
    assert hub.slow_count == 0
    sink.buffered = 0
    hub.drained(sink)
    settle(hub)
    assert len(sink.seen(0)) == 2
    assert 1 not in sink.got


class ClosesItself(Recorder):
    """A sink that cancels all its watches while it is handed the first batch."""

    def __init__(self, hub: WatchHub) -> None:
        super().__init__()
        self.hub = hub
        self.watchers = [hub.watch(self, n, b"a", b"") for n in range(3)]

    def deliver(self, watcher: object, batch: object) -> None:
        for one in self.watchers:
            self.hub.cancel(one)
        self.got[len(self.got)] = []


def test_a_sink_that_closes_during_a_delivery(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    closing = ClosesItself(hub)
    hub.watch(sink, 0, b"a", b"")
    publish(history, hub, (PUT, b"a"))
    hub.flush()
    assert len(closing.got) == 1
    assert sink.seen() == [(2, b"a")]
    assert hub.watcher_count == 1


def test_progress_comes_after_what_it_covers(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    watchers = {0: hub.watch(sink, 0, b"a", b"")}
    publish(history, hub, (PUT, b"a"))
    hub.request_progress(sink, watchers.values())
    assert sink.seen() == [(2, b"a")]
    assert sink.reports == [2]
    publish(history, hub, (PUT, b"a"))
    settle(hub)
    assert sink.reports == [2], "one answer a request"


def test_progress_does_not_overtake_what_waits(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    # Found by test_watch_properties: a slice of catch-up sent the report before the flush sent the event.
    watchers = {0: hub.watch(sink, 0, b"a", b"", start_revision=3)}
    hub.request_progress(sink, watchers.values())
    publish(history, hub, (PUT, b"a"))
    publish(history, hub, (PUT, b"a"))
    hub.catch_up()
    assert sink.reports == []
    hub.flush()
    assert sink.seen() == [(3, b"a")]
    assert sink.reports == [3]


def test_progress_waits_for_the_last_watcher(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    for _ in range(9):
        publish(history, hub, (PUT, b"a"))
    watchers = {0: hub.watch(sink, 0, b"a", b""), 1: hub.watch(sink, 1, b"a", b"", start_revision=2)}
    hub.request_progress(sink, watchers.values())
    hub.catch_up(3)
    assert sink.reports == []
    settle(hub)
    assert sink.reports == [10]


def test_progress_waits_for_a_future_start(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    watchers = {0: hub.watch(sink, 0, b"a", b"", start_revision=4)}
    hub.request_progress(sink, watchers.values())
    publish(history, hub, (PUT, b"other"))
    hub.flush()
    assert sink.reports == []
    publish(history, hub, (PUT, b"other"))
    hub.flush()
    assert sink.reports == [3]


def test_progress_does_not_wait_for_the_canceled(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    watchers = {0: hub.watch(sink, 0, b"a", b"", start_revision=100), 1: hub.watch(sink, 1, b"a", b"")}
    hub.request_progress(sink, watchers.values())
    hub.cancel(watchers[0])
    hub.flush()
    assert sink.reports == [1]


def test_progress_of_a_full_sink_waits(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    woken: list[int] = []
    watchers = {0: hub.watch(sink, 0, b"a", b"")}
    sink.buffered = 101
    hub.request_progress(sink, watchers.values())
    assert sink.reports == []
    sink.buffered = 0
    hub.wake = lambda: woken.append(1)
    hub.drained(sink)
    assert woken
    hub.flush()
    assert sink.reports == [1]


def test_forgotten_sinks_get_no_progress(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    watchers = {0: hub.watch(sink, 0, b"a", b"", start_revision=3)}
    hub.request_progress(sink, watchers.values())
    hub.cancel(watchers[0])
    hub.forget(sink)
    settle(hub)
    assert sink.reports == []


def test_a_snapshot_skips_publishing(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    hub.watch(sink, 0, b"a", b"")
    hub.watch(sink, 1, b"a", b"", start_revision=6)
    publish(history, hub, (PUT, b"a"))
    for _ in range(5):
        history.write([(PUT, b"a")])
    hub.restored()
    settle(hub)
    publish(history, hub, (PUT, b"a"))
    settle(hub)
    assert [n for n, _ in sink.seen(0)] == list(range(2, 9))
    assert [n for n, _ in sink.seen(1)] == list(range(6, 9))


def test_a_snapshot_does_not_answer_progress_requests(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    # Found by test_watch_properties: the report for revision 2 came before its event.
    watchers = {0: hub.watch(sink, 0, b"a", b"", start_revision=3)}
    hub.request_progress(sink, watchers.values())
    history.write([(PUT, b"a")])
    history.write([(PUT, b"a")])
    hub.restored()
    assert sink.reports == []
    settle(hub)
    assert sink.seen() == [(3, b"a")]
    assert sink.reports == [3]


def test_a_snapshot_that_compacted_what_was_missed(history: ListHistory, hub: WatchHub, sink: Recorder) -> None:
    hub.watch(sink, 0, b"a", b"")
    for _ in range(5):
        history.write([(PUT, b"a")])
    history.compact(4)
    hub.restored()
    settle(hub)
    assert sink.canceled == {0: 4}
