"""Which followers a leader's commits wait for."""

from __future__ import annotations

from kvstore.member.pace import Pace


def paced(voters: set[int], count: int, seconds: dict[int, float]) -> Pace:
    """Each follower stored one entry, in so many seconds."""
    pace = Pace(lambda: (frozenset(voters), count))
    for peer, took in seconds.items():
        pace.sent(peer, 1, 0.0)
        pace.answered(peer, 1, took)
    return pace


def needed(pace: Pace, now: float, *peers: int) -> list[int]:
    return [peer for peer in peers if pace.needs(peer, now)]


def test_the_quicker_ones_as_many_as_a_quorum_needs() -> None:
    pace = paced({2, 3, 4, 5}, 2, {2: 0.009, 3: 0.001, 4: 0.010, 5: 0.002})
    assert needed(pace, 1.0, 2, 3, 4, 5) == [3, 5]


def test_all_where_all_are_needed() -> None:
    assert needed(paced({2, 3}, 2, {}), 0.0, 2, 3) == [2, 3]
    assert needed(paced(set(), 0, {}), 0.0, 9) == [9], "no voters but us: a learner is sent to as ever"


def test_a_learner_is_never_waited_for() -> None:
    assert needed(paced({2, 3}, 1, {2: 0.001, 3: 0.002}), 1.0, 2, 3, 9) == [2]


def test_nearly_the_same_pace_changes_nothing() -> None:
    pace = paced({2, 3}, 1, {2: 0.0011, 3: 0.0012})
    assert needed(pace, 1.0, 2, 3) == [2]
    for index in range(2, 20):
        pace.sent(2, index, 1.0)
        pace.answered(2, index, 1.0015)
    assert needed(pace, 2.0, 2, 3) == [2]


def test_silence_counts_as_slow() -> None:
    pace = paced({2, 3}, 1, {2: 0.001, 3: 0.002})
    assert needed(pace, 1.0, 2, 3) == [2]
    pace.sent(2, 2, 1.0)
    assert needed(pace, 1.003, 2, 3) == [2]
    assert needed(pace, 1.005, 2, 3) == [3]
    pace.answered(2, 2, 1.006)
    assert needed(pace, 1.007, 2, 3) == [3], "it stays with the one that it has come to"


def test_an_answer_to_less_than_was_asked_for_is_no_answer() -> None:
    pace = paced({2, 3}, 1, {2: 0.001, 3: 0.002})
    needed(pace, 1.0, 2, 3)
    pace.sent(2, 5, 1.0)
    pace.answered(2, 4, 1.001)
    assert needed(pace, 1.1, 2, 3) == [3]


def test_who_left_the_cluster_is_not_chosen() -> None:
    voters = {2, 3, 4}
    pace = Pace(lambda: (frozenset(voters), 1))
    assert needed(pace, 0.0, 2, 3, 4) == [2]
    voters.discard(2)
    assert needed(pace, 0.0, 2, 3, 4) == [3]
