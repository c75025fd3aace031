"""Watchers, and the groups that make ten thousand of them on one prefix cost one match.

A Group holds the watchers that want exactly the same: range, filters, prev_kv. A GroupSet holds groups with the index
that finds them by key. The hub has one set for the watchers that are up to date, and each walk through history has one
of its own.

Invariant: a watcher gets every matching event from its `next` revision on, once, in order, whole revisions at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple, Protocol

from kvstore.mvcc.types import StoredEvent
from kvstore.mvcc.watch_batch import Batch, PreviousKv
from kvstore.mvcc.watch_index import RangeIndex


class WatcherSink(Protocol):
    """Where a watcher's responses go: one client stream, or a service of this process. Hashable by identity."""

    @property
    def buffered(self) -> int:
        """Bytes handed over that wait for the reader."""

    def deliver(self, watcher: Watcher, batch: Batch) -> None:
        """Whole revisions of events. Must not call the hub."""

    def compacted(self, watcher: Watcher, revision: int) -> None:
        """The watcher is canceled: what it needed next is compacted, up to `revision`."""

    def progress(self, revision: int) -> None:
        """Every watcher of the sink has had everything up to `revision` (the answer to WatchHub.request_progress)."""

    def hasten(self) -> None:
        """What was delivered is to leave at once. Must not call the hub."""


class Interest(NamedTuple):
    """What a watcher wants.

    end: b"" for the one key, b"\\0" for every key from `key` on. drop: event types left out.
    """

    key: bytes
    end: bytes
    drop: frozenset[int]
    prev_kv: bool

    def meets(self, first: bytes, last: bytes | None) -> bool:
        """Whether a key from `first` to `last`, both included, can be of interest; None: no upper bound."""
        if last is not None and last < self.key:
            return False
        return first <= self.key if not self.end else self.end == b"\0" or first < self.end


class Watcher:
    """One watch of one sink.

    next: no event below this main revision is due to it any more (a lower bound while it is in a group).
    start: the start revision that was asked for, 0 for none. group: None while it waits for a walk or for its sink.
    done: canceled or compacted. quiet: the sink's own, whether nothing went out since the last progress report.
    prefix: the sink's own, what it sends before every batch.
    """

    __slots__ = ("done", "fragment", "group", "id", "interest", "next", "prefix", "progress", "quiet", "sink", "start")

    def __init__(self, sink: WatcherSink, id: int, interest: Interest, start: int, next: int) -> None:
        self.sink = sink
        self.id = id
        self.interest = interest
        self.start = start
        self.next = next
        self.group: Group | None = None
        self.fragment = False
        self.progress = False
        self.done = False
        self.quiet = True
        self.prefix = b""


class Group:
    """Watchers that want the same, and the events that wait to be sent to all of them."""

    __slots__ = ("drop", "interest", "owner", "pending", "watchers")

    def __init__(self, owner: GroupSet, interest: Interest) -> None:
        self.owner = owner
        self.interest = interest
        self.drop = interest.drop
        self.watchers: dict[Watcher, None] = {}
        self.pending: list[StoredEvent] = []


class GroupSet:
    """Groups of watchers by what they want, and what waits for them."""

    __slots__ = ("_dirty", "groups", "index", "size")

    def __init__(self) -> None:
        self.groups: dict[Interest, Group] = {}
        self.index: RangeIndex[Group] = RangeIndex()
        self._dirty: list[Group] = []
        self.size = 0  # bytes of the key-values that wait

    def add(self, watcher: Watcher) -> None:
        """The watcher takes part from now on, with what its `next` allows."""
        group = self.groups.get(watcher.interest)
        if group is None:
            group = self.groups[watcher.interest] = Group(self, watcher.interest)
            self._index(group)
        group.watchers[watcher] = None
        watcher.group = group

    def discard(self, watcher: Watcher) -> None:
        """The watcher takes no part any more."""
        group = watcher.group
        if group is None or group.owner is not self:
            return
        watcher.group = None
        del group.watchers[watcher]
        if not group.watchers:
            del self.groups[group.interest]
            self._unindex(group)

    def watchers(self) -> list[Watcher]:
        """All of them."""
        return [watcher for group in self.groups.values() for watcher in group.watchers]

    @property
    def dirty(self) -> bool:
        """Whether events wait to be delivered."""
        return bool(self._dirty)

    def concerned(self, most: int) -> list[WatcherSink]:
        """Whom what waits goes to, once for each watcher; nobody if that is more than so many watchers."""
        found: list[WatcherSink] = []
        for group in self._dirty:
            if len(found) + len(group.watchers) > most:
                return []
            found += [watcher.sink for watcher in group.watchers]
        return found

    def collect(self, events: list[StoredEvent]) -> bool:
        """Put the events before the groups that want them; returns whether any events wait now.

        Hot: it runs for every event of the store, so the look-up of RangeIndex.match stands here in line.
        """
        index = self.index
        exact, bounds, cover, wide = index.exact, index.bounds, index.cover, index.wide
        for event in events:
            key = event.key
            groups = cover[bisect_right(bounds, key)]
            if key in exact:
                groups = exact[key] + groups
            if wide:
                groups += tuple(group for start, end, group in wide if start <= key and (end is None or key < end))
            for group in groups:
                if event.type not in group.drop:
                    pending = group.pending
                    if not pending:
                        self._dirty.append(group)
                    pending.append(event)
                    self.size += len(event.kv)
        return bool(self._dirty)

    def deliver(self, revision: int, bound: int, previous_kv: PreviousKv, slow: Callable[[Watcher, int], None]) -> None:
        """Hand what waits to the sinks.

        revision: for the responses' headers, 0 for that of the last event. bound: a sink with more bytes buffered gets
        nothing; instead slow(watcher, main revision of the first event that it did not get) is called.
        """
        dirty, self._dirty, self.size = self._dirty, [], 0
        for group in dirty:
            events, group.pending = group.pending, []
            batch = Batch(
                events, revision or events[-1].revision >> 32, previous_kv if group.interest.prev_kv else None
            )
            first = batch.first
            # A copy: a sink that closes takes its watchers out of the group meanwhile.
            for watcher in list(group.watchers):
                sink = watcher.sink
                if watcher.group is not group:
                    continue
                if watcher.next > first:
                    self._deliver_since(watcher, batch, bound, slow)
                elif sink.buffered > bound:
                    slow(watcher, first)
                else:
                    sink.deliver(watcher, batch)

    def _deliver_since(self, watcher: Watcher, batch: Batch, bound: int, slow: Callable[[Watcher, int], None]) -> None:
        late = batch.since(watcher.next)
        if late is None:
            return
        if watcher.sink.buffered > bound:
            slow(watcher, late.first)
        else:
            watcher.sink.deliver(watcher, late)

    def _index(self, group: Group) -> None:
        key, end = group.interest.key, group.interest.end
        if end:
            self.index.add_range(key, None if end == b"\0" else end, group)
        else:
            self.index.add_key(key, group)

    def _unindex(self, group: Group) -> None:
        key, end = group.interest.key, group.interest.end
        if end:
            self.index.remove_range(key, None if end == b"\0" else end, group)
        else:
            self.index.remove_key(key, group)
