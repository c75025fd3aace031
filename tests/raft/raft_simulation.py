"""A Raft group on a bad network and bad disks, driven by one seed, with the paper's five safety properties checked
all along.

Messages get lost, repeated and reordered; links break one way or both; members crash with writes under way, of which
any head may have reached the disk; disks are slow, so that several Readys are being written at once; members join,
leave, become learners; logs are compacted under followers that are behind. Raft paper, figure 3:

  Election safety         at most one leader a term                      `_check_leader`
  Leader append-only      a leader never overwrites its own entries      `_check_written`
  Log matching            same index and term: same entries up to there  `_check_written`
  Leader completeness     later leaders have what was committed          `_check_leader`
  State machine safety    nobody applies another entry at an index       `_check_applied`

and besides: a read's index covers everything that was applied anywhere before the read began.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from raft_memory_log import MemoryLog

from kvstore.raft.codec import decode_conf_change, decode_message, encode_message
from kvstore.raft.config import Config
from kvstore.raft.node import RawNode
from kvstore.raft.types import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    Ready,
    Role,
    SnapshotMeta,
    Transition,
)

FOUNDERS = (1, 2, 3)
EVERYONE = (1, 2, 3, 4, 5)
START = SnapshotMeta(1, 1, ConfState(voters=FOUNDERS))


@dataclass
class Member:
    """One member: its disk outlives it, the rest does not."""

    id: int
    log: MemoryLog
    node: RawNode | None = None
    applied: int = 0
    written_last: int = 0  # for leader append-only
    leading_term: int = 0


class Simulation:
    """One run. Every choice comes from `seed`; `trace` says what happened."""

    def __init__(self, seed: int, *, pre_vote: bool = True, membership: bool = True) -> None:
        self.random = random.Random(seed)
        self.pre_vote = pre_vote
        self.net: list[Message] = []
        self.cut: set[tuple[int, int]] = set()
        self.loss = self.random.choice((0.0, 0.0, 0.02, 0.1, 0.3))
        self.repeat = self.random.choice((0.0, 0.05, 0.3))
        self.trace: list[str] = []
        # What everybody must agree on.
        self.leaders: dict[int, int] = {}
        self.entries: dict[tuple[int, int], tuple[int, int, bytes]] = {}
        self.state: dict[int, Entry] = {}
        self.conf_at: dict[int, ConfState] = {START.index: START.conf_state}
        self.reads: dict[bytes, int] = {}
        self.counter = 0
        self.members: dict[int, Member] = {}
        for member in EVERYONE if membership else FOUNDERS:
            founder = member in FOUNDERS
            log = MemoryLog(START.conf_state, START.index, START.term) if founder else MemoryLog(ConfState())
            self.members[member] = Member(member, log)
            self._start(self.members[member])
        self.choices = self._weights(membership)

    # ---- the run ----

    def run(self, steps: int) -> None:
        """The unsafe phase: anything may happen at any time."""
        actions, weights = zip(*self.choices, strict=True)
        for action in self.random.choices(actions, weights, k=steps):
            action()

    def heal(self, rounds: int = 400) -> None:
        """No more faults: a leader must come, and a proposal must get through to every member of the group."""
        self.cut.clear()
        self.loss = self.repeat = 0.0
        for member in self.members.values():
            if member.node is None:
                self._start(member)
        wanted: dict[int, int] = {}  # term → index of our proposal in it
        for _ in range(rounds):
            self._round()
            leader = self._leader()
            if leader is None:
                continue
            node = self._node(leader)
            if node.term not in wanted:
                if node.propose(b"after healing"):
                    wanted[node.term] = node.last_index
            elif self._settled(node, wanted[node.term]):
                return
        raise AssertionError("the group did not come back to life after all faults ended")

    def _settled(self, leader: RawNode, wanted: int) -> bool:
        state = leader.conf_state
        group = {*state.voters, *state.learners, *state.voters_outgoing}
        return all(self.members[m].applied >= wanted for m in group)

    def _round(self) -> None:
        for member in self.members.values():
            self._node(member).tick()
        for _ in range(4):
            for member in self.members.values():
                self._handle_all(member)
            net, self.net = self.net, []
            for message in net:
                self._deliver(message)

    def _handle_all(self, member: Member) -> None:
        while self._node(member).has_ready():
            self._handle(member)
        self._sync(member)

    def _node(self, member: Member) -> RawNode:
        assert member.node is not None
        return member.node

    def _leader(self) -> Member | None:
        leaders = [m for m in self.members.values() if m.node is not None and m.node.role is Role.LEADER]
        return max(leaders, key=lambda m: self._node(m).term, default=None)

    def _weights(self, membership: bool) -> list[tuple[Callable[[], None], float]]:
        choices: list[tuple[Callable[[], None], float]] = [
            (self._act_tick, 25),
            (self._act_deliver, 200),
            (self._act_handle, 100),
            (self._act_sync, 60),
            (self._act_propose, 16),
            (self._act_read, 4),
            (self._act_crash, 0.6),
            (self._act_restart, 2),
            (self._act_cut, 0.4),
            (self._act_mend, 2),
            (self._act_peer_lost, 0.6),
            (self._act_unreachable, 0.5),
            (self._act_compact, 1),
            (self._act_transfer, 0.5),
            (self._act_campaign, 0.2),
        ]
        return [*choices, (self._act_change, 1.5)] if membership else choices

    # ---- actions ----

    def _someone(self) -> Member | None:
        alive = [m for m in self.members.values() if m.node is not None]
        return self.random.choice(alive) if alive else None

    def _act_tick(self) -> None:
        if member := self._someone():
            self._node(member).tick()

    def _act_deliver(self) -> None:
        if not self.net:
            return
        at = 0 if self.random.random() < 0.7 else self.random.randrange(len(self.net))
        message = self.net.pop(at)
        if self.random.random() < self.repeat:
            self.net.append(message)
        if self.random.random() >= self.loss and (message.from_, message.to) not in self.cut:
            self._deliver(message)
        elif message.kind is MessageKind.SNAPSHOT:
            self._report_snapshot(message, False)

    def _deliver(self, message: Message) -> None:
        receiver = self.members[message.to].node
        if receiver is not None:
            receiver.step(decode_message(encode_message(message)))
        if message.kind is MessageKind.SNAPSHOT:
            # A stream's end is always noticed; whether it was a success may remain unknown, and then counts as a
            # failure.
            self._report_snapshot(message, receiver is not None and self.random.random() < 0.7)

    def _report_snapshot(self, message: Message, ok: bool) -> None:
        sender = self.members[message.from_].node
        if sender is not None:
            sender.report_snapshot(message.to, ok)

    def _act_handle(self) -> None:
        if (member := self._someone()) and self._node(member).has_ready():
            self._handle(member)

    def _act_sync(self) -> None:
        if member := self._someone():
            self._sync(member)

    def _act_propose(self) -> None:
        if member := self._someone():
            self.counter += 1
            self._node(member).propose(f"v{self.counter}".encode())

    def _act_read(self) -> None:
        if member := self._someone():
            self.counter += 1
            context = f"r{self.counter}".encode()
            if self._node(member).read_index(context):
                self.reads[context] = max(self.state, default=0)

    def _act_crash(self) -> None:
        if (member := self._someone()) is None:
            return
        survive = self.random.randint(0, member.log.pending)
        self._note(f"{member.id} crashes, {survive} of {member.log.pending} writes survive")
        member.log.crash(survive)
        member.node = None
        for other in self.members.values():
            if other.node is not None and self.random.random() < 0.8:
                other.node.peer_lost(member.id)

    def _act_restart(self) -> None:
        down = [m for m in self.members.values() if m.node is None]
        if down:
            self._start(self.random.choice(down))

    def _start(self, member: Member) -> None:
        self._note(f"{member.id} starts at {member.log.point.index}")
        config = Config(
            id=member.id,
            randrange=random.Random(self.random.random()).randrange,
            max_inflight_messages=self.random.choice((1, 3, 256)),
            max_message_bytes=self.random.choice((1, 10, 1 << 20)),
            max_committed_bytes=self.random.choice((1, 10, 1 << 20)),
            pre_vote=self.pre_vote,
        )
        # The state machine is rebuilt from the compaction point, whose state and membership are known.
        member.applied = member.log.point.index
        member.written_last = member.leading_term = 0
        member.node = RawNode(config, member.log, member.applied)

    def _act_cut(self) -> None:
        a, b = self.random.sample(sorted(self.members), 2)
        pairs = self.random.choice(([(a, b)], [(a, b), (b, a)], self._isolation(a)))
        self._note(f"cut {pairs}")
        self.cut.update(pairs)

    def _isolation(self, member: int) -> list[tuple[int, int]]:
        return [pair for other in self.members if other != member for pair in ((member, other), (other, member))]

    def _act_mend(self) -> None:
        self.cut.clear()

    def _act_peer_lost(self) -> None:
        if member := self._someone():
            self._node(member).peer_lost(self.random.choice(sorted(self.members)))

    def _act_unreachable(self) -> None:
        if member := self._someone():
            self._node(member).report_unreachable(self.random.choice(sorted(self.members)))

    def _act_compact(self) -> None:
        member = self._someone()
        if member is not None and member.log.pending == 0 and member.applied > member.log.point.index:
            upto = self.random.randint(member.log.point.index + 1, member.applied)
            self._note(f"{member.id} compacts to {upto}")
            member.log.compact(self._meta(member.log, upto))
            member.log.sync()

    def _meta(self, log: MemoryLog, index: int) -> SnapshotMeta:
        known = max(at for at in self.conf_at if at <= index)
        return SnapshotMeta(index, log.term(index), self.conf_at[known])

    def _act_transfer(self) -> None:
        if member := self._someone():
            self._node(member).transfer_leader(self.random.choice(sorted(self.members)))

    def _act_campaign(self) -> None:
        if member := self._someone():
            self._node(member).campaign()

    def _act_change(self) -> None:
        if (member := self._someone()) is None:
            return
        picked = self.random.sample(EVERYONE, self.random.choice((0, 1, 1, 2, 3)))
        changes = tuple(ConfChangeSingle(self.random.choice(list(ConfChangeKind)), member_id) for member_id in picked)
        change = ConfChange(changes, self.random.choice(list(Transition)) if changes else Transition.AUTO)
        self._node(member).propose_conf_change(change)

    # ---- the owner's part ----

    def _handle(self, member: Member) -> None:
        node = self._node(member)
        ready = node.ready()
        self._check_written(member, ready)
        member.log.write(ready)
        if ready.snapshot is not None:
            member.applied = ready.snapshot.index
        self._send(member, ready.messages)
        self._check_leader(member)
        for entry in ready.committed:
            self._apply(member, entry)
        if ready.committed:
            node.applied(ready.committed[-1].index)
        for read in ready.read_states:
            assert read.index >= self.reads[read.context], f"a stale read: {read}"

    def _sync(self, member: Member) -> None:
        for ready in member.log.sync():
            self._node(member).saved(ready)
            self._send(member, ready.messages_after_save)

    def _send(self, member: Member, messages: list[Message]) -> None:
        for message in messages:
            assert message.from_ == member.id != message.to
            if message.kind is MessageKind.SNAPSHOT:
                # The state machine's present state is what goes over, as in the real member.
                message = replace(message, snapshot=self._meta(member.log, member.applied))
            self.net.append(message)

    def _apply(self, member: Member, entry: Entry) -> None:
        assert entry.index == member.applied + 1, "entries are applied in order and once"
        assert entry.index <= member.log.durable_last, "an entry was applied that a crash could take away"
        member.applied = entry.index
        self._check_applied(member, entry)
        if entry.kind == EntryKind.CONF_CHANGE:
            state = self._node(member).apply_conf_change(decode_conf_change(entry.data))
            assert self.conf_at.setdefault(entry.index, state) == state, "members disagree about who is a member"

    # ---- the properties ----

    def _check_leader(self, member: Member) -> None:
        node = self._node(member)
        if node.role is not Role.LEADER:
            return
        assert self.leaders.setdefault(node.term, node.id) == node.id, f"two leaders in term {node.term}"
        if member.leading_term == node.term:
            return
        member.leading_term = node.term
        self._note(f"{member.id} leads term {node.term}")
        for index, entry in self.state.items():
            if index >= member.log.first_index() and entry.term < node.term:
                assert index <= member.log.last_index(), (
                    f"leader {node.id} of {node.term} lacks committed entry {index}"
                )
                assert member.log.term(index) == entry.term, f"leader {node.id} has another entry at {index}"

    def _check_written(self, member: Member, ready: Ready) -> None:
        if not ready.entries:
            return
        node = self._node(member)
        if member.leading_term == node.term and node.role is Role.LEADER:
            assert ready.entries[0].index > member.written_last, "a leader overwrote its own log"
        previous = member.log.term(ready.entries[0].index - 1)
        for entry in ready.entries:
            known = self.entries.setdefault((entry.index, entry.term), (previous, entry.kind, entry.data))
            assert known == (previous, entry.kind, entry.data), f"logs do not match at {entry.index}"
            previous = entry.term
        member.written_last = ready.entries[-1].index

    def _check_applied(self, member: Member, entry: Entry) -> None:
        known = self.state.setdefault(entry.index, entry)
        same = (known.term, known.kind, known.data) == (entry.term, entry.kind, entry.data)
        assert same, f"{member.id} applied another entry at {entry.index}"

    def _note(self, what: str) -> None:
        self.trace.append(what)
