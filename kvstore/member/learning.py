"""Reads what the store left unread when it started, or was replaced: a little at a time, between what clients ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvstore.member.member import Member

# So many live keys are learned at once, which takes less than half a millisecond; and the pause between.
LEARNED_KEYS = 300
LEARN_SECONDS = 0.002
# A start first finds its leader and answers who waits for it.
LEARN_AFTER = 0.3


class Learning:
    """One member's."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._under_way = False

    def start(self) -> None:
        """Begin soon."""
        self._member.loop.call_later(LEARN_AFTER, self.learn)

    def learn(self) -> None:
        """Begin now, if it is not under way."""
        if not self._under_way:
            self._under_way = True
            self._some()

    def _some(self) -> None:
        member = self._member
        self._under_way = not member.stopping and not member.store.learn(LEARNED_KEYS)
        if self._under_way:
            member.loop.call_later(LEARN_SECONDS, self._some)
