"""Which batches a leader has taken from its followers in its term: each one once, in whatever order they come.

A follower passes a batch on again whenever the first time may have been in vain, so a leader must know what it has. A
high-water mark would not do: a batch that was lost comes after younger ones that were not. So the numbers are kept; the
follower says with each batch which is the oldest that it still waits for, and nothing older is wanted any more.
"""

from __future__ import annotations


class Intake:
    """What was taken in one term; small, for a follower waits for few batches at a time."""

    def __init__(self) -> None:
        self._term = 0
        self._taken: dict[tuple[int, int], set[int]] = {}
        self._oldest: dict[tuple[int, int], int] = {}

    def turn_to(self, term: int) -> bool:
        """Forget what was taken in another term; whether it was another."""
        if self._term == term:
            return False
        self._term = term
        self._taken.clear()
        self._oldest.clear()
        return True

    @property
    def term(self) -> int:
        """The term that this is about."""
        return self._term

    def take(self, peer: int, kind: int, number: int, oldest: int) -> bool:
        """Whether to take a batch: for the first time, and not one its sender has given up or seen applied.

        oldest: the lowest number that the sender still waits for; 0 if it does not say.
        """
        key = (peer, kind)
        taken = self._taken.setdefault(key, set())
        known = self._oldest.get(key, 0)
        if oldest > known:
            known = self._oldest[key] = oldest
            self._taken[key] = taken = {one for one in taken if one >= oldest}
        if number < known or number in taken:
            return False
        taken.add(number)
        return True
