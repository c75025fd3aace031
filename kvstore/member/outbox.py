"""Commit indexes ride on the next append while appends are frequent.

After every commit a leader owes its followers the new commit index. Under load the next entries follow within a
millisecond or two and carry it anyway; a message of its own would cost each follower a wake-up, and with one request in
flight double all traffic. So such messages are held for at most HOLD_SECONDS while entries flow, and sent at once when
they do not, when something else goes to the same follower, or when it has clients of its own that wait for the commit.

Safe because Raft takes any message for one that may be late or lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from kvstore.raft.types import COMMIT_ASKING, COMMIT_ONLY, Message, MessageKind

HOLD_SECONDS = 0.002
# Entries flow while two sends of them lie no further apart.
FLOW_SECONDS = 0.003
_COMMITS = (COMMIT_ONLY, COMMIT_ASKING)
# So long a follower counts as one that waits, after it has passed on a request.
WAITING_SECONDS = 0.1


class Outbox:
    """Between Raft and the peer links of one member."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Iterable[Message]], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._loop = loop
        self._send = send
        self._clock = clock  # not loop.time(), which stands still during a turn
        self._held: dict[int, Message] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._last_entries = float("-inf")
        self._flowing = False
        self._waiting: dict[int, float] = {}

    def waits(self, peer: int) -> None:
        """The follower has passed a request on: it wants to know of commits at once."""
        self._waiting[peer] = self._clock()

    def send(self, messages: Iterable[Message]) -> None:
        """Messages of one Ready, in order."""
        now = self._clock()
        out: list[Message] = []
        entries = False
        for message in messages:
            if message.kind is MessageKind.APPEND:
                # Any append carries a commit index at least as new as one that is held.
                held = self._held.pop(message.to, None)
                if message.context in _COMMITS and self._may_hold(message.to, now):
                    self._hold(message, fresh=held is None)
                    continue
                entries = entries or bool(message.entries)
            elif held := self._held.pop(message.to, None):
                out.append(held)
            out.append(message)
        if entries:
            self._flowing = now - self._last_entries < FLOW_SECONDS
            self._last_entries = now
        if out:
            self._send(out)

    def _may_hold(self, peer: int, now: float) -> bool:
        if not self._flowing or now - self._last_entries > FLOW_SECONDS:
            return False
        return now - self._waiting.get(peer, float("-inf")) > WAITING_SECONDS

    def _hold(self, message: Message, *, fresh: bool) -> None:
        self._held[message.to] = message
        if fresh and self._timer is None:
            self._timer = self._loop.call_later(HOLD_SECONDS, self._release)

    def _release(self) -> None:
        self._timer = None
        held, self._held = list(self._held.values()), {}
        if held:
            self._send(held)
