"""What a member says to the others, and when in a turn: before anything else that is to be done; or, if all it says is
what was committed, behind the answers to this member's clients and the events of its watchers, for whom people wait.
"""

from __future__ import annotations

import asyncio

from kvstore.member.outbox import Outbox
from kvstore.raft.types import Message


class Speech:
    """The messages of one driver on their way to the outbox."""

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self._loop = loop
        self.outbox = outbox
        # Commit indexes for followers, which leave behind the answers to clients.
        self._commits: list[Message] = []
        # Answers have left ahead of the messages that tell the followers what was committed.
        self._answered = False
        self._over = False

    @property
    def has_commits(self) -> bool:
        """Whether commit indexes wait for tell_commits_last()."""
        return bool(self._commits)

    def answered_ahead(self) -> None:
        """What the next messages say was committed has been answered already."""
        self._answered = True

    def say(self, messages: list[Message], *, committed: bool) -> bool:
        """Say all of it, in order. committed: answers and events are to follow. Whether anything has left."""
        answered, self._answered = self._answered, False
        if (committed or answered) and self.outbox.can_come_last(messages):
            self._commits += messages
            return False
        self.tell_commits()
        self.outbox.send(messages)
        return True

    def tell_commits_last(self) -> None:
        """Answers were made: behind them, and behind the events, which take a turn more, come the commit indexes."""
        if self._commits:
            self._loop.call_soon(self._loop.call_soon, self.tell_commits)

    def tell_commits(self) -> None:
        """Now."""
        if self._commits and not self._over:
            commits, self._commits = self._commits, []
            self.outbox.send(commits)

    def forget(self) -> None:
        """Another term: what waited is of no use any more."""
        self._commits.clear()
        self.outbox.forget()

    def stop(self) -> None:
        """Nothing leaves that was put off."""
        self._over = True
