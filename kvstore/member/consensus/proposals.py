"""Requests of this member on their way through the log.

A request waits in the queue until the driver takes a batch; the batch is in flight until it is applied here. A batch
remembers the term it was proposed in. A leader takes a batch only in that very term, so once an entry of a later term
is applied, a batch of an earlier term that was not applied before it never will be: it goes back to the front of the
queue and is proposed again. So a change of leaders costs clients time and never an error, and no request is ever
applied twice.

Memory is bounded by requests and bytes, queued and in flight together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, islice
from typing import Any, NamedTuple

from kvstore.errors import EtcdError, error
from kvstore.member.requests import RequestKind, encode_head, pack_request

Done = Callable[[Any, EtcdError | None], None]

MAX_REQUESTS = 65_536
MAX_BYTES = 64 * 1024 * 1024
# One batch is one log entry: large enough to amortise a disk write, small enough that applying it does not hold the
# loop (about 6 µs a put).
BATCH_REQUESTS = 1_000
BATCH_BYTES = 512 * 1024


# What a leader concludes from its own clock. The next leader's says something else, and clients may have heard it: so
# these are never proposed in a later term.
LEADERS_OWN = frozenset((RequestKind.LEASE_EXPIRE, RequestKind.LEASE_CHECKPOINT))


class Proposal(NamedTuple):
    """One request: its bytes for the log, its parsed form for our own apply, and who waits."""

    kind: int
    body: bytes
    request: Any
    done: Done
    deadline: float


_new = tuple.__new__  # a third of what the class itself takes


class _InFlight(NamedTuple):
    term: int
    data: bytes
    proposals: list[Proposal]
    bytes: int
    oldest: float  # deadline


class ProposalQueue:
    """Queued and in-flight requests of one member."""

    def __init__(self, origin: int, first_sequence: int) -> None:
        self._origin = origin
        self._next = first_sequence
        self._queued: deque[Proposal] = deque()
        self._in_flight: dict[int, _InFlight] = {}
        self._requests = 0
        self._bytes = 0

    def __len__(self) -> int:
        """Requests queued and in flight."""
        return self._requests

    @property
    def waiting(self) -> int:
        """Requests not yet in a batch."""
        return len(self._queued)

    @property
    def size(self) -> int:
        """Bytes of the requests queued and in flight."""
        return self._bytes

    def add(self, proposal: Proposal) -> None:
        """Queue a request. Raises TOO_MANY_REQUESTS when the bound is reached."""
        if self._requests >= MAX_REQUESTS or self._bytes >= MAX_BYTES:
            raise error("TOO_MANY_REQUESTS")
        self._queued.append(proposal)
        self._requests += 1
        self._bytes += len(proposal.body)

    def has_room(self, count: int, size: int) -> bool:
        """Whether so many requests with so many bytes in all can be added, each of them."""
        return self._requests + count <= MAX_REQUESTS and self._bytes + size <= MAX_BYTES

    def add_all(self, kind: int, bodies: Sequence[bytes], dones: Iterable[Done], deadline: float) -> None:
        """add() for requests of one kind that has_room() for, whose bytes are all that our own apply needs. Hot."""
        self._queued.extend(
            [_new(Proposal, (kind, body, None, done, deadline)) for body, done in zip(bodies, dones, strict=True)]
        )
        self._requests += len(bodies)
        self._bytes += sum(map(len, bodies))

    def take(self, term: int) -> tuple[int, bytes] | None:
        """The next batch's first sequence and bytes, now in flight; None when nothing waits."""
        queued = self._queued
        if not queued:
            return None
        first = self._next
        if len(queued) == 1:
            alone = queued.popleft()
            size = len(alone[1])
            taken, data = [alone], encode_head(self._origin, first) + pack_request(alone[0], size) + alone[1]
        else:
            taken, size, data = self._many(encode_head(self._origin, first))
        self._next = first + len(taken)
        self._in_flight[first] = _new(_InFlight, (term, data, taken, size, taken[0][4]))
        return first, data

    def _many(self, head: bytes) -> tuple[list[Proposal], int, bytes]:
        """As many as one batch may have, how large they are, and the batch. Hot: as much of it as can be in C."""
        queued = self._queued
        taken = list(islice(queued, BATCH_REQUESTS))
        sizes = [len(proposal[1]) for proposal in taken]
        size = sum(sizes)
        if size > BATCH_BYTES:
            fitting = max(bisect_right(list(accumulate(sizes)), BATCH_BYTES), 1)
            del taken[fitting:]
            size = sum(sizes[:fitting])
        if len(taken) == len(queued):
            queued.clear()
        else:
            for _ in taken:
                queued.popleft()
        parts = [head]
        parts += [part for p, length in zip(taken, sizes, strict=False) for part in (pack_request(p[0], length), p[1])]
        return taken, size, b"".join(parts)

    def untake(self, first: int) -> None:
        """Raft would not take the batch: put its requests back where they were."""
        batch = self._in_flight.pop(first)
        self._queued.extendleft(reversed(batch.proposals))

    def batch(self, first: int) -> Sequence[Proposal]:
        """The requests of a batch in flight; none if it is not."""
        batch = self._in_flight.get(first)
        return () if batch is None else batch.proposals

    def applied(self, first: int) -> list[Proposal] | None:
        """The waiting requests of an applied batch, in order; None if nobody waits (an earlier life of this member)."""
        batch = self._in_flight.pop(first, None)
        if batch is None:
            return None
        self._requests -= len(batch.proposals)
        self._bytes -= batch.bytes
        return batch.proposals

    def in_flight(self, term: int) -> list[tuple[int, bytes]]:
        """Batches proposed in that term, in order: what to send again when the link to the leader comes back."""
        return [(first, b.data) for first, b in self._in_flight.items() if b.term == term]

    def oldest(self, term: int) -> int:
        """The first sequence of the oldest batch that was proposed in that term and is still in flight; 0: none."""
        return next((first for first, b in self._in_flight.items() if b.term == term), 0)

    def overtaken(self, term: int) -> list[Done]:
        """A snapshot as of an entry of `term` took the place of the log: who waits for batches that may be in it."""
        lost = [self._in_flight.pop(first) for first in [f for f, b in self._in_flight.items() if b.term <= term]]
        waiting = [p for batch in lost for p in batch.proposals]
        self._requests -= len(waiting)
        self._bytes -= sum(batch.bytes for batch in lost)
        return [p.done for p in waiting if p.done is not _nobody]

    def withdraw(self) -> None:
        """We do not lead: what only a leader may ask for is not asked for any more."""
        if any(p.kind in LEADERS_OWN for p in self._queued):
            stale = [p for p in self._queued if p.kind in LEADERS_OWN]
            self._queued = deque(p for p in self._queued if p.kind not in LEADERS_OWN)
            self._requests -= len(stale)
            self._bytes -= sum(len(p.body) for p in stale)
            for proposal in stale:
                proposal.done(None, error("LEADER_CHANGED"))

    def lost_before(self, term: int) -> int:
        """An entry of `term` was applied: queue again what was proposed before it. Returns how many requests."""
        lost = [first for first, b in self._in_flight.items() if b.term < term]
        count = 0
        for first in reversed(lost):
            count += self._requeue(first)
        return count

    def _requeue(self, first: int) -> int:
        """Back to the front of the queue, but for those whose client has been told that they timed out."""
        batch = self._in_flight.pop(first)
        alive = [p for p in batch.proposals if p.done is not _nobody and p.kind not in LEADERS_OWN]
        for proposal in batch.proposals:
            if proposal.kind in LEADERS_OWN:
                proposal.done(None, error("LEADER_CHANGED"))
        self._requests -= len(batch.proposals) - len(alive)
        self._bytes -= batch.bytes - sum(len(p.body) for p in alive)
        self._queued.extendleft(reversed(alive))
        return len(alive)

    def expire(self, now: float) -> list[Proposal]:
        """Requests that were still queued at their deadline; they will not be proposed."""
        if not self._queued or self._queued[0].deadline > now:
            return []  # they wait in the order of their deadlines
        expired = [p for p in self._queued if p.deadline <= now]
        if expired:
            self._queued = deque(p for p in self._queued if p.deadline > now)
            self._requests -= len(expired)
            self._bytes -= sum(len(p.body) for p in expired)
        return expired

    def overdue(self, now: float) -> list[Proposal]:
        """In-flight requests past their deadline: the client gets an error, the batch stays (it may yet be applied)."""
        found: list[Proposal] = []
        for first, batch in list(self._in_flight.items()):
            if batch.oldest > now:
                continue
            late = [p for p in batch.proposals if p.deadline <= now]
            if late:
                found.extend(late)
                keep = [
                    p._replace(done=_nobody, deadline=float("inf")) if p.deadline <= now else p for p in batch.proposals
                ]
                oldest = min(p.deadline for p in keep)
                self._in_flight[first] = batch._replace(proposals=keep, oldest=oldest)
        return found

    def drain(self) -> list[Proposal]:
        """Everything, for a member that stops."""
        everything = [p for b in self._in_flight.values() for p in b.proposals]
        everything.extend(self._queued)
        self._in_flight.clear()
        self._queued.clear()
        self._requests = self._bytes = 0
        return everything


def _nobody(result: Any, problem: EtcdError | None) -> None:
    """The waiter of a request whose client was already told that it timed out."""
