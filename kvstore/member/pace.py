"""Which followers a leader's commits wait for: the quicker ones, as many as a quorum needs.

Pure: the caller says what time it is. Each follower's pace is the time from entries leaving to their being stored,
smoothed; one that has not answered yet is at least as slow as it has kept us waiting. The choice is sticky, or two
followers of nearly the same pace would take turns and both be asked every time.
"""

from __future__ import annotations

from collections.abc import Callable

# Weight of a new measurement.
SMOOTHING = 0.2
# Another follower takes the place of one that is so many times slower, and slower by so many seconds.
SLOWER_TIMES = 2.0
SLOWER_SECONDS = 0.001


class Pace:
    """Times of one leader's followers.

    quorum: the voters among the followers, and how many of them a commit needs.
    """

    def __init__(self, quorum: Callable[[], tuple[frozenset[int], int]]) -> None:
        self._quorum = quorum
        self._seconds: dict[int, float] = {}
        # What was sent first of all that is not answered: its last index and when it left.
        self._asked: dict[int, tuple[int, float]] = {}
        self._chosen: list[int] = []

    def sent(self, peer: int, index: int, now: float) -> None:
        """Entries up to the index have left for the follower."""
        self._asked.setdefault(peer, (index, now))

    def answered(self, peer: int, index: int, now: float) -> None:
        """The follower has stored everything up to the index."""
        asked = self._asked.get(peer)
        if asked is not None and index >= asked[0]:
            del self._asked[peer]
            before = self._seconds.get(peer)
            took = now - asked[1]
            self._seconds[peer] = took if before is None else before + SMOOTHING * (took - before)

    def needs(self, peer: int, now: float) -> bool:
        """Whether a commit is to wait for this follower: entries must leave for it at once."""
        voters, count = self._quorum()
        if count >= len(voters):
            return True
        self._choose(voters, count, now)
        return peer in self._chosen

    def _choose(self, voters: frozenset[int], count: int, now: float) -> None:
        chosen = [peer for peer in self._chosen if peer in voters][:count]
        others = sorted((peer for peer in voters if peer not in chosen), key=lambda peer: (self._slow(peer, now), peer))
        while len(chosen) < count:
            chosen.append(others.pop(0))
        slowest = max(chosen, key=lambda peer: self._slow(peer, now))
        if others and self._gives_way(self._slow(slowest, now), self._slow(others[0], now)):
            chosen[chosen.index(slowest)] = others[0]
        self._chosen = chosen

    def _gives_way(self, slow: float, other: float) -> bool:
        return slow > other * SLOWER_TIMES and slow > other + SLOWER_SECONDS

    def _slow(self, peer: int, now: float) -> float:
        _, since = self._asked.get(peer, (0, now))
        return max(self._seconds.get(peer, 0.0), now - since)
