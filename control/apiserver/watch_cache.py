"""The objects of one resource in memory, kept by the store's watch, with the recent changes for watchers that resume.

Invariants: `objects` is the state of the store at the feed's revision; `changes` holds every change of this resource
after revision `since`, in order; an object in here is never changed, only replaced.
A value that cannot be read (no key decrypts it) is no object: who asks for it by name is told why, others go on.
A watcher that resumes gets what it missed in pieces. Between them it is a place in `changes`, no more: who reads slowly
holds one piece, and hears 410 when its place is forgotten. Lines of whole objects are made once a change and shared.
Faults assumed: the feed may break and be rebuilt at a later revision: `interrupt` ends the watchers and forgets the
changes at once, `reload` replaces everything, so that a watch which resumes from before hears 410 and lists again.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from operator import attrgetter
from typing import Any

from sortedcontainers import SortedDict

from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.cached import Cached, Change, Selection
from control.apiserver.request import Changed
from control.apiserver.splice import with_revision
from control.apiserver.storage import Stored
from control.apiserver.watcher import Watcher, Watchers
from kvstore.client.requests import prefix_end
from kvstore.invariant import invariant

log = logging.getLogger(__name__)

RECENT_CHANGES = 10_000
RECENT_BYTES = 32 << 20
# A piece of what a watcher missed ends, between two revisions, after so many bytes of lines or changes looked at: the
# first bounds what a slow reader holds, the second a turn of the loop (a small pod's row of a Table takes 30 µs).
PIECE_BYTES = 128 << 10
PIECE_CHANGES = 100


class WatchCache:
    """prefix: the keys' beginning, as b"/registry/pods/"; paths: the fields that selectors may name."""

    def __init__(self, prefix: bytes, namespaced: bool, paths: tuple[str, ...], *, retain: bool = False) -> None:
        self.prefix, self.namespaced, self.paths, self.retain = prefix, namespaced, paths, retain
        self.objects: Any = SortedDict()
        # Key → why there is something that is not in `objects`: its value cannot be read.
        self.unreadable: dict[bytes, StatusError] = {}
        self.changes: deque[Change] = deque()
        self.watchers = Watchers()
        # Every change after this revision is in `changes`; -1: nothing was loaded yet.
        self.since = -1
        # The revision it was loaded at, and the last one that changed this resource, as far as is known.
        self.loaded_at = self.changed_at = 0
        self.loaded = False
        self._bytes = 0
        self._subscribers: list[Changed] = []

    # ---- written by the feed ----

    def reload(self, items: Iterable[Stored], revision: int) -> None:
        """Replace everything by what the store holds at `revision`."""
        before = dict(self.objects)
        self.unreadable.clear()
        found = ((item.key, self._cached(item)) for item in items)
        self.objects = SortedDict((key, cached) for key, cached in found if cached is not None)
        self.changed_at = self.loaded_at = revision
        self._forget_changes()
        self.loaded = True
        self.watchers.end_all("the cache was rebuilt")
        for key in before.keys() | self.objects.keys():
            old, new = before.get(key), self.objects.get(key)
            if old is None or new is None or old.revision != new.revision:
                self._tell_subscribers(old, new)

    def interrupt(self) -> None:
        """Changes may be missing from now on, until the next reload: nothing is told any more."""
        self.loaded = False
        self._forget_changes()
        self.watchers.end_all("the store's watch broke")

    def _forget_changes(self) -> None:
        self.changes.clear()
        self._bytes = 0
        self.since = self.changed_at

    def apply(self, key: bytes, stored: Stored | None, revision: int) -> None:
        """One change of the store; None: the key was deleted. Those from before the load are in it already."""
        old = self.objects.get(key)
        if revision <= self.loaded_at:
            return
        self.unreadable.pop(key, None)
        if stored is None and old is None:
            return
        invariant(revision >= self.changed_at, "changes out of order")
        new = self._cached(stored) if stored is not None else None
        if new is None:
            if self.objects.pop(key, None) is None:
                return
        else:
            self.objects[key] = new
        self.changed_at = revision
        change = Change(old, new, revision)
        self._remember(change)
        self.watchers.tell(change)
        self._tell_subscribers(old, new)

    def _remember(self, change: Change) -> None:
        self.changes.append(change)
        self._bytes += change.size
        while len(self.changes) > RECENT_CHANGES or self._bytes > RECENT_BYTES:
            gone = self.changes.popleft()
            self._bytes -= gone.size
            self.since = gone.revision
        if self.changes and self.changes[0].revision == self.since:
            # Several keys changed in one revision: none of it can be told any more.
            self._forget_revision(self.since)

    def _forget_revision(self, revision: int) -> None:
        while self.changes and self.changes[0].revision == revision:
            self._bytes -= self.changes.popleft().size

    def _cached(self, item: Stored) -> Cached | None:
        """None for a value that is no object: somebody else's, or sealed. It must not stop the rest."""
        if item.problem is not None:
            log.error("%s", item.problem)
            self.unreadable[item.key] = item.problem
            return None
        try:
            namespace, name = self.split(item.key)
            data = with_revision(item.value, item.revision)
        except (ValueError, TypeError) as problem:
            log.error("%r holds no object and is passed over: %s", item.key, problem)
            return None
        cached = Cached(item.key, namespace, name, data, item.revision, self.paths)
        if self.retain:
            cached.kept = cached.object()
        return cached

    def _tell_subscribers(self, old: Cached | None, new: Cached | None) -> None:
        for changed in self._subscribers:
            try:
                changed(old.object() if old else None, new.object() if new else None)
            except Exception:  # the others are not to miss it
                log.exception("a subscriber of %s failed on a change", self.prefix.decode())

    # ---- reading ----

    def split(self, key: bytes) -> tuple[str, str]:
        """(namespace, name) of a key."""
        rest = key[len(self.prefix) :].decode()
        namespace, _, name = rest.rpartition("/")
        return namespace, name

    def key(self, namespace: str, name: str) -> bytes:
        """The key of an object."""
        return self.prefix + (f"{namespace}/{name}" if self.namespaced else name).encode()

    def get(self, namespace: str, name: str) -> Cached | None:
        found: Cached | None = self.objects.get(self.key(namespace, name))
        return found

    def snapshot(self, namespace: str = "", after: bytes = b"", limit: int = 0) -> list[Cached]:
        """Objects (of a namespace) in the order of their keys; after: only those behind this key; limit: 0 for all."""
        if not self.objects:
            # Every write asks for the webhooks and quotas there are, and mostly there are none.
            return []
        first, last = self._span(namespace, after)
        if limit:
            last = min(last, first + limit)
        objects = self.objects
        return [objects[key] for key in objects.keys()[first:last]]

    def demand_readable(self, namespace: str, name: str) -> None:
        """StatusError 500: the object is there, but its value cannot be read."""
        problem = self.unreadable.get(self.key(namespace, name)) if self.unreadable else None
        if problem is not None:
            raise problem

    def unreadable_in(self, namespace: str = "") -> list[StatusError]:
        """Why objects (of a namespace) are missing in snapshots; [] nearly always."""
        start = self.prefix + (f"{namespace}/".encode() if namespace and self.namespaced else b"")
        return [problem for key, problem in sorted(self.unreadable.items()) if key.startswith(start)]

    def count(self, namespace: str = "", after: bytes = b"") -> int:
        """How many snapshot() would give."""
        first, last = self._span(namespace, after)
        return last - first

    def _span(self, namespace: str, after: bytes) -> tuple[int, int]:
        """Where in the order of keys the wanted ones begin and end."""
        start = self.prefix + (f"{namespace}/".encode() if namespace and self.namespaced else b"")
        first = self.objects.bisect_right(after) if after >= start else self.objects.bisect_left(start)
        return first, max(first, self.objects.bisect_left(prefix_end(start)))

    def watch(self, watcher: Watcher) -> Callable[[], None] | None:
        """Tell the watcher of every change after its `since`; the result ends that. StatusError 410: too long ago.

        None: it missed much, and has the first piece of that now. Take the piece, then ask again.
        """
        if watcher.since < self.since:
            raise too_old(watcher.since, self.since)
        return self.watchers.add(watcher) if self._recall(watcher) else None

    def _recall(self, watcher: Watcher) -> bool:
        """Give the watcher a piece of what it missed; whether that was the last one, else `since` is moved behind it.

        With the last one it stays where it is: of the newest revision more may be still to come.
        """
        size, before = 0, watcher.since
        for count, change in enumerate(self._after(watcher.since)):
            if change.revision > before and (size >= PIECE_BYTES or count >= PIECE_CHANGES):
                watcher.since = before
                return False
            before = change.revision
            kind = watcher.selection.type_of(change)
            if kind is not None:
                size += watcher.recall(watcher.renderer.render(kind, change))
        return True

    def _after(self, revision: int) -> Iterable[Change]:
        return islice(self.changes, bisect_right(self.changes, revision, key=attrgetter("revision")), None)

    def subscribe(self, changed: Changed) -> None:
        """See request.Caches.subscribe."""
        self._subscribers.append(changed)
        for cached in self.objects.values():
            changed(None, cached.object())

    def select(self, selection: Selection) -> list[Object]:
        """The matching objects, parsed; for the server's own use."""
        return [c.object() for c in self.snapshot(selection.namespace) if selection.matches(c)]


def too_old(asked: int, oldest: int) -> StatusError:
    """410: the changes after that revision are not known any more."""
    return StatusError(410, "Expired", f"too old resource version: {asked} ({oldest})")
