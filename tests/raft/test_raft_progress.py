"""A leader's knowledge of one follower, and the window of what is under way to it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.raft.config import Config
from kvstore.raft.progress import Inflights, Progress, ProgressState


def progress(state: ProgressState, match: int, next_index: int) -> Progress:
    made = Progress(next_index, Inflights(3, 0))
    made.match = match
    made.state = state
    return made


def test_the_window_is_bounded_by_messages() -> None:
    window = Inflights(2, 0)
    window.add(1, 1 << 40)
    assert not window.full
    window.add(2, 1)
    assert window.full
    window.free_to(1)
    assert not window.full
    assert len(window) == 1


def test_the_window_is_bounded_by_bytes() -> None:
    window = Inflights(100, 10)
    window.add(1, 9)
    assert not window.full
    window.add(2, 5)  # the limit may be passed by one append, or a big one would never leave
    assert window.full
    window.free_first()
    assert not window.full
    window.clear()
    assert len(window) == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=40))
def test_the_window_counts_right(steps: list[tuple[bool, int]]) -> None:
    window, model, last = Inflights(5, 30), [], 0
    for add, number in steps:
        if add and not window.full:
            last += 1
            window.add(last, number)
            model.append((last, number))
        elif not add:
            window.free_to(number)
            model = [(index, size) for index, size in model if index > number]
        assert len(window) == len(model)
        assert window.full == (len(model) >= 5 or sum(size for _, size in model) >= 30)


@pytest.mark.parametrize(
    ("state", "match", "next_index", "index", "hint", "taken", "after"),
    [
        # While replicating anything above match is news: start again behind match.
        (ProgressState.REPLICATE, 5, 10, 9, 9, True, 6),
        (ProgressState.REPLICATE, 5, 10, 5, 5, False, 10),
        (ProgressState.REPLICATE, 5, 10, 3, 3, False, 10),
        # A probe is answered by its own index only.
        (ProgressState.PROBE, 0, 10, 9, 4, True, 5),
        (ProgressState.PROBE, 0, 10, 8, 4, False, 10),
        (ProgressState.PROBE, 0, 10, 9, 20, True, 9),
        (ProgressState.PROBE, 0, 1, 0, 0, True, 1),
        (ProgressState.PROBE, 4, 10, 9, 1, True, 5),
    ],
)
def test_rejections(
    state: ProgressState, match: int, next_index: int, index: int, hint: int, taken: bool, after: int
) -> None:
    made = progress(state, match, next_index)
    assert made.rejected(index, hint) is taken
    assert made.next == after
    assert made.match < made.next


@pytest.mark.parametrize(
    ("index", "news", "match", "after"), [(4, False, 5, 8), (5, False, 5, 8), (6, True, 6, 8), (9, True, 9, 10)]
)
def test_acknowledgements(index: int, news: bool, match: int, after: int) -> None:
    made = progress(ProgressState.PROBE, 5, 8)
    assert made.accepted(index) is news
    assert (made.match, made.next) == (match, after)


def test_a_probe_pauses_until_it_is_answered() -> None:
    made = progress(ProgressState.PROBE, 0, 1)
    made.sent(3, 10)
    assert made.paused
    assert made.next == 1
    made.accepted(3)
    assert not made.paused


def test_after_a_snapshot_probing_starts_behind_it() -> None:
    made = progress(ProgressState.REPLICATE, 2, 9)
    made.become_snapshot(20)
    assert made.paused
    made.become_probe()
    assert (made.state, made.next, made.pending_snapshot) == (ProgressState.PROBE, 21, 0)


def test_after_a_failed_snapshot_probing_starts_behind_the_match() -> None:
    made = progress(ProgressState.REPLICATE, 2, 9)
    made.become_snapshot(20)
    made.pending_snapshot = 0
    made.become_probe()
    assert made.next == 3


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"id": 0}, "id"),
        ({"heartbeat_ticks": 0}, "heartbeat_ticks"),
        ({"election_ticks": 1}, "election_ticks"),
        ({"max_inflight_messages": 0}, "max_inflight_messages"),
    ],
)
def test_a_config_that_cannot_work_is_refused(wrong: dict[str, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Config(**{"id": 1, "randrange": lambda n: 0, **wrong})  # type: ignore[arg-type]
