"""Linearizable reads: one ReadIndex round serves every read that waited for it (Raft dissertation, 6.4).

A read that arrives while a round is under way waits for the next one: the round's index was fixed before the read
began, so it would not be safe to use. A round that brings no answer (its message was lost, the leader went) is tried
again.

Reads of one kind that wait for the same round can be *gathered*: they cost a place in a list instead of a callback
each, and are served in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kvstore.errors import EtcdError, error

ReadDone = Callable[[EtcdError | None], None]
Serve = Callable[[list[Any], EtcdError | None], None]
"""serve(items, problem): all that was gathered for one round may be served, or the problem says why it never will."""

MAX_READS = 65_536


class Batch:
    """Items gathered for one round; called with the outcome as any ReadDone is."""

    __slots__ = ("_serve", "items")

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.items: list[Any] = []

    def __call__(self, problem: EtcdError | None) -> None:
        """The round has ended."""
        self._serve(self.items, problem)


_Read = tuple[float, ReadDone]  # deadline, who waits


class ReadQueue:
    """Reads that wait for a round, the round under way, and confirmed reads that wait for the apply loop.

    Invariant: a batch is open, that is, takes more items, only while it waits for a round that has not begun.
    """

    def __init__(self, first_round: int, retry_after: float) -> None:
        """first_round.

        Higher than any of an earlier life of this member. retry_after: seconds until a round without an answer is
        tried again.
        """
        self._retry_after = retry_after
        self._next: list[_Read] = []
        self._current: list[_Read] = []
        self._confirmed: list[tuple[int, list[_Read]]] = []
        self._open: dict[Serve, Batch] = {}
        # How many reads are in _next, and how many in _current.
        self._waiting = self._asked = 0
        self._round = first_round
        self._began = 0.0
        self._under_way = False
        # A quorum has confirmed after this moment (time of begin()) that this member leads; and whether the round under
        # way can say so.
        self.confirmed_at = float("-inf")
        self._tells = False

    @property
    def due(self) -> bool:
        """Whether a round can begin: reads wait, and none is under way."""
        return bool(self._next) and not self._under_way

    @property
    def under_way(self) -> bool:
        """Whether a round was begun and has no answer yet."""
        return self._under_way

    @property
    def waiting(self) -> bool:
        """Whether reads wait for a round, or for the answer to one."""
        return self._under_way or bool(self._next)

    @property
    def confirmed(self) -> bool:
        """Whether reads have had their round, and wait for no more than what it says to be applied."""
        return bool(self._confirmed)

    def add(self, deadline: float, done: ReadDone) -> None:
        """Queue a read. Raises TOO_MANY_REQUESTS when the bound is reached."""
        if self._waiting >= MAX_READS:
            raise error("TOO_MANY_REQUESTS")
        self._waiting += 1
        self._next.append((deadline, done))

    def join(self, serve: Serve, item: Any) -> bool:
        """Put the item into the open batch of `serve`; False if there is none. Hot.

        Raises TOO_MANY_REQUESTS when the bound is reached.
        """
        batch = self._open.get(serve)
        if batch is None:
            return False
        if self._waiting >= MAX_READS:
            raise error("TOO_MANY_REQUESTS")
        self._waiting += 1
        batch.items.append(item)
        return True

    def has_room(self, count: int) -> bool:
        """Whether so many more can be added, joined or gathered."""
        return self._waiting + count <= MAX_READS

    def join_all(self, serve: Serve, items: Sequence[Any]) -> None:
        """join() for items that has_room() for, into a batch that is open."""
        self._open[serve].items.extend(items)
        self._waiting += len(items)

    def gather(self, deadline: float, serve: Serve, item: Any) -> None:
        """Open a batch with that item; others may join it until the round begins. Raises TOO_MANY_REQUESTS.

        deadline: for all of it, so allow for those that join it before the next expire().
        """
        batch = Batch(serve)
        self.add(deadline, batch)
        batch.items.append(item)
        self._open[serve] = batch

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
        self._open.clear()
        self._asked += self._waiting
        self._waiting = 0
        self._round += 1
        self._began = now
        self._under_way = self._tells = True
        return self._round.to_bytes(8, "big")

    def refused(self) -> None:
        """Raft could not take the round (no leader): its reads wait for the next."""
        self._next = self._current + self._next
        self._current = []
        self._waiting += self._asked
        self._asked = 0
        self._under_way = False

    def confirm(self, context: bytes, index: int) -> bool:
        """Raft answered a round: its reads may be served once `index` is applied. False: not the round under way."""
        if not self._under_way or int.from_bytes(context, "big") != self._round:
            return False  # an older try of this round
        self._confirmed.append((index, self._current))
        self._current = []
        self._asked = 0
        self._under_way = False
        if self._tells:
            self.confirmed_at = self._began
        return True

    def doubt(self) -> None:
        """Another leader, or another role: what was confirmed, or is just being asked, is not about this member now."""
        self.confirmed_at = float("-inf")
        self._tells = False

    def ready(self, applied: int) -> list[ReadDone]:
        """Reads that may be served now that `applied` is applied."""
        if not self._confirmed:
            return []
        served: list[ReadDone] = []
        rest: list[tuple[int, list[_Read]]] = []
        for index, reads in self._confirmed:
            if index <= applied:
                served.extend(done for _, done in reads)
            else:
                rest.append((index, reads))
        self._confirmed = rest
        return served

    def expire(self, now: float) -> list[ReadDone]:
        """Reads past their deadline. To be called regularly: what comes later joins no batch from before."""
        self._open.clear()
        late = [done for deadline, done in self._next + self._current if deadline <= now]
        if late:
            self._next = [r for r in self._next if r[0] > now]
            self._current = [r for r in self._current if r[0] > now]
            self._waiting = count_reads(done for _, done in self._next)
            self._asked = count_reads(done for _, done in self._current)
        # What these wait for to be applied does not come: the disk stalls, say.
        stuck = [done for _, reads in self._confirmed for deadline, done in reads if deadline <= now]
        if stuck:
            self._confirmed = [(index, [r for r in reads if r[0] > now]) for index, reads in self._confirmed]
        return late + stuck

    def drain(self) -> list[ReadDone]:
        """Everything, for a member that stops."""
        everything = [done for _, done in self._next + self._current]
        everything.extend(done for _, reads in self._confirmed for _, done in reads)
        self._next, self._current, self._confirmed = [], [], []
        self._open.clear()
        self._waiting = self._asked = 0
        return everything


def count_reads(waiting: Iterable[ReadDone]) -> int:
    """How many reads these are, those in batches counted one by one."""
    return sum(len(done.items) if isinstance(done, Batch) else 1 for done in waiting)
