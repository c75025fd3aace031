"""What must hold at every moment of a run.

Raft's five (paper, figure 3): election safety, leader append-only, log matching, leader completeness and state machine
safety; and what a member writes down of its term, vote and commit index is never taken back. Of the store: every
member's state is the same at the same log index; a request is applied at most once, and one that was acknowledged
exactly once, after everything that was acknowledged before it began; a linearizable read sees everything applied
anywhere before it began; a watch gets every event once, in order; no lease ends before its time.
"""

from __future__ import annotations

import zlib
from typing import Any

from sim_world import World

from kvstore.member.requests import RequestKind, decode
from kvstore.pb import etcd_pb2 as pb
from kvstore.raft.types import Entry, EntryKind, HardState, Role

ONCE = frozenset((RequestKind.PUT, RequestKind.TXN, RequestKind.LEASE_GRANT, RequestKind.DELETE_RANGE))


class Violation(AssertionError):
    """A property does not hold."""


def require(condition: object, message: str) -> None:
    """Raise Violation unless the condition holds."""
    if not condition:
        raise Violation(message)


def goes_on(before: HardState, after: HardState) -> None:
    """What a member writes down of its term, its vote and what is committed is never taken back."""
    same = after.term == before.term
    require(after.term >= before.term, f"term {after.term} is written down after {before.term}")
    require(not same or before.vote in (0, after.vote), f"two votes in term {after.term}: {before.vote}, {after.vote}")
    require(after.commit >= before.commit, f"commit index {after.commit} is written down after {before.commit}")


