"""Drives Raft: what it wants written goes to the log, what it wants said goes to the peers, what it has committed
goes to the apply loop.

One *pump* a loop turn, whatever happened in it. Proposals are held while the disk is busy, so that all that arrive
during one fdatasync become one entry, one log write and one message per follower; a leader's messages leave before
its own write begins (Raft dissertation, 10.2.1), what a follower promises only after it is durable.

What is on the log's way to the disk is kept in saving.py, what is on its way into the state in committed.py, and when
reads have their round is in read_rounds.py. What comes first in a turn of the loop is decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kvstore.errors import error
from kvstore.member.consensus.busy_poll import BusyPoll
from kvstore.member.consensus.changes import ChangeQueue
from kvstore.member.consensus.committed import Committed
from kvstore.member.consensus.outbox import Outbox
from kvstore.member.consensus.passing_on import PassingOn
from kvstore.member.consensus.proposals import ProposalQueue
from kvstore.member.consensus.read_rounds import ReadRounds
from kvstore.member.consensus.reads import ReadQueue
from kvstore.member.consensus.saving import Saving
from kvstore.member.consensus.state_machine import StateMachine
from kvstore.raft.node import RawNode
from kvstore.raft.types import APPEND_REPLY, LEADER, PROPOSE, Message, Ready, SoftState
from kvstore.storage.log import Log


class Driver:
    """Raft, its log and its disk thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        raw: RawNode,
        wal: Log,
        proposals: ProposalQueue,
        reads: ReadQueue,
        changes: ChangeQueue,
        machine: StateMachine,
    ) -> None:
        self._loop = loop
        self.raw = raw
        self._proposals = proposals
        self._reads = reads
        self._changes = changes
        self._machine = machine
        self._saving = saving = Saving(loop, raw, wal, machine.send, durable=self._durable, failed=machine.failed)
        self.disk = saving.disk
        self._committed = Committed(machine, raw.applied_index)
        self._rounds = ReadRounds(loop, raw, reads, proposals, self.wake)
        self._outbox = Outbox(loop, raw, machine.send, self._silent)
        self.passing_on = PassingOn(raw, proposals, changes, machine.send, self._outbox.waits)
        self._poll_commit = BusyPoll(loop, self._uncommitted)
        self._leader = 0
        self._scheduled = False
        self._stopped = False
        self._installing = False
        # A batch that a follower passed on was proposed since the last sync began.
        self._serves_others = False
        # The newest entry with a batch of ours, until its answers were thought of: index, term, first sequence.
        self._proposed: tuple[int, int, int] | None = None

    @property
    def applied(self) -> int:
        """Index of the last applied entry."""
        return self._committed.applied

    @property
    def settled(self) -> bool:
        """Whether everything is applied here that others may have heard to be committed, if this member leads."""
        return self._committed.applied >= self.raw.commit

    @property
    def committed(self) -> int:
        """Index of the last entry known to be committed."""
        return self.raw.commit

    def wake(self) -> None:
        """Something changed: pump at the end of this loop turn."""
        if not self._scheduled and not self._stopped:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def stop(self) -> None:
        """No more pumping; waits for the disk."""
        self._stopped = True
        self.disk.stop()

    # ---- in ----

    def receive(self, messages: Iterable[Message]) -> None:
        """Messages from a peer, in the order they came."""
        stored = None
        try:
            for message in messages:
                if message.kind == PROPOSE:
                    self.passing_on.receive(message)
                    continue
                if message.kind == APPEND_REPLY and not message.reject:
                    stored = message
                self.raw.step(message)
        except Exception as problem:  # as in _pump
            self._machine.failed(problem)
        self._go_on()
        if stored is not None:
            self._outbox.answered(stored.from_, stored.index)  # behind the answers that it lets us give

    def unreachable(self, peer: int) -> None:
        """A message to a peer was dropped."""
        self.raw.report_unreachable(peer)
        self.passing_on.dropped(peer)

    # ---- the pump ----

    def _go_on(self) -> None:
        """Pump, if that has anything to do: a turn of the loop costs more than many an answer that comes."""
        if self._stopped:
            return
        if not self._saving.under_way and (self._proposals.waiting or self.passing_on.due):
            self.wake()  # what is proposed now leaves first
            return
        answered = False
        try:
            if self.raw.role is not LEADER:
                if self.raw.has_entries and self._store_ahead():
                    return
                self._outbox.speak()
            elif not self._outbox.somebody_waits:
                answered = self._answer_ahead()
        except Exception as problem:  # as in _pump
            self._machine.failed(problem)
        if answered:
            self._loop.call_soon(self._go_on)  # behind the answers and the events
        elif self._saving.written or self.raw.has_news():
            self.wake()

    def _store_ahead(self) -> bool:
        """A follower stores what it hears where it hears it: its leader waits for that. False if it cannot yet."""
        saving = self._saving
        if saving.under_way or saving.written or self._silent():
            return False
        if self._handle(self._take_ready()):
            self._sync()
            self.disk.here()
        if self._committed.waiting or self._reads.confirmed:
            # Applied when the promise has left, and whatever else has come is heard.
            self._loop.call_soon(self._finish)
        return True

    def _answer_ahead(self) -> bool:
        """What this leader may answer now does not wait for the messages of a pump. Whether something was applied.

        Clients wait for their answers; followers have other work, unless they wait for their own clients.
        """
        waiting = self._committed.waiting
        if waiting or self._installing or self._saving.unwritten is not None:
            return False  # nothing overtakes what is committed before it, not even if that waits with a full disk
        entries, reads = self.raw.take_ahead()
        if reads:
            self._rounds.confirm(reads)
        if entries:
            waiting.extend(entries)
            self._poll_commit.ended()
        if (entries or reads) and self._apply() and waiting:
            self.wake()
        return bool(entries)

    def _pump(self) -> None:
        self._scheduled = False
        if self._stopped:
            return
        try:
            self._turn()
        except Exception as problem:  # a broken invariant: going on would apply entries to a state that is not theirs
            self._machine.failed(problem)

    def _turn(self) -> None:
        self._propose()
        if self._reads.waiting:
            self._rounds.begin()
        spoke = self._outbox.speak()
        while not self._installing and (ready := self._next_ready()) is not None:
            if not self._handle(ready):
                break
            spoke = spoke or bool(ready.messages)
        self._sync()
        if self.disk.due and (self.raw.role is not LEADER or not (self._committed.waiting or self._reads.confirmed)):
            # A leader waits for our promise; what is committed is applied when that has left, and whatever comes
            # meanwhile. Or we lead, and all that is left to do is this.
            self.disk.here()
            spoke = True
        if spoke and (self._committed.waiting or self._reads.confirmed):
            # What was said leaves first, so that followers begin while we apply and our own disk works.
            self._loop.call_soon(self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        """The second half of a turn."""
        if self._stopped:
            return
        waiting = self._committed.waiting
        answers = bool(waiting)
        try:
            if self._apply() and (waiting or self.raw.has_news()):
                self.wake()
        except Exception as problem:  # as in _pump
            self._machine.failed(problem)
        if self.disk.due and answers:
            # Behind the answers that applying has made.
            self._loop.call_soon(self._sync_here)
        else:
            self.disk.here()
            self._foresee()
        self._outbox.tell_commits_last()

    def _foresee(self) -> None:
        """Everybody who must act on what was proposed has been told, and our own disk: what there is time for now."""
        if self._proposed is not None:
            self._machine.foresee(*self._proposed)
            self._proposed = None

    def _propose(self) -> None:
        raw, proposals = self.raw, self._proposals
        for_others = self.passing_on.due
        if not for_others and not proposals.waiting:
            return
        if raw.role is LEADER:
            if self._saving.under_way:
                return  # what comes meanwhile goes with the next
            if for_others:
                self._serves_others = self.passing_on.propose() or self._serves_others
            while proposals.waiting and (taken := proposals.take(raw.term)):
                if not raw.propose(taken[1]):
                    proposals.untake(taken[0])
                    break
                self._proposed = (raw.last_index, raw.term, taken[0])
        elif raw.leader:
            self.passing_on.send_to_leader()

    def _uncommitted(self) -> bool:
        return self.raw.commit < self.raw.last_index

    def _next_ready(self) -> Ready | None:
        """What Raft wants done next; first of all what the log had no room for."""
        if self._saving.unwritten is not None:
            if (news := self.raw.take_news()) is not None:
                self._announce(news)
            self.raw.take_messages()  # nobody is told anything until it is written; kept, they would be ever more
            return self._saving.take_back()
        return self._take_ready() if self.raw.has_ready() else None

    def _take_ready(self) -> Ready:
        ready = self.raw.ready()
        if ready.soft_state is not None:
            self._announce(ready.soft_state)
        return ready

    def _announce(self, state: SoftState) -> None:
        """Once: if the disk is full, the Ready that brings it may be tried again when all this is long over."""
        self._outbox.forget()
        self._machine.state_changed(state.leader, state.role)
        if state.leader != self._leader:
            self._leader = state.leader
            self._rounds.again()
            # The link to it may have broken and come back before it was known again.
            self.passing_on.resend(state.leader)

    def _handle(self, ready: Ready) -> bool:
        """False: the disk is full; nothing of it is written, and the next tick tries that again."""
        if ready.snapshot is not None:
            self._installing = True
            self._machine.install_snapshot(ready, lambda: self._installed(ready))
            return True
        if ready.messages:
            # First: they promise nothing that is in this log, and others have more to do with them than we.
            self._outbox.say(ready.messages)
        if not self._saving.take(ready):
            return False
        if ready.read_states:
            self._rounds.confirm(ready.read_states)
        self._committed.waiting.extend(ready.committed)
        return True

    def _silent(self) -> bool:
        """A member that stops, or whose log is being replaced, says nothing; one that cannot write, so that another
        leads."""
        return self._installing or self._saving.unwritten is not None or self._stopped

    def _sync(self) -> None:
        saving = self._saving
        if not saving.written or saving.under_way:
            return
        # Other requests than the one that waits for the disk.
        leads = self.raw.role is LEADER
        others = leads and (self._serves_others or len(self._proposals) > 1 or bool(self._reads.waiting))
        self._serves_others = False
        saving.sync(busy=others)

    def _sync_here(self) -> None:
        if not self._stopped:
            self.disk.here()
            self._foresee()

    def _durable(self) -> None:
        """What was being synced is on the disk, and its promises are given."""
        # Behind the callbacks that write to the sockets.
        self._go_on()
        if self.raw.role is LEADER and len(self._proposals) == 1 and self._uncommitted():
            # One request, alone: a follower's word is all that is to come, and soon.
            self._poll_commit.begin()

    def _installed(self, ready: Ready) -> None:
        """The snapshot is durable: log and state machine now stand at its index."""
        self._installing = False
        assert ready.snapshot is not None
        self._committed.jump(ready.snapshot.index)
        self._saving.installed(ready)
        # Entries that the snapshot stands for are not applied here one by one: whether ours were among them, nobody
        # can say, and proposing them again could apply them twice.
        for done in self._proposals.overtaken(ready.snapshot.term) + self._changes.overtaken(ready.snapshot.term):
            done(None, error("TIMEOUT_LEADER_FAIL"))
        self.wake()

    # ---- out ----

    def _apply(self) -> bool:
        """Apply a slice of what is committed, and serve the reads that may be served. Whether anything was applied."""
        machine, committed = self._machine, self._committed
        applies = bool(committed.waiting) and not self._installing and not machine.crowded
        if applies:
            committed.apply()
            self.raw.applied(committed.applied)
            machine.applied_turn()
        if self._reads.confirmed and machine.readable and self._rounds.serve(committed.applied) and not applies:
            self._rounds.await_next()
        return applies
