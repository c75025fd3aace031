"""The hub: every revision's events to every watcher that wants them, from the past through the present.

A watcher is synced (it gets what the store publishes), or on a walk through history, or parked because its sink is
full, or ready to begin a walk. What it is owed is one number, `Watcher.next`; so a slow watcher costs nothing but its
place in a set, and falls back to reading history when its sink drains.

Invariants: each watcher gets exactly the matching events from its start on, ordered, unique, revisions whole; what the
hub holds in memory is bounded by one loop turn's events, however slow the readers are. A watcher whose next revision
was compacted is canceled.

Nothing runs by itself: `publish` notes, `flush` delivers (`hurry`: what few want), `catch_up` reads a bounded slice of
history; `wake` is called when there is work for them. Follows the guarantees of etcd's API documentation: ordered,
unique, reliable, atomic, resumable, bookmarkable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from kvstore.mvcc.types import EventSource, StoredEvent
from kvstore.mvcc.watch_group import GroupSet, Interest, Watcher, WatcherSink
from kvstore.mvcc.watch_recent import RecentEvents
from kvstore.mvcc.watch_walk import Walk

# Bytes that a sink may have waiting before it counts as slow, and that one response or slice may hold.
BUFFER_BOUND = 1 << 20
SLICE_BYTES = 1 << 19
# Bytes of published events that are kept for those who are a little behind.
RECENT_BYTES = 4 << 20
# Watchers whose next revisions are this close share a walk.
WALK_SPAN = 10_000


class WatchRefused(ValueError):
    """The watch cannot be made; the text is etcd's cancel_reason."""