class Checks:
    """Everything that was ever seen of one cluster."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: dict[int, int] = {}  # member id → its number
        self.leaders: dict[int, int] = {}
        self.entries: dict[tuple[int, int], tuple[int, int, int]] = {}
        self.written: dict[int, tuple[int, int]] = {}  # member id → term it leads, last index it wrote in it
        self.log: list[tuple[int, int, int]] = [(0, 0, 0)]  # by index: term, kind, checksum of what was applied
        self.committed_by: list[int] = [0]  # by index: the highest term that anybody led when it was applied first
        self.states: list[tuple[Any, ...]] = [()]  # by index: the state after it
        self.placed: dict[tuple[int, bytes], int] = {}  # request → index it was applied at
        self.proposed: set[bytes] = set()
        self.events: dict[int, int] = {}  # packed revision → checksum of the key-value
        self.due: dict[int, float] = {}  # lease → not before
        self.expired: dict[int, float] = {}
        self.acknowledged = 0
        self.reads = 0
        self.max_acknowledged = 0
        self.snapshots = 0
        self.changes = 0

    @property
    def top(self) -> int:
        """The highest index that anybody has applied."""
        return len(self.log) - 1

    def founded(self, index: int, term: int) -> None:
        """Logs begin behind this index."""
        while len(self.log) <= index:
            self.log.append((term, 0, 0))
            self.committed_by.append(term)
            self.states.append((1,))

    # ---- Raft

    def state_changed(self, member: Any, leader: int, role: Role) -> None:
        """A member has another role or leader."""
        if role != Role.LEADER:
            self.written.pop(member.id, None)
            return
        term = member.raw.term
        known = self.leaders.setdefault(term, member.id)
        require(known == member.id, f"two leaders in term {term}")
        if self.written.get(member.id, (0, 0))[0] != term:
            self.world.note(f"m{self.names[member.id]} leads term {term}")
            self.written[member.id] = (term, 0)
            self._check_complete(member, term)

    def _check_complete(self, member: Any, term: int) -> None:
        """Leader completeness: it has whatever was committed in an earlier term.

        One that hears late of the votes it was given may lack what leaders of later terms have committed by then.
        """
        raw = member.raw
        for index in range(max(1, self.top - 50), self.top + 1):
            if self.committed_by[index] < term:
                require(raw.last_index >= index, f"the leader of {term} lacks entry {index}, which was applied")

    def appended(self, member_id: int, previous: int, entries: list[Entry]) -> None:
        """Entries were written to a member's log, behind one of the term `previous` (0: unknown)."""
        first = entries[0].index
        leading = self.written.get(member_id)
        if leading is not None:
            require(first > leading[1], f"a leader overwrites its own log at {first}")
            self.written[member_id] = (leading[0], entries[-1].index)
        for entry in entries:
            mark = (previous, int(entry.kind), zlib.crc32(entry.data))
            known = self.entries.setdefault((entry.index, entry.term), mark)
            require(known == mark or 0 in (known[0], previous), f"logs do not match at {entry.index}")
            previous = entry.term

    # ---- the state machine

    def applying(self, member: Any, entry: Entry) -> None:
        """A member is about to apply an entry it has not applied in this life."""
        index = entry.index
        expected = member.state.applied_index + 1
        require(index == expected, f"m{self.names[member.id]} applies {index} after {expected - 1}")
        mark = (entry.term, int(entry.kind), zlib.crc32(entry.data))
        if index <= self.top:
            require(self.log[index] == mark, f"m{self.names[member.id]} applies another entry at {index}")
            return
        require(index == self.top + 1, f"entry {index} is applied before {self.top + 1}")
        self.log.append(mark)
        self.committed_by.append(max(self.leaders, default=0))
        if entry.kind == EntryKind.NORMAL and entry.data:
            self._first_time(index, entry.data)

    def _first_time(self, index: int, data: bytes) -> None:
        for kind, body in decode(data).requests:
            if kind in ONCE:
                require(body in self.proposed, f"nobody has proposed what was applied at {index}")
                before = self.placed.setdefault((kind, body), index)
                require(before == index, f"a request was applied at {before} and again at {index}")
            elif kind == RequestKind.LEASE_EXPIRE:
                self._expires(pb.LeaseRevokeRequest.FromString(body).ID)

    def applied(self, member: Any, entry: Entry) -> None:
        """A member has applied an entry."""
        store, index = member.store, entry.index
        if entry.kind == EntryKind.CONF_CHANGE:
            self.changes += 1
        state = (
            store.revision,
            store.compacted_revision,
            store.key_count,
            tuple(sorted(member.lessor.leases())) if index % 16 == 0 else len(member.lessor.leases()),
            len(member.cluster.members),
            member.raw.conf_state if entry.kind == EntryKind.CONF_CHANGE else None,
        )
        if index == len(self.states):
            self.states.append(state)
        else:
            require(self.states[index] == state, f"states differ at {index}: {self.states[index]} and {state}")

    def installed(self, member: Any) -> None:
        """A member stands at a snapshot."""
        self.snapshots += 1
        index = member.state.applied_index
        self.world.note(f"m{self.names[member.id]} installed a snapshot at {index}")
        require(index <= self.top, f"a snapshot of {index}, which nobody has applied")
        revision = member.store.revision
        if member.state.applied_requests:
            # Of the middle of the next entry: what that comes to is compared when it is applied.
            following = self.states[index + 1][0] if index + 1 < len(self.states) else revision
            require(
                self.states[index][0] <= revision <= following, f"a snapshot in the entry behind {index} is not of it"
            )
        else:
            require(self.states[index][0] == revision, f"a snapshot at {index} has another revision")

    # ---- leases

    def alive(self, lease: int, until: float) -> None:
        """Somebody was told that the lease lives until then."""
        self.due[lease] = max(until, self.due.get(lease, 0.0))
        ended = self.expired.get(lease)
        require(ended is None or ended >= until, f"lease {lease} expired at {ended}, promised until {until}")

    def _expires(self, lease: int) -> None:
        now = self.world.now
        if lease not in self.expired:
            self.expired[lease] = now
            due = self.due.get(lease, 0.0)
            require(now >= due, f"lease {lease} expires at {now:.3f}, was promised until {due:.3f}")

    # ---- clients

    def written_ok(self, kind: int, body: bytes, floor: int) -> None:
        """A write that began when `floor` was the top has been acknowledged."""
        index = self.placed.get((kind, body))
        require(index is not None, "a write was acknowledged that nobody has applied")
        assert index is not None
        require(index > floor, f"a write of {index} was acknowledged, but it began after {floor} was applied")
        self.acknowledged += 1
        self.max_acknowledged = max(self.max_acknowledged, index)

    def read_ok(self, member: Any, floor: int) -> None:
        """A linearizable read that began when `floor` was the top is served."""
        self.reads += 1
        applied = member.state.applied_index
        require(applied >= floor, f"a stale read: at {applied}, though {floor} was applied before it began")


class EventCheck:
    """The sink of a watcher of every key: what it gets must be what happened, once and in order."""

    buffered = 0

    def __init__(self, checks: Checks, name: str, revision: int) -> None:
        """revision: the current one when the watch began, which asks for what happens from then on."""
        self._checks = checks
        self._name = name
        self._main = revision
        self._sub = 1 << 32
        self.got = 0

    def deliver(self, watcher: Any, batch: Any) -> None:
        """Events."""
        for event in batch.events:
            main, sub = event.revision >> 32, event.revision & 0xFFFFFFFF
            follows = (main, sub) in ((self._main + 1, 0), (self._main, self._sub + 1))
            require(follows, f"{self._name}: event {main}.{sub} after {self._main}.{self._sub}")
            what = zlib.crc32(event.kv)
            known = self._checks.events.setdefault(event.revision, what)
            require(known == what, f"{self._name}: another event at {main}.{sub} than others got")
            self._main, self._sub = main, sub
            self.got += 1

    def hasten(self) -> None:
        """They are here."""

    def compacted(self, watcher: Any, revision: int) -> None:
        """Canceled."""

    def progress(self, revision: int) -> None:
        """Not asked for."""
