"""Strict serializability by witness: the store says in which order it did everything, and that order must explain all.

A response's header names the revision at which its request ran. So the order of the whole store, over all keys, is
known: a write ran at its revision, what changed nothing ran right after the write of its revision. This check runs
every request against that order and compares every answer to the byte, with versions and revisions, and it compares
the order with the clock: what began after another thing had ended has no smaller revision, and a write a greater one.
It needs no search, so it has no limit of size; it trusts the order that the store claims, which `checker` does not.

Writes of unknown outcome may stand in the store's history once, after their start. Everything else in the history must
have been asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from linearizability.model import holds
from linearizability.operations import PENDING, Kv, Op, Operation, Request, Response


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one key as the store recorded it: kv is what is there now, None in `kv` after a delete."""

    key: bytes
    revision: int
    kv: Kv | None


# The events of each revision, in the order in which the store applied them.
Stored = Mapping[int, Sequence[Event]]


def check_serial(history: Sequence[Operation], stored: Stored) -> list[str]:
    """What is wrong with a history, a line each; nothing if it is strictly serializable in the order of revisions."""
    return [*_real_time(history), *_Replay(history, stored).run()]


def resolve(history: Sequence[Operation], stored: Stored) -> list[Operation]:
    """The history without doubt: writes of unknown outcome that the store's history does not hold are left out.

    Those that it holds get an end: the first moment at which an answer named their revision or a later one. The search
    of `checker` is then short; should the store's history lie, it finds that no order explains the answers.
    """
    replay = _Replay(history, stored)
    for _ in replay.run():
        pass
    ended = sorted((o.end, o.revision) for o in history if o.response is not None)
    return [o for place, each in enumerate(history) if (o := _settled(place, each, replay.claims, ended)) is not None]


def _settled(
    place: int, operation: Operation, claims: Mapping[int, int], ended: Sequence[tuple[float, int]]
) -> Operation | None:
    if operation.response is not None:
        return operation
    if place not in claims:
        return None
    end = next((end for end, revision in ended if revision >= claims[place]), PENDING)
    return replace(operation, end=max(end, operation.start))


def _real_time(history: Sequence[Operation]) -> Iterable[str]:
    floors = floor_of(history)
    for operation, floor in zip(history, floors, strict=True):
        if operation.response is None:
            continue
        least = floor + 1 if _changed(operation) else floor
        if operation.revision < least:
            yield f"stale: {describe(operation)} began after revision {floor} had been answered"


def floor_of(history: Sequence[Operation]) -> list[int]:
    """For each operation the greatest revision that was answered to anyone before it began."""
    ended = sorted((o.end, o.revision) for o in history if o.response is not None)
    newest, floors, position = 0, [0] * len(history), 0
    for place in sorted(range(len(history)), key=lambda i: history[i].start):
        while position < len(ended) and ended[position][0] < history[place].start:
            newest = max(newest, ended[position][1])
            position += 1
        floors[place] = newest
    return floors


def _changed(operation: Operation) -> bool:
    """Whether a finished operation took a revision of its own."""
    response = operation.response
    if response is None:
        return False
    branch = operation.request.success if response.succeeded else operation.request.failure
    return any(
        op.kind == "put" or (op.kind == "delete" and result)
        for op, result in zip(branch, response.results, strict=True)
    )


