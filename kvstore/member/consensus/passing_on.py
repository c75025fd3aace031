"""What a follower passes on to its leader for clients, batches and changes of membership, and what a leader then does.

A follower passes on again what may have been lost, in the same term only; a leader takes each of them once, and only in
the very term it was meant for (proposals.py says why that is safe).
Faults assumed: messages are lost, repeated and late; links break; the leader is another one meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from kvstore.member.consensus.changes import ChangeQueue, fitted
from kvstore.member.consensus.intake import Intake
from kvstore.member.consensus.proposals import ProposalQueue
from kvstore.raft import codec
from kvstore.raft.node import RawNode
from kvstore.raft.types import LEADER, Entry, EntryKind, Message, MessageKind


class PassingOn:
    """Both sides of it, of one member.

    send: gives messages to the peer links. waits: called with the member whose clients wait for what it has passed on.
    """

    def __init__(
        self,
        raw: RawNode,
        proposals: ProposalQueue,
        changes: ChangeQueue,
        send: Callable[[Sequence[Message]], None],
        waits: Callable[[int], None],
    ) -> None:
        self._raw = raw
        self._proposals = proposals
        self._changes = changes
        self._send = send
        self._waits = waits
        # Batches that Raft could not take yet, and which were taken in this term.
        self._batches: deque[bytes] = deque()
        self._intake = Intake()
        # Changes of membership that Raft could not take yet, ours too, each with the term it was meant for.
        self._due_changes: deque[tuple[int, bytes]] = deque()
        self._resend_due = False

    # ---- a leader's

    def receive(self, message: Message) -> None:
        """A follower passes something on."""
        raw = self._raw
        if raw.role is not LEADER or message.log_term != raw.term:
            return
        if self._intake.turn_to(raw.term):
            self._batches.clear()
        kind = message.entries[0].kind if message.entries else EntryKind.NORMAL
        if not self._intake.take(message.from_, kind, message.index, message.commit):
            return  # sent again, but it had arrived
        self._waits(message.from_)
        if kind == EntryKind.CONF_CHANGE:
            self._due_changes.extend((raw.term, entry.data) for entry in message.entries)
        else:
            self._batches.extend(entry.data for entry in message.entries)

    @property
    def due(self) -> bool:
        """Whether propose() or send_to_leader() has something to do, a member's own batches left out."""
        return bool(self._batches or self._due_changes or self._changes.waiting)

    def propose(self) -> bool:
        """Propose what followers have passed on, and changes of membership. Whether a batch was among it."""
        raw, served = self._raw, False
        while self._batches and self._intake.term == raw.term and raw.propose(self._batches[0]):
            self._batches.popleft()
            served = True
        if self._due_changes or self._changes.waiting:
            self._propose_changes()
        return served

    def _propose_changes(self) -> None:
        """One at a time: Raft takes the next when the last is applied."""
        raw, due = self._raw, self._due_changes
        if taken := self._changes.take(raw.term):
            due.extend((raw.term, data) for _, data in taken)
        while due:
            term, data = due[0]
            change = fitted(codec.decode_conf_change(data), raw.conf_state)
            if term == raw.term and not raw.propose_conf_change(change):
                return
            due.popleft()

    # ---- a follower's

    def send_to_leader(self) -> None:
        """Pass on what waits here."""
        term, proposals = self._raw.term, self._proposals
        if proposals.waiting:
            proposals.withdraw()
            while taken := proposals.take(term):
                self._send([self._message(*taken, proposals.oldest(term))])
        if changes := self._changes.take(term):
            self._send_changes(changes)

    def resend(self, peer: int) -> None:
        """The link to a peer is back, or it is known (again) that it leads.

        If it leads, what we passed on in this term may have been lost with the old link.
        """
        raw = self._raw
        if peer == raw.leader and peer not in (0, raw.id):
            batches = self._proposals.in_flight(raw.term)
            self._send([self._message(first, data, batches[0][0]) for first, data in batches])
            self._send_changes(self._changes.in_flight(raw.term))

    def dropped(self, peer: int) -> None:
        """A message to a peer was dropped. If it leads, that may have been a batch."""
        self._resend_due = self._resend_due or peer == self._raw.leader

    def resend_dropped(self) -> None:
        """Now and then: pass on again what was dropped on the way to the leader."""
        if self._resend_due:
            self._resend_due = False
            self.resend(self._raw.leader)

    def _send_changes(self, changes: list[tuple[int, bytes]]) -> None:
        oldest = min((n for n, _ in self._changes.in_flight(self._raw.term)), default=0)
        self._send([self._message(n, data, oldest, EntryKind.CONF_CHANGE) for n, data in changes])

    def _message(self, first: int, data: bytes, oldest: int, kind: EntryKind = EntryKind.NORMAL) -> Message:
        """commit: the oldest number that we still wait for (see intake.py)."""
        raw = self._raw
        message = Message(MessageKind.PROPOSE, to=raw.leader, from_=raw.id, log_term=raw.term, index=first)
        message.commit = oldest
        message.entries = [Entry(0, 0, kind, data)]
        return message
