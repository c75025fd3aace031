"""Linearizable reads: one ReadIndex round serves every read that waited for it (Raft dissertation, 6.4).

A read that arrives while a round is under way waits for the next one: the round's index was fixed before the read
began, so it would not be safe to use. A round that brings no answer (its message was lost, the leader went) is tried
again.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.errors import EtcdError, error

ReadDone = Callable[[EtcdError | None], None]

MAX_READS = 65_536


class ReadQueue:
    """Reads that wait for a round, the round under way, and confirmed reads that wait for the apply loop."""

    def __init__(self, first_round: int, retry_after: float) -> None:
        """first_round.

        Higher than any of an earlier life of this member. retry_after: seconds until a round without an answer is
        tried again.
        """
        self._retry_after = retry_after
        self._next: list[tuple[float, ReadDone]] = []
        self._current: list[tuple[float, ReadDone]] = []
        self._confirmed: list[tuple[int, list[tuple[float, ReadDone]]]] = []
        self._round = first_round
        self._began = 0.0
        self._under_way = False

    def add(self, deadline: float, done: ReadDone) -> None:
        """Queue a read. Raises TOO_MANY_REQUESTS when the bound is reached."""
        if len(self._next) >= MAX_READS:
            raise error("TOO_MANY_REQUESTS")
        self._next.append((deadline, done))

    def begin(self, now: float) -> bytes | None:
        """The context of a round to ask Raft for, or None if there is nothing to ask now."""
        if self._under_way:
            if now - self._began < self._retry_after:
                return None
        elif not self._next:
            return None
        # A new round also serves the reads of one that is being tried again.
        self._current.extend(self._next)
        self._next = []
        self._round += 1
        self._began = now
        self._under_way = True
        return self._round.to_bytes(8, "big")

    def refused(self) -> None:
        """Raft could not take the round (no leader): its reads wait for the next."""
        self._next = self._current + self._next
        self._current = []
        self._under_way = False

    def confirm(self, context: bytes, index: int) -> None:
        """Raft answered a round: its reads may be served once `index` is applied."""
        if not self._under_way or int.from_bytes(context, "big") != self._round:
            return  # an older try of this round
        self._confirmed.append((index, self._current))
        self._current = []
        self._under_way = False

    def ready(self, applied: int) -> list[ReadDone]:
        """Reads that may be served now that `applied` is applied."""
        if not self._confirmed:
            return []
        served: list[ReadDone] = []
        rest: list[tuple[int, list[tuple[float, ReadDone]]]] = []
        for index, reads in self._confirmed:
            if index <= applied:
                served.extend(done for _, done in reads)
            else:
                rest.append((index, reads))
        self._confirmed = rest
        return served

    def expire(self, now: float) -> list[ReadDone]:
        """Reads past their deadline."""
        late = [done for deadline, done in self._next + self._current if deadline <= now]
        if late:
            self._next = [r for r in self._next if r[0] > now]
            self._current = [r for r in self._current if r[0] > now]
        return late

    def drain(self) -> list[ReadDone]:
        """Everything, for a member that stops."""
        everything = [done for _, done in self._next + self._current]
        everything.extend(done for _, reads in self._confirmed for _, done in reads)
        self._next, self._current, self._confirmed = [], [], []
        return everything