@dataclass(slots=True)
class _Replay:
    """The store's history, run again from its beginning."""

    history: Sequence[Operation]
    stored: Stored
    _state: dict[bytes, Kv] = field(default_factory=dict)
    _keys: list[bytes] = field(default_factory=list)
    _waiting: list[tuple[int, int]] = field(default_factory=list)
    _free: list[int] = field(default_factory=list)
    # Place in the history → revision, of the writes of unknown outcome that happened.
    claims: dict[int, int] = field(default_factory=dict)

    def run(self) -> Iterable[str]:
        writes: dict[int, Operation] = {}
        reads: list[Operation] = []
        for operation in self.history:
            if operation.response is None:
                continue
            if not _changed(operation):
                reads.append(operation)
            elif (other := writes.setdefault(operation.revision, operation)) is not operation:
                yield f"one revision for two writes: {describe(operation)} and {describe(other)}"
        self._waiting = _pending_by_floor(self.history)
        reads.sort(key=lambda o: o.revision)
        position = 0
        for revision in sorted({*writes, *self.stored}):
            while position < len(reads) and reads[position].revision < revision:
                yield from self._answer(reads[position])
                position += 1
            yield from self._change(revision, writes.get(revision))
        for operation in reads[position:]:
            yield from self._answer(operation)

    def _answer(self, operation: Operation) -> Iterable[str]:
        response, _ = self._execute(operation.request, operation.revision)
        if response != operation.response:
            yield f"wrong answer: {describe(operation)}; the store's history says {response}"

    def _change(self, revision: int, operation: Operation | None) -> Iterable[str]:
        events = list(self.stored.get(revision, ()))
        if operation is None:
            if not self._claimed(revision, events):
                yield f"nobody asked for what revision {revision} holds: {events}"
        elif not events:
            yield f"lost: {describe(operation)} is not in the store's history"
        else:
            response, made = self._execute(operation.request, revision)
            if response != operation.response:
                yield f"wrong answer: {describe(operation)}; the store's history says {response}"
            if made != events:
                yield f"revision {revision} holds {events}, which {describe(operation)} did not make"
        for event in events:
            self._apply(event)

    def _claimed(self, revision: int, events: list[Event]) -> bool:
        """Whether a write of unknown outcome explains the revision; it explains no other one then."""
        while self._waiting and self._waiting[0][0] < revision:
            self._free.append(heappop(self._waiting)[1])
        for place in self._free:
            if self._execute(self.history[place].request, revision)[1] == events:
                self._free.remove(place)
                self.claims[place] = revision
                return True
        return False

    def _apply(self, event: Event) -> None:
        if event.kv is None:
            self._state.pop(event.key, None)
            return
        if event.key not in self._state:
            place = bisect_left(self._keys, event.key)
            if self._keys[place : place + 1] != [event.key]:
                self._keys.insert(place, event.key)
        self._state[event.key] = event.kv

    def _execute(self, request: Request, revision: int) -> tuple[Response, list[Event]]:
        """What the request would answer and change if it ran at that revision, on the state before it."""
        changed: dict[bytes, Kv | None] = {}

        def look(key: bytes) -> Kv | None:
            return changed[key] if key in changed else self._state.get(key)

        succeeded = all(holds(compare, _cell(look(compare.key))) for compare in request.compares)
        results = []
        for op in request.success if succeeded else request.failure:
            shown = tuple(kv for key in self._covered(op) if (kv := look(key)) is not None)
            results.append(shown)
            changed.update(_effect(op, shown, revision))
        events = [Event(key, revision, kv) for key, kv in changed.items()]
        return Response(tuple(results), succeeded), events

    def _covered(self, op: Op) -> Sequence[bytes]:
        if not op.end:
            return (op.key,)
        return self._keys[bisect_left(self._keys, op.key) : bisect_left(self._keys, op.end)]


def _cell(kv: Kv | None) -> tuple[bytes, int] | None:
    return None if kv is None else (kv.value, kv.version)


def _effect(op: Op, shown: tuple[Kv, ...], revision: int) -> dict[bytes, Kv | None]:
    if op.kind == "get":
        return {}
    if op.kind == "delete":
        return {kv.key: None for kv in shown}
    if shown:
        return {op.key: replace(shown[0], value=op.value, version=shown[0].version + 1, mod_revision=revision)}
    return {op.key: Kv(op.key, op.value, 1, revision, revision)}


def _pending_by_floor(history: Sequence[Operation]) -> list[tuple[int, int]]:
    """A heap of (greatest revision answered before its start, place) of the writes of unknown outcome."""
    heap: list[tuple[int, int]] = []
    for place, floor in enumerate(floor_of(history)):
        if history[place].response is None and history[place].request.writes:
            heappush(heap, (floor, place))
    return heap


def describe(operation: Operation, clock: Callable[[float], str] = "{:.6f}".format) -> str:
    """One line on an operation."""
    request = operation.request
    asked = ", ".join(map(_asked, request.success))
    when = " and ".join(f"{c.target} of {_text(c.key)} {c.relation} {_operand(c.operand)}" for c in request.compares)
    end = "∞" if operation.pending else clock(operation.end)
    whole = f"if {when}: {asked}, else {', '.join(map(_asked, request.failure)) or 'nothing'}" if when else asked
    return f"client {operation.client} [{clock(operation.start)} … {end}] {whole} → {_told(operation)}"


def _told(operation: Operation) -> str:
    response = operation.response
    if response is None:
        return "no answer"
    shown = "; ".join(
        ", ".join(f"{_text(kv.key)} = {_text(kv.value)} (version {kv.version})" for kv in result) or "nothing"
        for result in response.results
    )
    return f"revision {operation.revision}{'' if response.succeeded else ', else'}: {shown}"


def _asked(op: Op) -> str:
    keys = f"[{_text(op.key)}, {_text(op.end)})" if op.end else _text(op.key)
    return f"{op.kind} {keys} = {_text(op.value)}" if op.kind == "put" else f"{op.kind} {keys}"


def _operand(operand: int | bytes) -> str:
    return _text(operand) if isinstance(operand, bytes) else str(operand)


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
