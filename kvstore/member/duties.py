"""What only a leader does of its own accord: end leases that ran out, checkpoint long ones, compact.

Each goes through the log like a client's request, so a leader that was cut off changes nothing. A leader that was
*paused* would believe that leases ran out whose renewals lie unread in its sockets; so before it proposes a
revocation it has its leadership confirmed by a quorum, which takes a round trip through the loop, and looks again
(etcd #15247).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from kvstore.errors import EtcdError
from kvstore.failpoints import armed, hit
from kvstore.member.compactor import Compactor, parse_retention
from kvstore.member.consensus.proposals import Done
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb

if TYPE_CHECKING:
    from kvstore.member.member import Member

LEASE_SECONDS = 0.1
# Leases and keys on them that one entry ends: what a put that comes behind it waits for, on every member, a few
# milliseconds. The next entry is proposed when this one is applied, together with whatever came meanwhile.
REVOKES_AT_ONCE = 64
# Compaction: records a turn of the loop, about half a millisecond; so many such turns, then a pause.
SLICE_ITEMS = 200
SLICES_AT_ONCE = 4
PAUSE_SECONDS = 0.001


class Duties:
    """The timers of one member; they act only while it leads."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._loop = member.loop
        config = member.config
        retention = parse_retention(config.auto_compaction_mode, config.auto_compaction_retention)
        self._compactor = Compactor(config.auto_compaction_mode, retention)
        self._timers: list[asyncio.TimerHandle] = []
        # Only while we lead: a follower that idles is not woken for leases that it does not time.
        self._lease_timer: asyncio.TimerHandle | None = None
        self._confirming = False
        self._revoking: set[int] = set()
        self._compacting = False
        self._slices = 0
        self._compacted: list[Callable[[], None]] = []
        self._leading = False

    def start(self) -> None:
        """Begin the timers."""
        if self._compactor.interval:
            self._every(self._compactor.interval, self._auto_compact)
        self.compact_physically()

    def stop(self) -> None:
        """End the timers."""
        for timer in (*self._timers, self._lease_timer):
            if timer is not None:
                timer.cancel()

    def lead(self, leading: bool) -> None:
        """We became leader or stopped being it."""
        if leading == self._leading:
            return
        self._leading = leading
        self._revoking.clear()
        if leading:
            self._member.lessor.promote(self._loop.time(), self._member.config.election_timeout / 1000)
            self._lease_timer = self._loop.call_later(LEASE_SECONDS, self._lease_turn)
        else:
            self._member.lessor.demote()
            self._compactor.forget()
            if self._lease_timer is not None:
                self._lease_timer.cancel()

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        slot = len(self._timers)

        def turn() -> None:
            self._timers[slot] = self._loop.call_later(seconds, turn)
            work()

        self._timers.append(self._loop.call_later(seconds, turn))

    # ---- leases ----

    def _lease_turn(self) -> None:
        self._lease_timer = self._loop.call_later(LEASE_SECONDS, self._lease_turn)
        self._leases()

    def _leases(self) -> None:
        self._end_expired()
        checkpoint = self._member.lessor.checkpoints_due(self._loop.time())
        if checkpoint is not None:
            self._propose(RequestKind.LEASE_CHECKPOINT, checkpoint, _nobody)

    def _end_expired(self) -> None:
        if not self._confirming and not self._revoking and self._leading and self._expired():
            try:
                self._member.linearizable(self._confirmed)
            except EtcdError:
                return  # too many reads wait: the next turn finds the same thing to do
            self._confirming = True

    def _expired(self) -> list[int]:
        """The first of those that ran out, as many as may end at once."""
        lessor = self._member.lessor
        found = lessor.expired(self._loop.time(), REVOKES_AT_ONCE)
        work, count = 0, 0
        for lease in found:
            work += 1 + lessor.key_count(lease)
            if count and work > 2 * REVOKES_AT_ONCE:
                break
            count += 1
        return found[:count]

    def _confirmed(self, problem: EtcdError | None) -> None:
        """Our leadership is confirmed, and what had piled up in the sockets was read: those still expired are to go."""
        self._confirming = False
        if problem is not None or not self._leading:
            return
        expired = self._expired()
        if armed and expired:
            hit("lease-before-expire")
        self._revoking.update(expired)
        for lease in expired:
            self._propose(RequestKind.LEASE_EXPIRE, pb.LeaseRevokeRequest(ID=lease), partial(self._revoked, lease))

    def _revoked(self, lease: int, result: Any, problem: EtcdError | None) -> None:
        self._revoking.discard(lease)
        if not self._revoking and problem is None:
            # Behind the requests that are applied with it.
            self._loop.call_soon(self._end_expired)

    # ---- compaction ----

    def _auto_compact(self) -> None:
        if self._leading and (target := self._compactor.due(self._loop.time(), self._member.store.revision)):
            self._propose(RequestKind.COMPACT, pb.CompactionRequest(revision=target), _nobody)

    def compact_physically(self, done: Callable[[], None] | None = None) -> None:
        """Remove compacted revisions from the tables, a slice a turn; `done` when all are gone."""
        if done is not None:
            self._compacted.append(done)
        if not self._compacting:
            self._compacting = True
            self._compact_slice()

    def _compact_slice(self) -> None:
        if self._member.stopping:
            return
        if armed and self._member.store.compaction_pending:
            hit("compact-before-slice")
        if self._member.crowded:
            self._loop.call_later(0.005, self._compact_slice)
            return
        if not self._member.store.compact_step(SLICE_ITEMS):
            self._member.touched(SLICE_ITEMS)
            self._slices = (self._slices + 1) % SLICES_AT_ONCE
            self._loop.call_later(0 if self._slices else PAUSE_SECONDS, self._compact_slice)
            return
        if armed and self._compacted:
            hit("compact-after-finish")
        self._compacting = False
        finished, self._compacted = self._compacted, []
        for done in finished:
            done()

    def _propose(self, kind: RequestKind, request: Any, done: Done) -> None:
        try:
            self._member.propose(kind, request.SerializeToString(), request, done)
        except EtcdError as problem:
            done(None, problem)  # the queue is full: the next turn finds the same thing to do


def _nobody(result: Any, problem: EtcdError | None) -> None:
    """Who waits for a request that is made again if it was lost."""
