"""The checks themselves: each must find the fault that it is there for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.history import check_reads, check_real_time, check_watch, check_writes
from harness.workload import Event, History, Read, Write


def good() -> tuple[History, dict[int, Event]]:
    """Three writes of two keys, two reads, all seen by the watcher."""
    history = History()
    history.writes = [
        Write(b"a", b"1", 1.0, 2.0, revision=2),
        Write(b"b", b"2", 2.5, 3.0, revision=3),
        Write(b"a", b"3", 3.5, 4.0, revision=4),
        Write(b"a", b"unknown", 3.6),
    ]
    history.reads = [Read(b"a", 3.1, 3.2, b"1", 2, 3), Read(b"a", 4.1, 4.2, b"3", 4, 4)]
    stored = {w.revision: Event(w.key, w.value, w.revision) for w in history.writes if w.revision}
    history.events = list(stored.values())
    return history, stored


def run_checks(history: History, stored: dict[int, Event]) -> None:
    """All of them."""
    check_writes(history, stored)
    check_real_time(history)
    check_reads(history, stored)
    check_watch(history, stored)


def test_a_good_history_passes() -> None:
    """Also one in which an unknown write happened."""
    history, stored = good()
    run_checks(history, stored)
    stored[5] = Event(b"a", b"unknown", 5)
    history.events.append(stored[5])
    run_checks(history, stored)


def lose_a_write(history: History, stored: dict[int, Event]) -> None:
    """An acknowledged write is not in the store."""
    del stored[3]


def move_a_write(history: History, stored: dict[int, Event]) -> None:
    """It stands at another revision than was said."""
    stored[9] = stored.pop(4)


def make_up_a_value(history: History, stored: dict[int, Event]) -> None:
    """A value that nobody wrote."""
    stored[5] = Event(b"a", b"phantom", 5)


def apply_twice(history: History, stored: dict[int, Event]) -> None:
    """One write, two revisions."""
    stored[5] = Event(b"a", b"3", 5)


def keep_a_refused_write(history: History, stored: dict[int, Event]) -> None:
    """A write that was refused is there."""
    history.writes.append(Write(b"a", b"no", 5.0, refused=True))
    stored[5] = Event(b"a", b"no", 5)


def turn_time_around(history: History, stored: dict[int, Event]) -> None:
    """The later write has the smaller revision."""
    history.writes[0].revision, history.writes[1].revision = 3, 2


def read_stale(history: History, stored: dict[int, Event]) -> None:
    """An old value after the new one was acknowledged."""
    history.reads[1] = Read(b"a", 4.1, 4.2, b"1", 2, 4)


def read_a_stale_header(history: History, stored: dict[int, Event]) -> None:
    """An old revision in the header."""
    history.reads[0] = Read(b"a", 3.1, 3.2, b"1", 2, 2)


def read_a_phantom(history: History, stored: dict[int, Event]) -> None:
    """A value that is not in the store at that revision."""
    history.reads[1] = Read(b"a", 4.1, 4.2, b"2", 4, 4)


def miss_an_event(history: History, stored: dict[int, Event]) -> None:
    """A hole in the watch."""
    del history.events[1]


def repeat_an_event(history: History, stored: dict[int, Event]) -> None:
    """The same event twice."""
    history.events.append(history.events[-1])


def stop_watching(history: History, stored: dict[int, Event]) -> None:
    """The last event is missing."""
    history.events.pop()


@pytest.mark.parametrize(
    "spoil",
    [
        lose_a_write,
        move_a_write,
        make_up_a_value,
        apply_twice,
        keep_a_refused_write,
        turn_time_around,
        read_stale,
        read_a_stale_header,
        read_a_phantom,
        miss_an_event,
        repeat_an_event,
        stop_watching,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_a_fault_is_found(spoil: Callable[[History, dict[int, Event]], None]) -> None:
    """One fault in a good history."""
    history, stored = good()
    spoil(history, stored)
    with pytest.raises(AssertionError):
        run_checks(history, stored)
