"""When a member says what: what a commit waits for at once, and what need not leave yet together with what follows.

Every message costs its receiver a wake-up, which on a busy machine is dearer than what is in it; with few requests in
flight wake-ups are most of the work. A leader's Raft makes its messages only for those who are asked (RawNode.ask), so
what waits is in the next message of its own accord. Two things can wait:

*Commit indexes.* After every commit a leader owes its followers the new one. While entries flow the next ones follow
within a millisecond or two and carry it anyway; it waits for them, HOLD_SECONDS at most. While they do not flow it
leaves behind the answers to this member's clients and the events of its watchers, for whom people wait.

*Entries for those whose answer is not needed.* A commit needs a quorum, not everybody: of two followers the quicker one
(pace.py) is asked at once, the other gets the entries of several rounds together, TOGETHER_SECONDS at most, and its
disk syncs once for them; while entries do not flow, together with the commit index that they soon lead to. Should the
quicker one fall silent, the others get what is not committed within two turns of HOLD_SECONDS.

(Rounds of reads go to everybody: there is no disk in them, and the first of two answers comes sooner than one's.)

Nothing waits for a follower that has passed on requests of its own lately, or in the way of large data. Safe because
Raft takes any message for one that may be late or lost; who has what before whom does not change what a commit means.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from kvstore.member.consensus.pace import Pace
from kvstore.raft.node import RawNode
from kvstore.raft.types import APPEND, LEADER, Message

HOLD_SECONDS = 0.002
TOGETHER_SECONDS = 0.010
# Entries flow while two sends of them lie no further apart.
FLOW_SECONDS = 0.004
# So long a follower counts as one that waits, after it has passed on a request.
WAITING_SECONDS = 0.1
# With more than this on its way everybody is asked at once.
HELD_BYTES = 32 * 1024

_NOBODY: frozenset[int] = frozenset()


class Outbox:
    """Between one member's Raft and its peer links.

    send: gives messages to the links. silent: whether this member must say nothing for now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        raw: RawNode,
        send: Callable[[Sequence[Message]], None],
        silent: Callable[[], bool],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._loop = loop
        self._raw = raw
        self._send = send
        self._silent = silent
        self._clock = clock  # not loop.time(), which stands still during a turn
        self._pace = Pace()
        # The last index that somebody was asked to store, and when the first came of those that others were not.
        self._asked_for = 0
        self._since: float | None = None
        self._last_entries = float("-inf")
        self._flowing = False
        # Commit indexes are to leave behind the answers.
        self._commits_due = False
        self._waiting: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._last_index = 0  # at the timer's last turn

    def forget(self) -> None:
        """Another term, in which everybody has been told what there is: what was measured is of no use any more."""
        self._pace = Pace()
        self._asked_for = self._raw.last_index
        self._since = None
        self._commits_due = False

    def waits(self, peer: int) -> None:
        """The follower has passed a request on: it wants to have entries and to know of commits at once."""
        self._waiting[peer] = self._clock()

    @property
    def somebody_waits(self) -> bool:
        """Whether a follower waits to hear of commits."""
        return bool(self._waiting and self._who_waits(self._clock()))

    def _who_waits(self, now: float) -> frozenset[int]:
        self._waiting = {peer: since for peer, since in self._waiting.items() if now - since <= WAITING_SECONDS}
        return frozenset(self._waiting)

    def answered(self, peer: int, index: int) -> None:
        """The follower has stored everything up to the index."""
        self._pace.answered(peer, index, self._clock())

    # ---- out

    def speak(self) -> bool:
        """What is to be said now leaves before the Ready that it belongs to is made. Whether anything has left."""
        raw = self._raw
        if self._silent():
            return False
        if raw.appends_due:
            self._ask()
        messages = raw.take_messages()
        if messages:
            self.say(messages)
        return bool(messages)

    def say(self, messages: Sequence[Message]) -> None:
        """These leave, in order."""
        self._send(messages)
        for message in messages:
            if message.kind is APPEND and message.entries:
                self._pace.sent(message.to, message.index + len(message.entries), self._clock())

    def _ask(self) -> None:
        """A leader has entries or a commit index to send: whom to?"""
        raw, now = self._raw, self._clock()
        waiting = self._who_waits(now) if self._waiting else _NOBODY
        last = raw.last_index
        asked: frozenset[int] | None = waiting
        if last > self._asked_for:
            self._asked_for = last
            self._commits_due = False
            self._flowing = now - self._last_entries < FLOW_SECONDS
            self._last_entries = now
            needed = self._pace.needed(raw.quorum, now)
            asked = None if needed is None or raw.uncommitted_bytes > HELD_BYTES else needed | waiting
            if asked is not None and self._since is None:
                self._since = now
        elif not (self._flowing and now - self._last_entries <= FLOW_SECONDS):
            self._commits_due = True
        raw.ask(asked)
        if asked is None:
            self._since = None
        elif self._timer is None:
            self._timer = self._loop.call_later(HOLD_SECONDS, self._look)

    def tell_commits_last(self) -> None:
        """Answers were made: behind them, and behind the events, which take a turn more, come the commit indexes."""
        if self._commits_due:
            self._loop.call_soon(self._loop.call_soon, self._tell_commits)

    def _tell_commits(self) -> None:
        if self._commits_due:
            self._ask_everybody()

    def _look(self) -> None:
        """Now and then while something waits: has it waited for long enough?"""
        self._timer = None
        raw, now = self._raw, self._clock()
        before, self._last_index = self._last_index, raw.last_index
        if raw.role is not LEADER:
            return
        ended = now - self._last_entries >= HOLD_SECONDS
        stuck = raw.commit < before
        if ended or stuck or (self._since is not None and now - self._since > TOGETHER_SECONDS - HOLD_SECONDS):
            self._ask_everybody()
        else:
            self._timer = self._loop.call_later(HOLD_SECONDS, self._look)

    def _ask_everybody(self) -> None:
        self._commits_due = False
        self._since = None
        self._raw.ask(None)
        if not self._silent() and (messages := self._raw.take_messages()):
            self.say(messages)
