"""The watch checks: a good watcher passes all, and each fault is found by the promise that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from linearizability.operations import Kv
from linearizability.serial import Event
from linearizability.watching import Message, Seen, Watcher, check_watcher, resumed

PUT_1 = Event(b"a", 2, Kv(b"a", b"1", 1, 2, 2))
PUT_2 = Event(b"b", 3, Kv(b"b", b"2", 1, 3, 3))
BOTH = [Event(b"a", 4, Kv(b"a", b"3", 2, 2, 4)), Event(b"b", 4, Kv(b"b", b"3", 2, 3, 4))]
GONE = Event(b"a", 5, None)
OUTSIDE = Event(b"z", 6, Kv(b"z", b"4", 1, 6, 6))
STORED = {2: [PUT_1], 3: [PUT_2], 4: BOTH, 5: [GONE], 6: [OUTSIDE]}


def good() -> Watcher:
    """[a, c) from revision 2 with prev_kv: four responses and a progress report."""
    messages = [
        Message(2, (Seen(PUT_1),)),
        Message(3, (Seen(PUT_2),)),
        Message(4, (Seen(BOTH[0], PUT_1.kv), Seen(BOTH[1], PUT_2.kv))),
        Message(4, progress=True),
        Message(5, (Seen(GONE, BOTH[0].kv),)),
    ]
    return Watcher(b"a", b"c", start=2, prev_kv=True, until=6, messages=messages)


def test_a_good_watcher_passes() -> None:
    """Also a second life of it, fragments that were asked for, and filters."""
    assert check_watcher(good(), STORED) == []
    late = Watcher(b"a", b"c", start=5, prev_kv=True, until=6, messages=good().messages[4:])
    assert check_watcher(late, STORED) == []
    assert resumed([replace(good(), messages=good().messages[:4]), late]) == []
    pieces = [Message(4, (Seen(BOTH[0]),), fragment=True), Message(4, (Seen(BOTH[1]),))]
    assert check_watcher(Watcher(b"a", b"c", start=4, fragmented=True, messages=pieces), STORED) == []
    deletes = Watcher(b"a", b"c", start=1, no_put=True, until=6, messages=[Message(5, (Seen(GONE),))])
    assert check_watcher(deletes, STORED) == []
    from_now = Watcher(b"a", b"c", created=4, until=6, messages=[Message(5, (Seen(GONE),))])
    assert check_watcher(from_now, STORED) == []


def swap_two(watcher: Watcher) -> None:
    """Out of order."""
    watcher.messages[0], watcher.messages[1] = watcher.messages[1], watcher.messages[0]


def repeat(watcher: Watcher) -> None:
    """The same again."""
    watcher.messages.append(watcher.messages[-1])


def split(watcher: Watcher) -> None:
    """One revision in two responses."""
    whole = watcher.messages[2]
    watcher.messages[2:3] = [replace(whole, seen=whole.seen[:1], fragment=True), replace(whole, seen=whole.seen[1:])]


def lose(watcher: Watcher) -> None:
    """A hole."""
    del watcher.messages[1]


def stop_early(watcher: Watcher) -> None:
    """The end is missing."""
    watcher.messages.pop()


def make_up(watcher: Watcher) -> None:
    """A value that was never stored."""
    watcher.messages[1] = Message(3, (Seen(replace(PUT_2, kv=Kv(b"b", b"x", 1, 3, 3))),))


def stray(watcher: Watcher) -> None:
    """Another key's event."""
    watcher.messages.append(Message(6, (Seen(OUTSIDE),)))


def before_its_start(watcher: Watcher) -> None:
    """More than was asked for."""
    watcher.start = 3


def ignore_a_filter(watcher: Watcher) -> None:
    """Deletes were to be left out."""
    watcher.no_delete = True


def report_too_much(watcher: Watcher) -> None:
    """Progress up to what had not been sent."""
    watcher.messages[3] = Message(5, progress=True)


def report_backwards(watcher: Watcher) -> None:
    """Progress that goes back."""
    watcher.messages.append(Message(3, progress=True))


def forget_the_previous(watcher: Watcher) -> None:
    """prev_kv was asked for."""
    watcher.messages[4] = Message(5, (Seen(GONE),))


def send_the_previous_unasked(watcher: Watcher) -> None:
    """prev_kv was not asked for."""
    watcher.prev_kv = False


FAULTS: list[tuple[Callable[[Watcher], None], str]] = [
    (swap_two, "ordered"),
    (repeat, "unique"),
    (split, "atomic"),
    (lose, "reliable"),
    (stop_early, "reliable"),
    (make_up, "true"),
    (stray, "filtered"),
    (before_its_start, "filtered"),
    (ignore_a_filter, "filtered"),
    (report_too_much, "bookmarked"),
    (report_backwards, "bookmarked"),
    (forget_the_previous, "previous"),
    (send_the_previous_unasked, "previous"),
]


@pytest.mark.parametrize(("fault", "promise"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_fault_is_found(fault: Callable[[Watcher], None], promise: str) -> None:
    """By the check whose name the line begins with."""
    watcher = good()
    fault(watcher)
    assert promise in {problem.partition(":")[0] for problem in check_watcher(watcher, STORED)}


def test_a_second_life_that_repeats_is_found() -> None:
    """The reconnect asked for revision 6 on and got 5 again."""
    again = Watcher(b"a", b"c", start=6, prev_kv=True, messages=good().messages[4:])
    assert resumed([good(), again])
