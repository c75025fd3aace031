"""Which followers a leader's commits wait for."""

from __future__ import annotations

from kvstore.member.consensus.pace import REVIEW_SECONDS, Pace


class Paced:
    """Each follower stored one entry, in so many seconds."""

    def __init__(self, voters: set[int], count: int, seconds: dict[int, float]) -> None:
        self.quorum = (frozenset(voters), count)
        self.pace = Pace()
        for peer, took in seconds.items():
            self.pace.sent(peer, 1, 0.0)
            self.pace.answered(peer, 1, took)

    def store(self, peer: int, indexes: range, took: float) -> None:
        """Each of them asked for at 1.0 and stored so much later."""
        for index in indexes:
            self.pace.sent(peer, index, 1.0)
            self.pace.answered(peer, index, 1.0 + took)

    def needed(self, now: float) -> list[int] | None:
        found = self.pace.needed(self.quorum, now)
        return None if found is None else sorted(found)


def test_the_quicker_ones_as_many_as_a_quorum_needs() -> None:
    paced = Paced({2, 3, 4, 5}, 2, {2: 0.009, 3: 0.001, 4: 0.010, 5: 0.002})
    assert paced.needed(1.0) == [3, 5]


def test_all_where_all_are_needed() -> None:
    assert Paced({2, 3}, 2, {}).needed(0.0) is None
    assert Paced(set(), 0, {}).needed(0.0) is None, "no voters but us: a learner is sent to as ever"


def test_nearly_the_same_pace_changes_nothing() -> None:
    paced = Paced({2, 3}, 1, {2: 0.0011, 3: 0.0012})
    assert paced.needed(1.0) == [2]
    paced.store(2, range(2, 20), 0.0015)
    assert paced.needed(2.0) == [2]


def test_silence_counts_as_slow() -> None:
    paced = Paced({2, 3}, 1, {2: 0.003, 3: 0.004})
    assert paced.needed(1.0) == [2]
    paced.pace.sent(2, 2, 1.0)
    assert paced.needed(1.0 + REVIEW_SECONDS) == [2]
    assert paced.needed(1.0 + 2 * REVIEW_SECONDS) == [3]
    paced.pace.answered(2, 2, 1.011)
    assert paced.needed(1.02) == [3], "it stays with the one that it has come to"


def test_a_choice_stands_for_a_while_unless_the_voters_change() -> None:
    paced = Paced({2, 3}, 1, {2: 0.001, 3: 0.009})
    assert paced.needed(1.0) == [2]
    paced.store(2, range(2, 40), 0.5)
    assert paced.needed(1.0 + REVIEW_SECONDS / 2) == [2]
    paced.quorum = (frozenset({3, 4}), 1)
    assert paced.needed(1.0 + REVIEW_SECONDS / 2) == [4], "nothing is known of it"
    paced.quorum = (frozenset({4}), 1)
    assert paced.needed(1.0 + REVIEW_SECONDS / 2) is None


def test_an_answer_to_less_than_was_asked_for_is_no_answer() -> None:
    paced = Paced({2, 3}, 1, {2: 0.001, 3: 0.002})
    paced.needed(1.0)
    paced.pace.sent(2, 5, 1.0)
    paced.pace.answered(2, 4, 1.001)
    assert paced.needed(1.1) == [3]
