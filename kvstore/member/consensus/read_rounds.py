"""Rounds of reads (Raft's ReadIndex): when one begins, whom it lets go on, and that its leader stays awake for it.

A leader also stays awake for the next read once it has answered all there were, as long as they come soon: who reads
one thing after the other asks again within microseconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from kvstore.member.consensus.busy_poll import BusyPoll
from kvstore.member.consensus.proposals import ProposalQueue
from kvstore.member.consensus.reads import ReadQueue
from kvstore.raft.node import RawNode
from kvstore.raft.types import LEADER, ReadState

log = logging.getLogger(__name__)

# So long a leader stays awake for the next read.
NEXT_SECONDS = 0.0002


class ReadRounds:
    """Between one member's reads and its Raft."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        raw: RawNode,
        reads: ReadQueue,
        proposals: ProposalQueue,
        wake: Callable[[], None],
    ) -> None:
        """wake: a round is to begin at the end of this turn of the loop."""
        self._loop = loop
        self._raw = raw
        self._reads = reads
        self._proposals = proposals
        self._wake = wake
        self._poll = BusyPoll(loop, self._nothing_else)
        self._poll_next = BusyPoll(loop, self._idle, NEXT_SECONDS)
        # Reads wait that came too late for a round; theirs begins in the next turn of the loop.
        self._due = False

    def begin(self) -> None:
        """Ask Raft for a round, if reads wait for one."""
        context = self._reads.begin(self._loop.time())
        if context is None:
            return
        self._poll_next.ended()
        if not self._raw.read_index(self._raw.id.to_bytes(8, "big") + context):
            self._reads.refused()
        elif self._raw.role is LEADER:
            self._poll.begin()

    def again(self) -> None:
        """The round that another leader was asked for is lost with it."""
        self._reads.refused()
        self.begin()

    def confirm(self, states: Iterable[ReadState]) -> None:
        """Raft's answers to rounds."""
        for state in states:
            if self._reads.confirm(state.context[8:], state.index):
                self._poll.ended()
        if self._reads.due and not self._due:
            # Reads came during the round that has ended, and nothing else need happen soon. Not at once: what lies in
            # the sockets by now is read first, and one round serves all of them.
            self._due = True
            self._loop.call_soon(self._begin_due)

    def _begin_due(self) -> None:
        self._due = False
        if self._reads.due:
            self._wake()

    def serve(self, applied: int) -> bool:
        """Let those go on whose round asked for no more than that index to be applied. Whether there were any."""
        served = False
        for done in self._reads.ready(applied):
            served = True
            try:
                done(None)
            except Exception:  # of one client's; the others, and this member, go on
                log.exception("serving a read failed")
        return served

    def await_next(self) -> None:
        """All reads are answered, and nothing else was done: the next one may come soon."""
        if self._raw.role is LEADER and self._idle():
            self._poll_next.begin()

    def _nothing_else(self) -> bool:
        """Whether a round of reads is all that is waited for, and no disk, whose work needs the core more."""
        return self._reads.under_way and self._raw.commit == self._raw.last_index

    def _idle(self) -> bool:
        return not self._reads.waiting and not len(self._proposals)
