"""Watchers of a cache, grouped so that what they have in common is done once.

A group is all watchers with the same selection and the same way of rendering; a change is matched and rendered once a
group. Groups are found by an index: one field with a fixed value (a node agent's spec.nodeName), else a namespace.

Invariants: a watcher hears every change of its selection after its start, in order, or it is cut: it never misses one
in between. A watcher's unsent bytes are bounded; who reads too slowly is cut off, and resumes from where it
was if the recent changes still reach back to there (watch_cache: what it missed is no reason to cut it again).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol

from control.apiserver.cached import Change, EventType, Selection

log = logging.getLogger(__name__)

BUFFER_BYTES = 4 << 20
# Watchers written to in one turn of the loop: each costs some 20 µs, most of it a TLS record and its system call.
SLICE_WATCHERS = 100
# Seconds: a round of writes that took longer is followed by a pause as long as itself, up to the second figure.
_SHORT, _LONGEST_PAUSE = 0.001, 0.05


class Renderer(Protocol):
    """Turns a change into a watch line. `identity`: equal ones render equally."""

    identity: Hashable

    def render(self, kind: EventType, change: Change) -> bytes: ...


class Plain:
    """Whole objects as JSON, as stored."""

    identity: Hashable = "json"

    def render(self, kind: EventType, change: Change) -> bytes:
        return change.line(kind)


class Sink(Protocol):
    """Where a watcher's lines go: one connection's side that does not wait."""

    def write(self, data: bytes) -> bool:
        """False when the connection takes nothing now; on_room is called when it does again."""
        ...

    def abort(self) -> None:
        """End the connection at once: its client does not read."""
        ...

    on_room: Callable[[], None] | None


class Pacer:
    """When watchers with something to say are written to: in rounds, each in slices of the loop.

    After a round that took long there is a pause as long as the round. So writing takes half of the loop at most, and
    what comes meanwhile leaves together: the more watchers there are, the more events share one write to each. With
    few watchers a round is shorter than the shortest pause, and nothing waits.
    """

    def __init__(self) -> None:
        self._waiting: list[Watcher] = []
        self._round: list[Watcher] = []
        self._began = 0.0
        # Somebody is written to, or will be.
        self.busy = False

    def add(self, watcher: Watcher) -> None:
        """Write to it in the next round."""
        self._waiting.append(watcher)
        if not self.busy:
            self.busy = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._began = time.perf_counter()
        self._round, self._waiting = self._waiting, []
        self._slice(0)

    def _slice(self, start: int) -> None:
        loop, end = asyncio.get_running_loop(), start + SLICE_WATCHERS
        for watcher in self._round[start:end]:
            watcher.flush()
        if end < len(self._round):
            loop.call_soon(self._slice, end)
        else:
            # The loop sends what was written at the end of this turn, which belongs to the round.
            loop.call_soon(self._rest)

    def _rest(self) -> None:
        taken = time.perf_counter() - self._began
        self._round = []
        if taken > _SHORT:
            asyncio.get_running_loop().call_later(min(taken, _LONGEST_PAUSE), self._go_on)
        else:
            self._go_on()

    def _go_on(self) -> None:
        self.busy = bool(self._waiting)
        if self.busy:
            self._begin()


class Watcher:
    """One watch. since: the first revision it is told of is the next one after this.

    Lines that came since the last round of its pacer leave together. No task is woken for them: a thousand watchers are
    a thousand writes.
    """

    def __init__(self, selection: Selection, renderer: Renderer, since: int, limit: int = BUFFER_BYTES) -> None:
        self.selection, self.renderer, self.since = selection, renderer, since
        # Why it ended; "" while it lives. overflown: it was too slow, so what waited is lost.
        self.cut = ""
        self.overflown = False
        # Whoever tells many watchers gives them one in common.
        self.pacer = Pacer()
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._sink: Sink | None = None
        self._scheduled = False
        self._wake: asyncio.Future[None] | None = None

    def push(self, revision: int, line: bytes) -> None:
        """Add a change's line, unless the watcher began after it."""
        if revision <= self.since or self.cut:
            return
        self._lines.append(line)
        self._size += len(line)
        if self._size > self._limit:
            self._overflow()
        elif self._sink is not None and not self._scheduled:
            self._scheduled = True
            self.pacer.add(self)

    def recall(self, line: bytes) -> int:
        """Add a line of what it missed; its length. Without the limit: such lines come in pieces, as they are taken."""
        self._lines.append(line)
        self._size += len(line)
        return len(line)

    def _overflow(self) -> None:
        self.overflown = True
        self._lines.clear()
        self._size = 0
        if self._sink is not None:
            self._sink.abort()
        self.end("the watch was too slow: its buffer is full")

    def attach(self, sink: Sink) -> None:
        """From now on lines go there, what waits already first."""
        self._sink = sink
        sink.on_room = self.flush
        self.flush()

    def detach(self) -> None:
        """Lines only wait from now on."""
        if self._sink is not None:
            self._sink.on_room = None
            self._sink = None

    def flush(self) -> None:
        """Write what waits, if the connection takes it."""
        self._scheduled = False
        if self._lines and self._sink is not None and self._sink.write(self._peek()):
            self._lines.clear()
            self._size = 0

    def end(self, reason: str) -> None:
        """No more events; what is buffered is still taken."""
        self.cut = self.cut or reason
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._lines)

    async def ended(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        if self.cut:
            return True
        loop = asyncio.get_running_loop()
        wake = self._wake = loop.create_future()
        timer = loop.call_later(timeout, lambda: None if wake.done() else wake.set_result(None))
        try:
            await wake
        finally:
            timer.cancel()
            self._wake = None
        return bool(self.cut)

    def take(self) -> bytes:
        """Everything that waits, as one piece; b"" when nothing does."""
        data = self._peek() if self._lines else b""
        self._lines.clear()
        self._size = 0
        return data

    def _peek(self) -> bytes:
        return self._lines[0] if len(self._lines) == 1 else b"".join(self._lines)


class Group:
    """Watchers that hear the same."""

    __slots__ = ("members", "place", "renderer", "selection")

    def __init__(self, selection: Selection, renderer: Renderer, place: tuple[str, str]) -> None:
        self.selection, self.renderer, self.place = selection, renderer, place
        self.members: set[Watcher] = set()

    def tell(self, change: Change) -> None:
        kind = change.type if self.selection.simple and not self.selection.namespace else self.selection.type_of(change)
        if kind is None:
            return
        try:
            line = self.renderer.render(kind, change)
        except Exception:
            # One object that cannot be shown must not stop the feed for everybody.
            log.exception("cannot show %r", change.key)
            self.end("an object could not be shown")
            return
        for watcher in self.members:
            watcher.push(change.revision, line)

    def end(self, reason: str) -> None:
        for watcher in self.members:
            watcher.end(reason)


class Watchers:
    """All watchers of one cache, by group and place. A place: (field path, value), ("", namespace), or ("", "")."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, Group] = {}
        self._places: dict[tuple[str, str], set[Group]] = {}
        self._paths: dict[str, int] = {}
        self._pacer = Pacer()

    def __len__(self) -> int:
        return sum(len(group.members) for group in self._groups.values())

    def add(self, watcher: Watcher) -> Callable[[], None]:
        """Tell it of changes from now on; the result takes it out again."""
        watcher.pacer = self._pacer
        identity = (watcher.selection.identity, watcher.renderer.identity)
        group = self._groups.get(identity)
        if group is None:
            group = self._groups[identity] = Group(watcher.selection, watcher.renderer, place_of(watcher.selection))
            self._places.setdefault(group.place, set()).add(group)
            self._paths[group.place[0]] = self._paths.get(group.place[0], 0) + 1
        group.members.add(watcher)
        return lambda: self._remove(identity, watcher)

    def _remove(self, identity: Hashable, watcher: Watcher) -> None:
        group = self._groups.get(identity)
        if group is None:
            return
        group.members.discard(watcher)
        if group.members:
            return
        del self._groups[identity]
        self._places[group.place].discard(group)
        if not self._places[group.place]:
            del self._places[group.place]
        self._paths[group.place[0]] -= 1
        if not self._paths[group.place[0]]:
            del self._paths[group.place[0]]

    def tell(self, change: Change) -> None:
        """Hand a change to every watcher that it concerns."""
        for place in self._concerned(change):
            for group in self._places.get(place, ()):
                group.tell(change)

    def _concerned(self, change: Change) -> set[tuple[str, str]]:
        places = {("", "")}
        for state in (change.old, change.new):
            if state is None:
                continue
            places.add(("", state.namespace))
            places.update((path, state.text(path)) for path in self._paths if path)
        return places

    def end_all(self, reason: str) -> None:
        """Cut every watcher."""
        for group in self._groups.values():
            group.end(reason)


def place_of(selection: Selection) -> tuple[str, str]:
    """Where the index files a selection: under the first field that must have one value, else its namespace.

    An absent field reads as its zero, which a change does not tell: a requirement of the zero is no place.
    """
    for requirement, zero in zip(selection.fields.requirements, selection.fields.zeros, strict=True):
        if requirement.equal and requirement.value != zero:
            return requirement.field, requirement.value
    return "", selection.namespace
