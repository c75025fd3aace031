"""Which followers a leader's commits wait for: the quicker ones, as many as a quorum needs.

Pure: the caller says what time it is. Each follower's pace is the time from entries leaving to their being stored,
smoothed; one that has not answered yet is at least as slow as it has kept us waiting. The choice is sticky, or two
followers of nearly the same pace would take turns and both be asked every time.
"""

from __future__ import annotations

# Weight of a new measurement.
SMOOTHING = 0.2
# Another follower takes the place of one that is so many times slower, and slower by so many seconds.
SLOWER_TIMES = 2.0
SLOWER_SECONDS = 0.001
# A choice stands for so long.
REVIEW_SECONDS = 0.005


class Pace:
    """Times of one leader's followers."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        # What was sent first of all that is not answered: its last index and when it left.
        self._asked: dict[int, tuple[int, float]] = {}
        self._chosen: list[int] = []
        # The choice, among whom it was made, and until when it stands.
        self._needed: frozenset[int] | None = None
        self._among: tuple[frozenset[int], int] | None = None
        self._until = 0.0

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

    def needed(self, quorum: tuple[frozenset[int], int], now: float) -> frozenset[int] | None:
        """Whom a commit is to wait for: entries must leave for these at once. None: for everybody.

        quorum: the voters among the followers, and how many of them a commit needs.
        """
        if now >= self._until or quorum != self._among:
            voters, count = quorum
            self._needed = None if count >= len(voters) else self._choose(voters, count, now)
            self._among, self._until = quorum, now + REVIEW_SECONDS
        return self._needed

    def _choose(self, voters: frozenset[int], count: int, now: float) -> frozenset[int]:
        chosen = [peer for peer in self._chosen if peer in voters][:count]
        others = sorted([(self._slow(peer, now), peer) for peer in voters if peer not in chosen])
        while len(chosen) < count:
            chosen.append(others.pop(0)[1])
        slow = [self._slow(peer, now) for peer in chosen]
        if others and self._gives_way(max(slow), others[0][0]):
            chosen[slow.index(max(slow))] = others[0][1]
        self._chosen = chosen
        return frozenset(chosen)

    def _gives_way(self, slow: float, other: float) -> bool:
        return slow > other * SLOWER_TIMES and slow > other + SLOWER_SECONDS

    def _slow(self, peer: int, now: float) -> float:
        known = self._seconds.get(peer, 0.0)
        asked = self._asked.get(peer)
        return known if asked is None else max(known, now - asked[1])
