"""The check by revisions: good histories of chance pass, every single fault planted in them is found."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from linearizability.checker import Verdict, check
from linearizability.histories import Store, made_by_chance
from linearizability.operations import Kv, Operation, Request, Response, delete, get, put
from linearizability.serial import Event, Stored, check_serial, resolve

A = b"a"


def test_histories_of_chance_pass(seed: int) -> None:
    """40 histories with calls of unknown outcome, whole and resolved."""
    chance = random.Random(seed)
    for _ in range(40):
        history, store = made_by_chance(chance, calls=60, unknown=0.15)
        assert check_serial(history, store.stored) == []
        resolved = resolve(history, store.stored)
        assert check_serial(resolved, store.stored) == []
        assert [o for o in resolved if o.response] == [o for o in history if o.response]
        assert check(resolved, time.monotonic).verdict is Verdict.LINEARIZABLE


def good() -> tuple[list[Operation], dict[int, list[Event]]]:
    """Two keys, six calls, each known."""
    store = Store((A, b"b"))
    requests = [put(A, b"1"), get(A), put(b"b", b"2"), put(A, b"3"), delete(b"b"), get(A, b"c")]
    history = []
    for number, request in enumerate(requests):
        response, revision = store.run(request)
        history.append(Operation(number % 2, number * 2.0, number * 2.0 + 1, request, response, revision))
    return history, store.stored


History = list[Operation]
Changes = dict[int, list[Event]]


def lose_a_write(history: History, stored: Changes) -> None:
    """Acknowledged, and not there."""
    del stored[3]


def move_a_write(history: History, stored: Changes) -> None:
    """Said to be at another revision than it is."""
    history[2] = replace(history[2], revision=9)


def make_up_a_write(history: History, stored: Changes) -> None:
    """Nobody asked for it."""
    stored[8] = [Event(A, 8, Kv(A, b"phantom", 3, 2, 8))]


def change_a_value(history: History, stored: Changes) -> None:
    """Another value than was asked for."""
    stored[3] = [Event(b"b", 3, Kv(b"b", b"other", 1, 3, 3))]


def forget_a_version(history: History, stored: Changes) -> None:
    """A version that does not count up."""
    stored[4] = [Event(A, 4, Kv(A, b"3", 1, 2, 4))]


def read_stale(history: History, stored: Changes) -> None:
    """The last read shows, and names, an old revision."""
    history[5] = replace(history[5], revision=3, response=Response(((Kv(A, b"1", 1, 2, 2), Kv(b"b", b"2", 1, 3, 3)),)))


def read_a_mixture(history: History, stored: Changes) -> None:
    """One key new, the other old: no revision ever looked like that."""
    history[5] = replace(history[5], response=Response(((Kv(A, b"3", 2, 2, 4), Kv(b"b", b"2", 1, 3, 3)),)))


def turn_time_around(history: History, stored: Changes) -> None:
    """A write begins after one of a greater revision was acknowledged."""
    history[3] = replace(history[3], start=-9.0, end=-8.0)


def give_a_revision_twice(history: History, stored: Changes) -> None:
    """Two writes say that they are revision 4."""
    history[2] = replace(history[2], revision=4)


def show_a_wrong_predecessor(history: History, stored: Changes) -> None:
    """A put says that it replaced nothing."""
    history[3] = replace(history[3], response=Response(((),)))


FAULTS: list[Callable[[History, Changes], None]] = [
    lose_a_write,
    move_a_write,
    make_up_a_write,
    change_a_value,
    forget_a_version,
    read_stale,
    read_a_mixture,
    turn_time_around,
    give_a_revision_twice,
    show_a_wrong_predecessor,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found(fault: Callable[[History, Changes], None]) -> None:
    """One fault in a good history."""
    history, stored = good()
    assert check_serial(history, stored) == []
    fault(history, stored)
    assert check_serial(history, stored)


def unknown(request: Request, start: float) -> Operation:
    """A call that got no answer."""
    return Operation(7, start, float("inf"), request)


def test_an_unknown_write_may_happen_once_and_not_before_it_was_asked_for() -> None:
    """Its value at two revisions, or before its start, is a fault; once and later is not."""
    history, stored = good()
    late = Event(A, 6, Kv(A, b"u", 3, 2, 6))
    once: Stored = {**stored, 6: [late]}
    assert check_serial([*history, unknown(put(A, b"u"), 4.0)], once) == []
    assert check_serial([*history, unknown(put(A, b"u"), 4.0)], stored) == []
    twice: Stored = {**once, 7: [Event(A, 7, Kv(A, b"u", 4, 2, 7))]}
    assert check_serial([*history, unknown(put(A, b"u"), 4.0)], twice)
    after_the_end = Operation(3, 20.0, 21.0, get(A), Response(((late.kv or Kv(A, b"", 0),),)), 6)
    assert check_serial([*history, after_the_end, unknown(put(A, b"u"), 30.0)], once)


def test_unknown_deletes_are_told_apart_by_what_they_did() -> None:
    """A delete without an answer explains a tombstone, not a put."""
    history, stored = good()
    gone: Stored = {**stored, 6: [Event(A, 6, None)]}
    assert check_serial([*history, unknown(delete(A), 4.0)], gone) == []
    assert check_serial([*history, unknown(put(A, b"u"), 4.0)], gone)
    assert check_serial(history, gone)


def test_resolving_leaves_out_only_what_never_happened() -> None:
    """What happened gets an end: when the first answer named its revision or a later one."""
    history, stored = good()
    never = [unknown(put(A, b"never"), 4.0), unknown(delete(A), 5.0), unknown(get(A), 6.0)]
    happened = unknown(put(A, b"u"), 4.0)
    stored[6] = [Event(A, 6, Kv(A, b"u", 3, 2, 6))]
    assert resolve([*history, *never, happened], stored) == [*history, happened]
    seen = Operation(5, 20.0, 21.0, get(b"b"), Response(((),)), 6)
    assert resolve([*history, *never, happened, seen], stored) == [*history, replace(happened, end=21.0), seen]