class WatchHub:
    """All watchers of one member; the EventSink of its store."""

    def __init__(
        self,
        source: EventSource | None = None,
        buffer_bound: int = BUFFER_BOUND,
        slice_bytes: int = SLICE_BYTES,
        recent_bytes: int = RECENT_BYTES,
    ) -> None:
        """source: may come later, by bind. buffer_bound: bytes a sink may have waiting.

        slice_bytes: bytes of history or of pending events at a time. recent_bytes: published events kept in memory.
        """
        if source is not None:
            self.bind(source)
        self._bound = buffer_bound
        self._slice_bytes = slice_bytes
        self._synced = GroupSet()
        self._alive = 0  # watchers that have not ended
        self._recent = RecentEvents(recent_bytes)
        self._published = 0  # every synced watcher was offered everything up to here
        self._ready: dict[Watcher, None] = {}
        self._parked: dict[WatcherSink, dict[Watcher, None]] = {}
        self._walks: deque[Walk] = deque()
        self._owed: dict[WatcherSink, tuple[Iterable[Watcher], Watcher | None]] = {}
        self._awake = False
        # Called when flush or catch_up have work, once until they have been called.
        self.wake: Callable[[], None] = _nobody

    def bind(self, source: EventSource) -> None:
        """The store, which needs the hub to be made itself; before the first watch."""
        self._source = source

    # ---- making and ending watches

    def watch(
        self,
        sink: WatcherSink,
        id: int,
        key: bytes,
        end: bytes,
        start_revision: int = 0,
        filters: Iterable[int] = (),
        prev_kv: bool = False,
        fragment: bool = False,
        progress: bool = False,
    ) -> Watcher:
        """Begin a watch; nothing is delivered before this returns.

        end: b"" for the one key, b"\\0" for every key from `key` on. start_revision: 0 for what happens from now on;
        one in the future is waited for. filters: event types to leave out. id, fragment, progress: kept for the sink.
        Raises WatchRefused for an empty range.
        """
        if end and end != b"\0" and key >= end:
            raise WatchRefused("mvcc: watcher range is empty")
        current = self._source.revision
        synced = start_revision == 0 or start_revision > current
        next = max(start_revision, current + 1) if synced else start_revision
        watcher = Watcher(sink, id, Interest(key, end, frozenset(filters), prev_kv), start_revision, next)
        watcher.fragment = fragment
        watcher.progress = progress
        self._alive += 1
        if synced:
            self._sync(watcher)
        else:
            self._make_ready(watcher)
        return watcher

    def cancel(self, watcher: Watcher) -> None:
        """End a watch; nothing is delivered any more. It may have ended already."""
        if watcher.done:
            return
        watcher.done = True
        self._alive -= 1
        if watcher.group is not None:
            watcher.group.owner.discard(watcher)
        self._ready.pop(watcher, None)
        parked = self._parked.get(watcher.sink)
        if parked is not None:
            parked.pop(watcher, None)
            if not parked:
                del self._parked[watcher.sink]

    def forget(self, sink: WatcherSink) -> None:
        """The sink is gone, after its watchers were canceled: it is owed no progress report."""
        self._owed.pop(sink, None)

    # ---- the present

    @property
    def watched(self) -> bool:
        """Whether there are watchers; without any, events need not be published."""
        return self._alive > 0

    def publish(self, main: int, events: list[StoredEvent]) -> None:
        """The store's new events, all of one revision. Hot: next to nothing without watchers."""
        if not self._alive:
            return
        self._published = main
        self._recent.add(main, events)
        synced = self._synced
        if synced.collect(events) or self._owed:
            if synced.size > self._slice_bytes:
                self.flush()
            else:
                self._call_wake()

    def publish_unread(self, main: int, first: bytes, last: bytes | None) -> None:
        """The store's new revision is too large to be handed over: whom it concerns reads it from history, in slices.

        first, last: bounds of its keys, both included; None: no upper bound.
        """
        if not self._alive:
            return
        self._deliver()
        self._published = main
        for group in list(self._synced.groups.values()):
            if group.interest.meets(first, last):
                for watcher in list(group.watchers):
                    self._synced.discard(watcher)
                    watcher.next = max(watcher.next, main)
                    self._make_ready(watcher)

    def hurry(self, most: int) -> None:
        """Deliver what was published and let it leave at once, if no more than so many watchers want it."""
        sinks = self._synced.concerned(most)
        if sinks:
            self._deliver()
            for sink in sinks:
                sink.hasten()

    def flush(self) -> None:
        """Deliver what was published since the last time; the events of several revisions may share a response."""
        self._awake = False
        self._deliver()
        if self._owed:
            self._settle_progress()

    # ---- the past

    def catch_up(self, budget: int = 1000) -> bool:
        """Read one slice of history, of about `budget` events, for one walk; returns whether there is more to do."""
        self._begin_walks()
        if self._walks:
            walk = self._walks.popleft()
            self._expel_compacted(walk)
            if not walk.set.groups:
                pass
            elif walk.step(budget, self._slice_bytes, self._bound, self._fall_behind):
                self._join(walk)
            else:
                self._walks.append(walk)
        if self._owed:
            self._settle_progress()
        return bool(self._walks)

    def drained(self, sink: WatcherSink) -> None:
        """The sink takes bytes again: its parked watchers go on."""
        parked = self._parked.pop(sink, None)
        if parked:
            self._ready.update(parked)
        if parked or sink in self._owed:
            self._call_wake()

    def restored(self) -> None:
        """The store's content was replaced by a snapshot: what was not published must be read from history."""
        # Without progress reports: the store's revision is ahead of what its watchers have had.
        self._deliver()
        for watcher in self._synced.watchers():
            self._synced.discard(watcher)
            watcher.next = max(watcher.next, self._published + 1)
            self._make_ready(watcher)

    # ---- progress

    @property
    def revision(self) -> int:
        """The store's current main revision."""
        return self._source.revision

    def caught_up(self, watcher: Watcher) -> bool:
        """Whether the watcher has had everything up to the current revision; True for one that has ended.

        One that starts in the future is not: clients take a progress report for where to resume from.
        """
        if watcher.done:
            return True
        group, synced = watcher.group, self._synced
        if group is None or group.owner is not synced or synced.dirty:
            return False
        return self._source.revision + 1 >= watcher.start

    def request_progress(self, sink: WatcherSink, watchers: Iterable[Watcher]) -> None:
        """Call sink.progress once all of its watchers have caught up: at once, or when that has come to be.

        watchers: a live view; watchers that are made before the report count too.
        """
        self._owed[sink] = (watchers, None)
        self.flush()

    def _settle_progress(self) -> None:
        for sink, (watchers, blocker) in list(self._owed.items()):
            # The one that was behind the last time is looked at first: asking is cheap however many watchers there are.
            if sink.buffered > self._bound or (blocker is not None and not self.caught_up(blocker)):
                continue
            blocker = next((watcher for watcher in watchers if not self.caught_up(watcher)), None)
            if blocker is None:
                del self._owed[sink]
                sink.progress(self._source.revision)
            else:
                self._owed[sink] = (watchers, blocker)

    # ---- figures

    @property
    def watcher_count(self) -> int:
        """Watches that have not ended."""
        return self._alive

    @property
    def slow_count(self) -> int:
        """Watches that are behind the present."""
        walking = sum(len(group.watchers) for walk in self._walks for group in walk.set.groups.values())
        return walking + len(self._ready) + sum(map(len, self._parked.values()))

    # ---- inside

    def _deliver(self) -> None:
        if self._synced.dirty:
            self._synced.deliver(0, self._bound, self._source.previous_kv, self._fall_behind)

    def _call_wake(self) -> None:
        if not self._awake:
            self._awake = True
            self.wake()

    def _sync(self, watcher: Watcher) -> None:
        self._published = self._source.revision
        self._synced.add(watcher)

    def _make_ready(self, watcher: Watcher) -> None:
        self._ready[watcher] = None
        self._call_wake()

    def _fall_behind(self, watcher: Watcher, revision: int) -> None:
        # The sink is full: the watcher has had everything below `revision` and waits, without a buffer, for drained().
        if watcher.group is not None:
            watcher.group.owner.discard(watcher)
        watcher.next = max(watcher.next, revision)
        self._parked.setdefault(watcher.sink, {})[watcher] = None

    def _begin_walks(self) -> None:
        ready, self._ready = self._ready, {}
        current, compacted = self._source.revision, self._source.compacted_revision
        together: list[Watcher] = []
        for watcher in sorted(ready, key=_next_of):
            if watcher.done:
                continue
            if watcher.sink.buffered > self._bound:
                self._fall_behind(watcher, watcher.next)
            elif watcher.next < compacted:
                self._end_compacted(watcher, compacted)
            elif watcher.next > current:
                self._sync(watcher)
            else:
                if together and watcher.next > together[0].next + WALK_SPAN:
                    self._walks.append(Walk(self._source, self._recent, together))
                    together = []
                together.append(watcher)
        if together:
            self._walks.append(Walk(self._source, self._recent, together))

    def _expel_compacted(self, walk: Walk) -> None:
        compacted = self._source.compacted_revision
        if walk.position >= compacted:
            return
        for watcher in walk.set.watchers():
            if max(watcher.next, walk.position) < compacted:
                walk.leave(watcher)
                self._end_compacted(watcher, compacted)
        walk.position = compacted

    def _end_compacted(self, watcher: Watcher, compacted: int) -> None:
        watcher.done = True
        self._alive -= 1
        watcher.sink.compacted(watcher, compacted)

    def _join(self, walk: Walk) -> None:
        for watcher in walk.set.watchers():
            walk.leave(watcher)
            self._sync(watcher)


def _next_of(watcher: Watcher) -> int:
    return watcher.next


def _nobody() -> None:
    """Nobody is to be woken: flush and catch_up are called anyway."""
