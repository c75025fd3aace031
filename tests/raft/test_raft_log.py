"""The log with writes under way: what is saved, what may be applied, what can be read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raft_alone import entries
from raft_memory_log import MemoryLog

from kvstore.invariant import InvariantViolation
from kvstore.raft.log import RaftLog, bounded
from kvstore.raft.storage import Compacted, Unavailable
from kvstore.raft.types import ConfState, Entry, Message, MessageKind, Ready, SnapshotMeta


def log_of(terms: list[int], *, index: int = 0, term: int = 0, committed: int = 0) -> RaftLog:
    storage = MemoryLog(ConfState(voters=(1,)), index, term)
    storage.held = entries(terms, index + 1)
    return RaftLog(storage, max(committed, index), index)


def write(log: RaftLog, number: int) -> Ready:
    """Hand out what is new and write it, without the disk having it yet."""
    handed, snapshot = log.hand_out(number)
    ready = Ready(number, None, None, True, handed, snapshot, None, [], [], [], [])
    assert isinstance(log.storage, MemoryLog)
    log.storage.write(ready)
    return ready


def test_what_is_handed_out_is_handed_out_once() -> None:
    log = log_of([1])
    log.append(entries([1, 1], 2))
    assert [e.index for e in write(log, 1).entries] == [2, 3]
    log.append(entries([1], 4))
    assert [e.index for e in write(log, 2).entries] == [4]
    assert not log.has_unwritten
    assert (log.saved, log.last_index) == (1, 4)
    log.saved_to(1)
    assert log.saved == 3
    log.saved_to(2)
    assert log.saved == 4
    assert log.entries == []


def test_a_write_that_was_overtaken_proves_nothing() -> None:
    """The tail 1/2 comes, is replaced by 2/2, and comes again: its first write says nothing about its last."""
    log = log_of([1])
    log.append([Entry(1, 2)])
    write(log, 1)
    log.append([Entry(2, 2)])
    write(log, 2)
    log.append([Entry(1, 2)])
    write(log, 3)
    log.saved_to(1)
    assert log.saved == 1
    log.saved_to(2)
    assert log.saved == 1
    log.saved_to(3)
    assert log.saved == 2


def test_saving_a_later_write_covers_earlier_ones() -> None:
    log = log_of([])
    for number in (1, 2, 3):
        log.append([Entry(1, number)])
        write(log, number)
    log.saved_to(3)
    assert log.saved == 3


def test_replacing_a_saved_tail_takes_back_that_it_is_saved() -> None:
    log = log_of([1, 1, 1], committed=1)
    log.append([Entry(2, 2)])
    assert (log.saved, log.last_index, log.last_term) == (1, 2, 2)
    assert [e.index for e in write(log, 1).entries] == [2]


def test_only_what_is_committed_and_saved_here_is_applied() -> None:
    log = log_of([1])
    log.append(entries([1, 1], 2))
    write(log, 1)
    log.commit_to(3)
    assert [e.index for e in log.take_committed(100)] == [1]
    log.saved_to(1)
    assert [e.index for e in log.take_committed(100)] == [2, 3]
    assert log.take_committed(100) == []


def test_committed_entries_come_in_portions() -> None:
    log = log_of([1, 1, 1], committed=3)
    assert [[e.index for e in log.take_committed(1)] for _ in range(3)] == [[1], [2], [3]]


def test_applied_beyond_the_saved_commit_index() -> None:
    """The state machine's disk was faster than the log's last commit index: what is applied is committed."""
    storage = MemoryLog(ConfState(voters=(1,)))
    storage.held = entries([1, 1, 1])
    log = RaftLog(storage, committed=1, applied=2)
    assert (log.committed, log.applied) == (2, 2)


def test_a_log_that_lost_committed_entries_is_refused() -> None:
    storage = MemoryLog(ConfState(voters=(1,)))
    storage.held = entries([1])
    with pytest.raises(InvariantViolation, match="entries were lost"):
        RaftLog(storage, committed=2, applied=0)


def test_a_member_that_lost_acknowledged_entries_stops() -> None:
    with pytest.raises(InvariantViolation, match="its log was lost"):
        log_of([1]).commit_to(2)


def test_nothing_was_applied_that_was_not_handed_out() -> None:
    with pytest.raises(InvariantViolation):
        log_of([1], committed=1).applied_to(1)


def test_terms_and_slices_over_storage_and_tail() -> None:
    log = log_of([2, 2, 3], index=5, term=1)
    log.append(entries([3, 4], 9))
    assert [log.term(i) for i in range(5, 11)] == [1, 2, 2, 3, 3, 4]
    assert [e.index for e in log.slice(6, 11, 1 << 20)] == [6, 7, 8, 9, 10]
    assert [e.index for e in log.slice(8, 11, 1)] == [8]
    assert [e.index for e in log.slice(9, 11, 1)] == [9]
    assert log.slice(9, 9, 1) == []
    for read in (lambda: log.slice(5, 7, 9), lambda: log.term(4)):
        with pytest.raises(Compacted):
            read()
    for read in (lambda: log.slice(9, 12, 9), lambda: log.term(11)):
        with pytest.raises(Unavailable):
            read()


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 40), st.integers(0, 8))
def test_slices_are_as_long_as_the_bytes_allow(sizes: list[int], max_bytes: int, stable: int) -> None:
    """However the log is divided between storage and tail."""
    every = [Entry(1, index, 0, b"x" * size) for index, size in enumerate(sizes, 1)]
    storage = MemoryLog(ConfState(voters=(1,)))
    storage.held = every[:stable]
    log = RaftLog(storage, 0, 0)
    log.append(every[stable:])
    assert log.slice(1, len(every) + 1, max_bytes) == bounded(every, max_bytes)
    got = bounded(every, max_bytes)
    assert sum(len(e.data) for e in got) <= max_bytes or len(got) == 1
    assert len(got) == len(every) or sum(len(e.data) for e in every[: len(got) + 1]) > max_bytes


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 4), st.integers(0, 15), st.integers(0, 15))
def test_conflict_hint_is_what_a_linear_search_finds(steps: list[int], start: int, index: int, term: int) -> None:
    terms, now = [], 1
    for step in steps:
        now += step
        terms.append(now)
    log = log_of(terms, index=start, term=1 if start else 0)
    index = min(index, log.last_index)
    at = index
    while at >= log.first_index - 1 and log.term(at) > term:
        at -= 1
    found, found_term = log.conflict_hint(index, term)
    assert found == at
    assert found_term == (log.term(at) if at >= log.first_index - 1 else 0)


def test_a_snapshot_replaces_everything_even_what_is_being_written() -> None:
    log = log_of([1, 1])
    log.append([Entry(1, 3)])
    write(log, 1)
    meta = SnapshotMeta(7, 2, ConfState(voters=(1,)))
    log.restore(meta, Message(MessageKind.SNAPSHOT, snapshot=meta))
    assert (log.first_index, log.last_index, log.last_term, log.committed) == (8, 7, 2, 7)
    log.append([Entry(2, 8)])
    first, second = write(log, 2), write(log, 3)
    assert (first.snapshot, first.entries) == (meta, [])
    assert [e.index for e in second.entries] == [8]
    log.saved_to(1)
    assert (log.saved, log.applied) == (0, 0)
    log.saved_to(2)
    assert (log.saved, log.applied, log.snapshot) == (7, 7, None)
    log.saved_to(3)
    assert log.saved == 8


def test_a_second_snapshot_overtakes_the_first() -> None:
    log = log_of([])
    metas = [SnapshotMeta(index, 1, ConfState(voters=(1,))) for index in (5, 9)]
    for number, meta in enumerate(metas, 1):
        log.restore(meta, Message(MessageKind.SNAPSHOT, snapshot=meta))
        write(log, number)
    log.saved_to(1)
    assert (log.snapshot, log.applied) == (metas[1], 0)
    log.saved_to(2)
    assert (log.snapshot, log.applied, log.saved) == (None, 9, 9)


terms = st.integers(1, 3)


@given(st.lists(st.tuples(st.integers(0, 8), st.lists(terms, max_size=4), st.booleans()), max_size=12))
def test_what_is_accepted_is_what_a_plain_list_of_terms_would_hold(steps: list[tuple[int, list[int], bool]]) -> None:
    """Behind the end, over a tail, or what is there already: the last index is known, and nothing else is kept."""
    log, held = log_of([1]), [1]
    for number, (after, new, saves) in enumerate(steps, 1):
        after = min(after, len(held))
        agrees = log.accept(after, held[after - 1] if after else 0, entries(new, after + 1))
        assert agrees == after + len(new)
        if held[after : after + len(new)] != new:
            same = next(at for at, term in enumerate([*new, 0]) if held[after + at : after + at + 1] != [term])
            held[after + same :] = new[same:]
        if saves:
            write(log, number)
            log.saved_to(number)
        assert log.last_index == len(held) == log.offset + len(log.entries) - 1
        assert [log.term(index) for index in range(1, len(held) + 1)] == held
