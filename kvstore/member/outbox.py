"""What need not leave at once waits for company while entries flow.

Every message costs its receiver a wake-up, which on a busy machine is dearer than what is in it; with few requests in
flight wake-ups are most of the work. Two kinds can wait:

*Commit indexes*, for HOLD_SECONDS, while entries flow. After every commit a leader owes its followers the new one. The
next entries follow within a millisecond or two and carry it anyway. While they do not flow it leaves behind the answers
to clients (`can_come_last`).

*Entries for those whose answer is not needed*, for TOGETHER_SECONDS. A commit needs a quorum, not everybody: of two
followers the quicker one gets entries at once, the other gets those of several rounds together, and its disk syncs
once for them. Which one is the quicker is measured all the time (pace.py). Should it fall silent, the others get what
is not committed within HOLD_SECONDS, and it loses its place with the next entries.

(Rounds of reads go to everybody: there is no disk in them, and the first of two answers comes sooner than one's.)

When entries do not flow, that other follower gets them with the commit index that they soon lead to: one message for
two, and its wake-up and its disk are not in the way of what the client waits for.

Neither waits when something else goes to the same follower (what is sent keeps its order), or when it has passed on
requests of its own lately. Safe because Raft takes any message for one that may be late or lost; who has what before
whom changes nothing in what a commit means.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from kvstore.member.pace import Pace
from kvstore.raft.types import APPEND, COMMITS, Message, size_of

HOLD_SECONDS = 0.002
TOGETHER_SECONDS = 0.010
# Entries flow while two sends of them lie no further apart.
FLOW_SECONDS = 0.004
# So long a follower counts as one that waits, after it has passed on a request.
WAITING_SECONDS = 0.1
# More than this is worth a message of its own.
HELD_BYTES = 32 * 1024


class _Held:
    """What waits for one follower: entries in order, then perhaps a commit index."""

    __slots__ = ("bytes", "commit", "entries", "since")

    def __init__(self) -> None:
        self.entries: list[Message] = []
        # When each of them came.
        self.since: list[float] = []
        self.bytes = 0
        self.commit: Message | None = None

    def add(self, message: Message, now: float) -> None:
        """One that may wait, at that time."""
        if message.entries:
            self.entries.append(message)
            self.since.append(now)
            self.bytes += size_of(message.entries)
            self.commit = None
        else:
            self.commit = message

    def join(self, message: Message) -> bool:
        """Let the last entries carry a commit index that follows right behind them. Whether they do."""
        if message.context not in COMMITS or not self.entries:
            return False
        last = self.entries[-1]
        if message.log_term != last.entries[-1].term or message.index != last.entries[-1].index:
            return False
        self.entries[-1] = replace(last, commit=message.commit)
        return True

    def messages(self) -> list[Message]:
        """All of it, in order."""
        return self.entries if self.commit is None else [*self.entries, self.commit]

    def may_stay(self, committed: int, now: float) -> bool:
        """Others are storing what is in here quickly enough, and it is not here for long."""
        if not self.entries or now - self.since[0] > TOGETHER_SECONDS - HOLD_SECONDS:
            return False
        waiting = zip(self.entries, self.since, strict=True)
        oldest = next((since for m, since in waiting if m.index + len(m.entries) > committed), now)
        return now - oldest < HOLD_SECONDS


class Outbox:
    """Between Raft and the peer links of one member.

    send: gives messages to the links. quorum: the voters among the followers, and how many of them a commit needs.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Iterable[Message]], None],
        quorum: Callable[[], tuple[frozenset[int], int]],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._loop = loop
        self._send = send
        self._clock = clock  # not loop.time(), which stands still during a turn
        self._quorum = quorum
        self._pace = Pace(quorum)
        self._held: dict[int, _Held] = {}
        self._committed = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last_entries = float("-inf")
        self._flowing = False
        self._waiting: dict[int, float] = {}

    def forget(self) -> None:
        """Another term: what waited is of no use any more, nor what was measured."""
        self._held.clear()
        self._committed = 0
        self._pace = Pace(self._quorum)

    def waits(self, peer: int) -> None:
        """The follower has passed a request on: it wants to have entries and to know of commits at once."""
        self._waiting[peer] = self._clock()

    def answered(self, peer: int, index: int) -> None:
        """The follower has stored everything up to the index."""
        self._pace.answered(peer, index, self._clock())

    def send(self, messages: Iterable[Message]) -> None:
        """Messages of one Ready, in order."""
        now = self._clock()
        out: list[Message] = []
        entries = False
        for message in messages:
            held = self._held.get(message.to)
            self._committed = max(self._committed, message.commit)
            is_append = message.kind is APPEND
            entries = entries or (is_append and bool(message.entries))
            if is_append and self._may_hold(message, held, now):
                self._hold(message, held, now)
                continue
            if held is not None:
                del self._held[message.to]
                # Any append carries a commit index at least as new as one that is held.
                joined = held.join(message)
                out += self._leave(message.to, held.entries if is_append else held.messages(), now)
                if joined:
                    continue
            if is_append and message.entries:
                self._pace.sent(message.to, message.index + len(message.entries), now)
            out.append(message)
        if entries:
            self._flowing = now - self._last_entries < FLOW_SECONDS
            self._last_entries = now
        if out:
            self._send(out)

    def _flows(self, now: float) -> bool:
        return self._flowing and now - self._last_entries <= FLOW_SECONDS

    def can_come_last(self, messages: Iterable[Message]) -> bool:
        """Whether these are commit indexes that nobody waits for, while entries do not flow."""
        now = self._clock()
        return not self._flows(now) and all(m.context in COMMITS and not self._waits(m.to, now) for m in messages)

    @property
    def somebody_waits(self) -> bool:
        """Whether a follower waits to hear of commits."""
        now = self._clock() if self._waiting else 0.0
        return any(self._waits(peer, now) for peer in self._waiting)

    def _waits(self, peer: int, now: float) -> bool:
        return now - self._waiting.get(peer, float("-inf")) <= WAITING_SECONDS

    def _may_hold(self, message: Message, held: _Held | None, now: float) -> bool:
        if self._waits(message.to, now):
            return False
        if not message.entries:
            return message.context in COMMITS and self._flows(now)
        if self._pace.needs(message.to, now):
            return False
        return size_of(message.entries) + (held.bytes if held else 0) <= HELD_BYTES

    def _hold(self, message: Message, held: _Held | None, now: float) -> None:
        if held is None:
            held = self._held[message.to] = _Held()
            if self._timer is None:
                self._timer = self._loop.call_later(HOLD_SECONDS, self._release)
        held.add(message, now)

    def _release(self) -> None:
        self._timer = None
        now, committed = self._clock(), self._committed
        out: list[Message] = []
        for peer, held in list(self._held.items()):
            if not held.may_stay(committed, now):
                del self._held[peer]
                out += self._leave(peer, held.messages(), now)
        if self._held:
            self._timer = self._loop.call_later(HOLD_SECONDS, self._release)
        if out:
            self._send(out)

    def _leave(self, peer: int, messages: list[Message], now: float) -> list[Message]:
        """These leave for the follower now."""
        for message in messages:
            if message.kind is APPEND and message.entries:
                self._pace.sent(peer, message.index + len(message.entries), now)
        return messages
