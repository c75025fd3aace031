"""Committed entries become changes of the state, as much of one as there is time for in a turn of the loop.

Invariants: entries are applied once and in order; while one is half applied nothing of the next is begun, and
`readable` is false while the state is not that of one revision.
Faults assumed: a crash anywhere; what is applied and how far is in one transaction of the backend (state.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kvstore.errors import EtcdError, error
from kvstore.failpoints import armed, hit
from kvstore.invariant import InvariantViolation
from kvstore.member.apply.batch_apply import BatchApply, Foreseen, Late, foresee
from kvstore.member.apply.state import State
from kvstore.member.consensus.changes import ChangeQueue
from kvstore.member.consensus.proposals import ProposalQueue
from kvstore.member.histogram import BATCH_SIZES, Histogram
from kvstore.member.requests import decode, decode_head
from kvstore.raft.types import CONF_CHANGE, Entry


class Applying:
    """The entries of one member.

    configure: applies a change of membership. wake: the driver has requests to propose again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        member_id: int,
        state: State,
        proposals: ProposalQueue,
        changes: ChangeQueue,
        *,
        configure: Callable[[Entry], None],
        wake: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._id = member_id
        self._state = state
        self._proposals = proposals
        self._changes = changes
        self._configure = configure
        self._wake = wake
        self._batch: BatchApply | None = None  # the entry that is being applied
        self._foreseen: Foreseen | None = None  # the entry that comes next, if it was foreseen what it leads to
        self._until_readable: list[Callable[[], None]] = []
        self._requests = self._bytes = 0
        self.batch_sizes = Histogram(BATCH_SIZES)

    def apply(self, entry: Entry, late: Late) -> bool:
        """Apply one committed entry, or as much of it as there is time for.

        False: it is to be called with the same entry again, before any other. InvariantViolation: one was left out.
        """
        state = self._state
        if entry.index <= state.applied_index:
            return True  # the backend had it before a restart
        if entry.index != state.applied_index + 1:
            raise InvariantViolation(f"entry {entry.index} cannot be applied to the state of {state.applied_index}")
        if self._batch is None:
            self._begin(entry, self._foreseen is not None and self._answer(entry))
        if self._batch is not None and not self._go_on(self._batch, late):
            return False
        state.applied_index, state.applied_term, state.applied_requests = entry.index, entry.term, 0
        return True

    @property
    def under_way(self) -> bool:
        """Whether an entry is half applied."""
        return self._batch is not None

    def foresee(self, index: int, term: int, sequence: int) -> None:
        """Our own batch with that first sequence is on its way to the disks, as the entry with that index and term.

        If it comes next and nothing can refuse it, its answers are made now instead of when clients wait for nothing
        else.
        """
        self._foreseen = None
        mine = self._proposals.batch(sequence)
        if mine and self._batch is None and index == self._state.applied_index + 1:
            self._foreseen = foresee(self._state.applier, mine, index, term)

    def doubt(self) -> None:
        """There is another leader or term: headers say so from here on, also of what was foreseen before."""
        self._foreseen = None

    def _answer(self, entry: Entry) -> bool:
        """Give the answers that were made for the entry, if they still hold; it is applied in this very call."""
        foreseen, self._foreseen = self._foreseen, None
        if (
            foreseen is None
            or entry.index != foreseen.index
            or entry.term != foreseen.term
            or self._state.applier.foreseen != foreseen.first
        ):
            return False
        foreseen.answer()
        return True

    def _begin(self, entry: Entry, answered: bool) -> None:
        if entry.term > self._state.applied_term and self._lost_before(entry.term):
            self._wake()
        if entry.kind == CONF_CHANGE:
            self._configure(entry)
        elif entry.data:
            self._batch = self._decode(entry.data, entry.index, answered)

    def _lost_before(self, term: int) -> bool:
        """What was proposed before the term and is not applied by now goes back into the queues."""
        return self._proposals.lost_before(term) + self._changes.lost_before(term) > 0

    def _decode(self, data: bytes, entry_index: int, answered: bool) -> BatchApply:
        if armed:
            hit("apply-before-batch")
        applier = self._state.applier
        applier.begin(self._loop.time(), entry_index)
        origin, first = decode_head(data)
        mine = self._proposals.applied(first) if origin == self._id else None
        requests = decode(data).requests if mine is None else ()
        self._bytes += len(data)
        return BatchApply(applier, requests, mine, self._state.applied_requests, answered=answered)

    def _go_on(self, batch: BatchApply, late: Late) -> bool:
        finished = batch.step(late)
        self._requests += batch.work
        batch.work = 0
        if not finished:
            self._state.applied_requests = batch.done
            return False
        self._batch = None
        self.batch_sizes.observe(batch.done)
        if armed:
            hit("apply-after-batch")
        self.serve_readers()
        return True

    def take_work(self) -> tuple[int, int]:
        """Roughly how many rows were written since it was asked last, and by how many bytes of requests."""
        work, self._requests, self._bytes = (self._requests, self._bytes), 0, 0
        return work

    def forget(self) -> None:
        """A snapshot takes the place of the tables, and of what was half applied."""
        # The queue has forgotten the batch; whether its rest is in the snapshot, nobody can say (Driver._installed).
        self._give_up(error("TIMEOUT_LEADER_FAIL"))

    def close(self) -> None:
        """The member stops, and applies nothing more."""
        self._give_up(error("STOPPED"))

    def _give_up(self, problem: EtcdError) -> None:
        batch, self._batch, self._foreseen = self._batch, None, None
        if batch is not None:
            batch.give_up(problem)

    @property
    def readable(self) -> bool:
        """Whether the state is that of one revision: no large delete is half done."""
        return not self._state.store.unfinished

    def when_readable(self, work: Callable[[], None]) -> None:
        """Call `work` once `readable` is true."""
        self._until_readable.append(work)

    def serve_readers(self) -> None:
        """Let those go on who wait for `readable`, if it is true now."""
        if self._until_readable and self.readable:
            waiting, self._until_readable = self._until_readable, []
            for work in waiting:
                self._loop.call_soon(work)
