"""Drives Raft: what it wants written goes to the log, what it wants said goes to the peers, what it has committed
goes to the apply loop.

One *pump* a loop turn, whatever happened in it. Proposals are held while the disk is busy, so that all that arrive
during one fdatasync become one entry, one log write and one message per follower; a leader's messages leave before
its own write begins (Raft dissertation, 10.2.1), what a follower promises only after it is durable.

Committed entries are applied in slices: after SLICE_SECONDS the loop gets a turn.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from kvstore.errors import error
from kvstore.invariant import InvariantViolation
from kvstore.member.busy_poll import BusyPoll
from kvstore.member.changes import ChangeQueue
from kvstore.member.log_sync import LogSync
from kvstore.member.outbox import Outbox
from kvstore.member.passing_on import PassingOn
from kvstore.member.proposals import ProposalQueue
from kvstore.member.reads import ReadQueue
from kvstore.raft.node import RawNode
from kvstore.raft.types import (
    APPEND_REPLY,
    LEADER,
    PROPOSE,
    Entry,
    HardState,
    Message,
    ReadState,
    Ready,
    Role,
    SoftState,
    size_of,
)
from kvstore.storage.errors import NoSpace
from kvstore.storage.log import Log

log = logging.getLogger(__name__)

SLICE_SECONDS = 0.004
# So long a leader stays awake for the next read, once it has answered all there were.
NEXT_SECONDS = 0.0002


class StateMachine(Protocol):
    """What the driver needs of the member it drives."""

    def apply(self, entry: Entry, late: Callable[[], bool]) -> bool:
        """Apply one committed entry, of any kind.

        late: whether to come to an end. False: call it with the same entry again.
        """

    @property
    def crowded(self) -> bool:
        """Whether nothing more is to be applied until the driver is woken."""

    @property
    def readable(self) -> bool:
        """Whether the state may be read: not in the middle of a request."""

    def foresee(self, index: int, term: int, sequence: int) -> None:
        """The batch of ours with that first sequence is being written, as that entry: a good moment to make answers."""

    def applied_turn(self) -> None:
        """A slice of entries was applied: a good moment to commit the backend."""

    def send(self, messages: Sequence[Message]) -> None:
        """Give messages to the peer links."""

    def install_snapshot(self, ready: Ready, done: Callable[[], None]) -> None:
        """Put the received snapshot in place of log and backend; `done` once it is durable."""

    def state_changed(self, leader: int, role: Role) -> None:
        """The leader or our role is another one now."""

    def failed(self, problem: BaseException) -> None:
        """The disk failed: the member must not go on."""


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
        self._wal = wal
        self._proposals = proposals
        self._reads = reads
        self._changes = changes
        self._machine = machine
        self.disk = LogSync(loop, wal, durable=self._durable, failed=machine.failed)
        self._outbox = Outbox(loop, raw, machine.send, self._silent)
        self.passing_on = PassingOn(raw, proposals, changes, machine.send, self._outbox.waits)
        self._poll = BusyPoll(loop, self._reads_only)
        self._poll_commit = BusyPoll(loop, self._uncommitted)
        self._poll_next = BusyPoll(loop, self._idle, NEXT_SECONDS)
        self._hard_state: HardState | None = None
        self._unsynced: list[Ready] = []
        self._syncing: list[Ready] = []
        self._committed: deque[Entry] = deque()
        self._applied = raw.applied_index
        self._leader = 0
        self._scheduled = False
        self._stopped = False
        self._installing = False
        # What the full disk has not taken yet, and whether that was said.
        self._unwritten: Ready | None = None
        self._is_full = False
        # A batch that a follower passed on was proposed since the last sync began.
        self._serves_others = False
        # The newest entry with a batch of ours, until its answers were thought of: index, term, first sequence.
        self._proposed: tuple[int, int, int] | None = None
        # Reads wait that came too late for a round; theirs begins in the next turn of the loop.
        self._read_due = False

    @property
    def applied(self) -> int:
        """Index of the last applied entry."""
        return self._applied

    @property
    def settled(self) -> bool:
        """Whether everything is applied here that others may have heard to be committed, if this member leads."""
        return not self._committed

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
        except InvariantViolation as problem:
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
        if not self._syncing and (self._proposals.waiting or self.passing_on.due):
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
        elif self._unsynced or self.raw.has_news():
            self.wake()

    def _store_ahead(self) -> bool:
        """A follower stores what it hears where it hears it: its leader waits for that. False if it cannot yet."""
        if self._syncing or self._unsynced or self._silent():
            return False
        if self._handle(self._take_ready()):
            self._sync()
            self.disk.here()
        if self._committed or self._reads.confirmed:
            # Applied when the promise has left, and whatever else has come is heard.
            self._loop.call_soon(self._finish)
        return True

    def _answer_ahead(self) -> bool:
        """What this leader may answer now does not wait for the messages of a pump. Whether something was applied.

        Clients wait for their answers; followers have other work, unless they wait for their own clients.
        """
        if self._committed or self._installing:
            return False
        entries, reads = self.raw.take_ahead()
        if reads:
            self._confirm_reads(reads)
        if entries:
            self._committed.extend(entries)
            self._poll_commit.ended()
        if (entries or reads) and self._apply() and self._committed:
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
            self._ask_reads()
        spoke = self._outbox.speak()
        while not self._installing and (ready := self._next_ready()) is not None:
            if not self._handle(ready):
                break
            spoke = spoke or bool(ready.messages)
        self._sync()
        if self.disk.due and (self.raw.role is not LEADER or not (self._committed or self._reads.confirmed)):
            # A leader waits for our promise; what is committed is applied when that has left, and whatever comes
            # meanwhile. Or we lead, and all that is left to do is this.
            self.disk.here()
            spoke = True
        if spoke and (self._committed or self._reads.confirmed):
            # What was said leaves first, so that followers begin while we apply and our own disk works.
            self._loop.call_soon(self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        """The second half of a turn."""
        if self._stopped:
            return
        answers = bool(self._committed)
        try:
            if self._apply() and (self._committed or self.raw.has_news()):
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
            if self._syncing:
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

    def _ask_reads(self) -> None:
        context = self._reads.begin(self._loop.time())
        if context is None:
            return
        self._poll_next.ended()
        if not self.raw.read_index(self.raw.id.to_bytes(8, "big") + context):
            self._reads.refused()
        elif self.raw.role is LEADER:
            self._poll.begin()

    def _reads_only(self) -> bool:
        """Whether a round of reads is all that is waited for, and no disk, whose work needs the core more."""
        return self._reads.under_way and self.raw.commit == self.raw.last_index

    def _uncommitted(self) -> bool:
        return self.raw.commit < self.raw.last_index

    def _idle(self) -> bool:
        return not self._reads.waiting and not len(self._proposals)

    def _confirm_reads(self, states: Iterable[ReadState]) -> None:
        for state in states:
            if self._reads.confirm(state.context[8:], state.index):
                self._poll.ended()
        if self._reads.due and not self._read_due:
            # Reads came during the round that has ended, and nothing else need happen soon. Not at once: what lies in
            # the sockets by now is read first, and one round serves all of them.
            self._read_due = True
            self._loop.call_soon(self._begin_reads)

    def _begin_reads(self) -> None:
        self._read_due = False
        if self._reads.due:
            self.wake()

    def _next_ready(self) -> Ready | None:
        """What Raft wants done next; first of all what the log had no room for."""
        if self._unwritten is not None:
            ready, self._unwritten = self._unwritten, None
            return ready
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
            # A round of reads that the old leader was asked for is lost with it.
            self._reads.refused()
            self._ask_reads()

    def _handle(self, ready: Ready) -> bool:
        """False: the disk is full; nothing of it is written, and the next tick tries that again."""
        if ready.snapshot is not None:
            self._installing = True
            self._machine.install_snapshot(ready, lambda: self._installed(ready))
            return True
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        if ready.messages:
            # First: they promise nothing that is in this log, and others have more to do with them than we.
            self._outbox.say(ready.messages)
        # A newer commit index alone is not worth a write: a restart learns it again from the leader.
        if ready.must_sync and not self._write(ready):
            return False
        if ready.read_states:
            self._confirm_reads(ready.read_states)
        self._committed.extend(ready.committed)
        if ready.must_sync:
            self._unsynced.append(ready)
        elif self._unsynced or self._syncing:
            self._unsynced.append(ready)  # its promises may not overtake those before it
        elif ready.messages_after_save:
            self._machine.send(ready.messages_after_save)  # there was nothing to save
        return True

    def _write(self, ready: Ready) -> bool:
        try:
            self._wal.append(ready.entries, self._hard_state)
        except NoSpace as problem:
            self._unwritten = replace(ready, messages=[])  # these have left
            self._say_full(problem)
            return False
        self._is_full = False
        return True

    def _silent(self) -> bool:
        """A member that stops, or whose log is being replaced, says nothing; one that cannot write, so that another
        leads."""
        return self._installing or self._unwritten is not None or self._stopped

    def _say_full(self, problem: NoSpace) -> None:
        if not self._is_full:
            log.error("%s; this member waits until there is space", problem)
        self._is_full = True

    def _saved(self, ready: Ready) -> None:
        self.raw.saved(ready)
        if ready.messages_after_save:
            self._machine.send(ready.messages_after_save)

    def _sync(self) -> None:
        if not self._unsynced or self._syncing:
            return
        self._syncing, self._unsynced = self._unsynced, []
        size = 0
        for ready in self._syncing:
            size += size_of(ready.entries)
        # Other requests than the one that waits for the disk.
        leads = self.raw.role is LEADER
        others = leads and (self._serves_others or len(self._proposals) > 1 or bool(self._reads.waiting))
        self._serves_others = False
        self.disk.start(size, busy=others)

    def _sync_here(self) -> None:
        if not self._stopped:
            self.disk.here()
            self._foresee()

    def _durable(self) -> None:
        """What was being synced is on the disk."""
        done, self._syncing = self._syncing, []
        try:
            for ready in done:
                self._saved(ready)
        except InvariantViolation as problem:
            self._machine.failed(problem)
        # Behind the callbacks that write to the sockets.
        self._go_on()
        if self.raw.role is LEADER and len(self._proposals) == 1 and self._uncommitted():
            # One request, alone: a follower's word is all that is to come, and soon.
            self._poll_commit.begin()

    def _installed(self, ready: Ready) -> None:
        """The snapshot is durable: log and state machine now stand at its index."""
        self._installing = False
        self._committed.clear()
        assert ready.snapshot is not None
        self._applied = ready.snapshot.index
        self._saved(ready)
        # Entries that the snapshot stands for are not applied here one by one: whether ours were among them, nobody
        # can say, and proposing them again could apply them twice.
        for done in self._proposals.overtaken(ready.snapshot.term) + self._changes.overtaken(ready.snapshot.term):
            done(None, error("TIMEOUT_LEADER_FAIL"))
        self.wake()

    # ---- out ----

    def _apply(self) -> bool:
        """Apply a slice of what is committed, and serve the reads that may be served. Whether anything was applied."""
        machine = self._machine
        applies = bool(self._committed) and not self._installing and not machine.crowded
        if applies:
            self._apply_slice()
            self.raw.applied(self._applied)
            machine.applied_turn()
        served = False
        if machine.readable:
            for done in self._reads.ready(self._applied):
                done(None)
                served = True
        if served and not applies and self.raw.role is LEADER and self._idle():
            self._poll_next.begin()
        return applies

    def _apply_slice(self) -> None:
        committed, apply, clock = self._committed, self._machine.apply, time.perf_counter
        # Not loop.time(): uvloop's stands still during a turn.
        until = clock() + SLICE_SECONDS

        def late() -> bool:
            return clock() > until

        while committed:
            entry = committed[0]
            if not apply(entry, late):
                return
            committed.popleft()
            self._applied = entry.index
            if late():
                return
