"""Random histories, watchers, slow sinks, compactions and snapshots: every watcher sees exactly what it asked for.

Ordered, unique and atomic are checked at every delivery (Recorder.deliver); reliable and filtered at the end, when all
sinks read again: what a watcher got is all that it wanted, or, if it was canceled or compacted, the beginning of it.
"""

from __future__ import annotations

import hypothesis.strategies as st
from harness.plan import examples
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from watch_fakes import ListHistory, Recorder, settle, wanted

from kvstore.mvcc.types import DELETE, PUT
from kvstore.mvcc.watch import WatchHub
from kvstore.mvcc.watch_group import Watcher
from kvstore.pb import etcd_pb2 as pb

BOUND = 1000
KEYS = [b"a", b"aa", b"ab", b"b", b"ba", b"c"]
keys = st.sampled_from(KEYS)
changes = st.lists(
    st.tuples(st.sampled_from([PUT, PUT, DELETE]), keys), min_size=1, max_size=4, unique_by=lambda c: c[1]
)
numbers = st.integers(min_value=0, max_value=30)


class Watches(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.history = ListHistory()
        self.hub = WatchHub(self.history, buffer_bound=BOUND, slice_bytes=300, recent_bytes=150)
        self.sinks = [Recorder(BOUND) for _ in range(3)]
        self.watchers: list[tuple[Watcher, int]] = []  # and the first revision it is owed
        self.by_sink: list[dict[int, Watcher]] = [{}, {}, {}]
        self.canceled: set[Watcher] = set()

    @rule(changes=changes)
    def write(self, changes: list[tuple[int, bytes]]) -> None:
        events = self.history.write(changes)
        if events:
            self.hub.publish(self.history.revision, events)

    @rule(
        sink=st.integers(0, 2),
        key=keys,
        end=st.sampled_from([b"", b"", b"\0", b"b", b"bb", b"d"]),
        back=st.integers(-3, 12),
        filters=st.sampled_from([(), (), (PUT,), (DELETE,)]),
        prev_kv=st.booleans(),
    )
    def watch(self, sink: int, key: bytes, end: bytes, back: int, filters: tuple[int, ...], prev_kv: bool) -> None:
        if end > b"\0" and key >= end:
            return
        start = max(self.history.revision - back, 0) if back else 0
        watcher = self.hub.watch(
            self.sinks[sink], len(self.watchers), key, end, start, filters=filters, prev_kv=prev_kv
        )
        self.watchers.append((watcher, start or self.history.revision + 1))
        self.by_sink[sink][watcher.id] = watcher

    @precondition(lambda self: self.watchers)
    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        watcher, _ = self.watchers[number % len(self.watchers)]
        self.hub.cancel(watcher)
        self.canceled.add(watcher)

    @rule()
    def flush(self) -> None:
        self.hub.flush()

    @rule(budget=st.integers(1, 5))
    def catch_up(self, budget: int) -> None:
        self.hub.catch_up(budget)

    @rule(sink=st.integers(0, 2))
    def stop_reading(self, sink: int) -> None:
        self.sinks[sink].buffered = BOUND + 1

    @rule(sink=st.integers(0, 2))
    def read_again(self, sink: int) -> None:
        self.sinks[sink].buffered = 0
        self.hub.drained(self.sinks[sink])

    @rule(back=st.integers(0, 6))
    def compact(self, back: int) -> None:
        self.history.compact(self.history.revision - back)

    @rule(missed=st.lists(changes, max_size=3), compacted=st.integers(0, 4))
    def install_snapshot(self, missed: list[list[tuple[int, bytes]]], compacted: int) -> None:
        for one in missed:
            self.history.write(one)
        self.history.compact(self.history.revision - compacted)
        self.hub.restored()

    @rule(sink=st.integers(0, 2))
    def ask_progress(self, sink: int) -> None:
        self.hub.request_progress(self.sinks[sink], self.by_sink[sink].values())

    @invariant()
    def what_came_is_the_beginning_of_what_was_wanted(self) -> None:
        for watcher, begin in self.watchers:
            got = self.got(watcher)
            assert got == wanted(self.history, watcher, begin)[: len(got)]

    @invariant()
    def reports_cover_what_came(self) -> None:
        for sink in self.sinks:
            for revision in sink.reports:
                for watcher, begin in self.watchers:
                    if watcher.sink is sink and not watcher.done:
                        due = [e for e in wanted(self.history, watcher, begin) if e.kv.mod_revision <= revision]
                        assert len(self.got(watcher)) >= len(due)
            sink.reports.clear()

    def got(self, watcher: Watcher) -> list[pb.Event]:
        sink = watcher.sink
        assert isinstance(sink, Recorder)
        return sink.got.get(watcher.id, [])

    def teardown(self) -> None:
        for sink in self.sinks:
            sink.buffered = 0
            self.hub.drained(sink)
        settle(self.hub)
        for watcher, begin in self.watchers:
            due, got = wanted(self.history, watcher, begin), self.got(watcher)
            assert isinstance(watcher.sink, Recorder)
            compacted = watcher.sink.canceled.get(watcher.id)
            if compacted is not None:
                assert all(event.kv.mod_revision < compacted for event in got)
            elif watcher not in self.canceled:
                assert got == due
                assert self.hub.caught_up(watcher) == (self.history.revision + 1 >= watcher.start)
        assert self.hub.slow_count == 0


Watches.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None, print_blob=True)
TestWatches = Watches.TestCase
