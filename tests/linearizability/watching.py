"""What a watcher was sent, held to etcd's promises (docs: "watch APIs guarantees"), each a check of its own.

The truth is the store's own history (`Stored`). A watcher is one watch id on one stream; one that reconnected is a
second watcher that begins after the last event of the first, and `resumed` holds the two to one story.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field

from linearizability.operations import ONE, Kv
from linearizability.serial import Event, Stored


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as it was sent. previous: the prev_kv that came with it, None if none did."""

    event: Event
    previous: Kv | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One response. progress: it holds nothing but the news that all up to `revision` has been sent.

    fragment: the rest of its last revision comes with the next one.
    """

    revision: int
    seen: tuple[Seen, ...] = ()
    progress: bool = False
    fragment: bool = False


@dataclass(slots=True)
class Watcher:
    """What was asked for, and what came. start: the first revision wanted, 0 for from now on.

    created: the revision in the header of the `created` response; until: all up to here must have come in the end
    (0: nothing is known about that).
    """

    key: bytes
    end: bytes = ONE
    start: int = 0
    no_put: bool = False
    no_delete: bool = False
    prev_kv: bool = False
    fragmented: bool = False
    created: int = 0
    until: int = 0
    messages: list[Message] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The first revision that is its business."""
        return self.start or self.created + 1

    @property
    def seen(self) -> list[Seen]:
        """Every event, in the order of arrival."""
        return [seen for message in self.messages for seen in message.seen]

    @property
    def last(self) -> int:
        """The revision up to which it says that it has sent everything."""
        reported = [message.revision for message in self.messages if message.progress]
        return max([0, *reported, *(seen.event.revision for seen in self.seen)])

    def wants(self, event: Event) -> bool:
        """Whether the event is in its range and passes its filters."""
        inside = event.key == self.key if self.end == ONE else self.key <= event.key < self.end
        return inside and not (self.no_delete if event.kv is None else self.no_put)


def ordered(watcher: Watcher, stored: Stored) -> Iterable[str]:
    """Events come in the order of their revisions."""
    for one, other in itertools.pairwise(watcher.seen):
        if other.event.revision < one.event.revision:
            yield f"{other.event} came after {one.event}"


def unique(watcher: Watcher, stored: Stored) -> Iterable[str]:
    """No event comes twice."""
    known: set[tuple[bytes, int]] = set()
    for seen in watcher.seen:
        name = seen.event.key, seen.event.revision
        if name in known:
            yield f"{seen.event} came twice"
        known.add(name)


def atomic(watcher: Watcher, stored: Stored) -> Iterable[str]:
    """The events of one revision come in one response; in several only if fragments were asked for and announced."""
    for one, other in itertools.pairwise([m for m in watcher.messages if m.seen]):
        split = one.seen[-1].event.revision == other.seen[0].event.revision
        if split and not (watcher.fragmented and one.fragment):
            yield f"revision {other.seen[0].event.revision} came in two responses"


def reliable(watcher: Watcher, stored: Stored) -> Iterable[str]:
    """Between the first wanted and the last seen revision nothing is missing; nor anything up to `until`."""
    got = {(seen.event.key, seen.event.revision) for seen in watcher.seen}
    last = max(watcher.last, watcher.until)
    for revision in sorted(r for r in stored if watcher.first <= r <= last):
        for event in stored[revision]:
            if watcher.wants(event) and (event.key, revision) not in got:
                yield f"{event} never came"


def true(watcher: Watcher, stored: Stored) -> Iterable[str]:
    """Every event is one of the store's history, byte for byte."""
    for seen in watcher.seen:
        if seen.event not in stored.get(seen.event.revision, ()):
            yield f"{seen.event} is not in the store's history"


def filtered(watcher: Watcher, stored: Stored) -> Iterable[str]:
    """Nothing outside its range, nothing that its filters exclude, nothing from before its first revision."""
    for seen in watcher.seen:
        if not watcher.wants(seen.event) or seen.event.revision < watcher.first:
            yield f"{seen.event} is not this watcher's business"


def bookmarked(watcher: Watcher, stored: Stored) -> Iterable[str]:
    """After a progress report for a revision nothing comes from at or before it, and nothing from there is missing."""
    reported = 0
    got: set[tuple[bytes, int]] = set()
    for message in watcher.messages:
        for seen in message.seen:
            got.add((seen.event.key, seen.event.revision))
            if seen.event.revision <= reported:
                yield f"{seen.event} came after the report that all up to {reported} had been sent"
        if not message.progress:
            continue
        if message.revision < reported:
            yield f"progress went back from {reported} to {message.revision}"
        for revision in range(max(reported + 1, watcher.first), message.revision + 1):
            for event in stored.get(revision, ()):
                if watcher.wants(event) and (event.key, revision) not in got:
                    yield f"{event} was missing when progress up to {message.revision} was reported"
        reported = max(reported, message.revision)


def previous(watcher: Watcher, stored: Stored) -> Iterable[str]:
    """prev_kv, if asked for, is what the event replaced; there is none for a key that was not there, or unasked."""
    before = _replaced(stored) if watcher.prev_kv else {}
    for seen in watcher.seen:
        expected = before.get((seen.event.key, seen.event.revision))
        if seen.previous != expected:
            yield f"{seen.event} came with prev_kv {seen.previous}, not {expected}"


def _replaced(stored: Stored) -> dict[tuple[bytes, int], Kv]:
    """(key, revision) of each event → what was there before."""
    state: dict[bytes, Kv] = {}
    found: dict[tuple[bytes, int], Kv] = {}
    for revision in sorted(stored):
        for event in stored[revision]:
            if event.key in state:
                found[event.key, revision] = state[event.key]
            if event.kv is None:
                state.pop(event.key, None)
            else:
                state[event.key] = event.kv
    return found


Check = Callable[[Watcher, Stored], Iterable[str]]
CHECKS: dict[str, Check] = {
    check.__name__: check for check in (ordered, unique, atomic, reliable, true, filtered, bookmarked, previous)
}


def check_watcher(watcher: Watcher, stored: Stored, excused: Container[str] = ()) -> list[str]:
    """Everything that is wrong with one watcher, each line beginning with the promise that it breaks.

    excused: promises that this store is known not to keep.
    """
    wanted = {name: check for name, check in CHECKS.items() if name not in excused}
    return [f"{name}: {problem}" for name, check in wanted.items() for problem in check(watcher, stored)]


def resumed(lives: Sequence[Watcher]) -> list[str]:
    """Resumable: lives of one watcher, each begun after the last event of the one before, are one story.

    What one life alone must hold is checked by check_watcher; here: no event in two lives, none out of order.
    """
    problems = []
    for one, other in itertools.pairwise(lives):
        newest = max((seen.event.revision for seen in one.seen), default=0)
        problems += [
            f"resumable: {seen.event} came again after a reconnect that asked for {other.start} on"
            for seen in other.seen
            if seen.event.revision <= newest and other.start > newest
        ]
    return problems
