"""The lessor: grants, renews and revokes leases, and says on the leader which have expired.

What is stored (id, TTL, checkpointed rest, attached keys) changes only through applied log entries and is the same on
every member. When a lease expires is known to the leader alone, by the clock it passes in: nothing here reads one.

Invariants:
* A lease expires only by a revoke that went through the log; `expired` merely names those to propose. The member asks
  it only after it confirmed its leadership, so that a leader that was stalled revokes nothing (etcd issue 15247).
* A new leader gives every lease its full TTL again, or what the last checkpoint left of it, never less.
* An expired lease is not renewed: its revoke may already be in the log.
* Nor is one while the log has, or may yet have, a checkpoint of it: a new leader would give it less than was promised.
* No checkpoint is made that could come behind the entry that takes the last one back: it would not be noticed.

Which keys belong to a lease is not stored here: every live key says it, and the store attaches them all when it loads.

Faults assumed: leader changes at any moment, lost proposals (an expired lease is named until it is revoked), a process
that stood still while its clock ran on.
Follows etcd's lease API; keys are deleted in sorted order, in one revision, by the caller.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from kvstore.errors import error
from kvstore.invariant import invariant
from kvstore.mvcc.lease_queue import LeaseQueue
from kvstore.mvcc.types import Table, Tables
from kvstore.pb import etcd_pb2 as pb

MAX_TTL = 9_000_000_000
CHECKPOINT_INTERVAL = 300.0

_RECORD = struct.Struct(">qq")


def minimum_ttl(election_timeout: float) -> int:
    """The shortest TTL in seconds: 1.5 election timeouts, so that a lease outlives an election."""
    return -int(-1.5 * election_timeout // 1)


class Lease:
    """One granted lease.

    ttl: granted, in seconds. remaining: seconds left at the last checkpoint, 0 for none.
    expiry: moment on the leader's clock, None on every other member. keys: attached to it.
    shortened: a checkpoint of it is in the log, or was proposed by this member, which leads.
    resetting: this member, which leads, takes that back: an entry is on its way to the log, or may be.
    """

    __slots__ = ("expiry", "id", "keys", "remaining", "resetting", "shortened", "ttl")

    def __init__(self, id: int, ttl: int, remaining: int = 0) -> None:
        self.id = id
        self.ttl = ttl
        self.remaining = remaining
        self.shortened = remaining > 0
        self.resetting = False
        self.expiry: float | None = None
        self.keys: set[bytes] = set()

    def left(self) -> int:
        """Seconds that a new leader gives it."""
        return self.remaining or self.ttl


class Lessor:
    """All leases of one member; the LeaseBook of its store. Times are seconds of one monotonic clock."""

    def __init__(self, tables: Tables, min_ttl: int = 1, checkpoint_interval: float = CHECKPOINT_INTERVAL) -> None:
        """min_ttl: shorter TTLs are raised to it (see minimum_ttl).

        checkpoint_interval: seconds between two checkpoints of a long lease.
        """
        self._table: Table = tables.table("leases")
        self._min_ttl = min_ttl
        self._checkpoint_interval = checkpoint_interval
        # Since the start, for metrics.
        self.granted = self.revoked = self.renewed = 0
        self.recover()

    def recover(self) -> None:
        """Read the leases anew from the tables, after a start or an installed snapshot; ends being primary.

        They have no keys until the store has loaded and attached them.
        """
        self._leases: dict[int, Lease] = {}
        for row, record in self._table.scan():
            id = int.from_bytes(row, "big", signed=True)
            self._leases[id] = Lease(id, *unpack_lease(record))
        self.demote()

    # ---- the LeaseBook of the store

    def any(self) -> bool:
        """Whether there are leases."""
        return bool(self._leases)

    def exists(self, lease: int) -> bool:
        """Whether the lease has been granted and not revoked."""
        return lease in self._leases

    def attach(self, lease: int, key: bytes) -> None:
        """The key belongs to the lease from now on."""
        found = self._leases.get(lease)
        invariant(found is not None, "a key is attached to a lease that does not exist")
        assert found is not None
        found.keys.add(key)

    def detach(self, lease: int, key: bytes) -> None:
        """The key no longer belongs to the lease. A lease that was just revoked has no attachments left."""
        found = self._leases.get(lease)
        if found is not None:
            found.keys.discard(key)

    # ---- applied entries: the same on every member

    def grant(self, id: int, ttl: int, now: float) -> int:
        """Grant a lease; returns its TTL in seconds.

        Raises LEASE_NOT_FOUND (id 0), LEASE_TTL_TOO_LARGE, LEASE_EXISTS.
        """
        if id == 0:
            raise error("LEASE_NOT_FOUND")
        if ttl > MAX_TTL:
            raise error("LEASE_TTL_TOO_LARGE")
        if id in self._leases:
            raise error("LEASE_EXISTS")
        lease = self._leases[id] = Lease(id, max(ttl, self._min_ttl))
        self._save(lease)
        self.granted += 1
        if self._primary:
            self._start(lease, now)
        return lease.ttl

    def revoke(self, id: int) -> list[bytes]:
        """End a lease; returns its keys, sorted, which the caller deletes in one revision. Raises LEASE_NOT_FOUND."""
        lease = self._leases.pop(id, None)
        if lease is None:
            raise error("LEASE_NOT_FOUND")
        self.revoked += 1
        self._table.delete(lease_row(id))
        self._expiries.forget(id)
        self._checkpoints.forget(id)
        return sorted(lease.keys)

    def checkpoint(self, request: pb.LeaseCheckpointRequest) -> None:
        """Note what is left of leases; those revoked meanwhile are passed over."""
        for mark in request.checkpoints:
            lease = self._leases.get(mark.ID)
            if lease is not None:
                lease.remaining = max(mark.remaining_TTL, 0)
                # Entries are applied in the order in which a leader proposed them, and none shortens a lease behind
                # one that is to take that back (resetting): so whatever is under way is older than that.
                lease.shortened = lease.remaining > 0
                self._save(lease)
                self._plan_checkpoint(lease, self._now)

    # ---- the leader's clock

    @property
    def primary(self) -> bool:
        """Whether this member times the leases, i.e. is the leader."""
        return self._primary

    def promote(self, now: float, extend: float = 0.0) -> None:
        """This member became the leader: every lease runs from now, for its rest and `extend` seconds more."""
        self.demote()
        self._primary = True
        self._now = now
        for lease in self._leases.values():
            self._start(lease, now + extend)

    def demote(self) -> None:
        """This member is not the leader: nothing expires here."""
        self._primary = False
        self._now = 0.0
        self._expiries = LeaseQueue()
        self._checkpoints = LeaseQueue()
        for lease in self._leases.values():
            lease.expiry = None
            lease.resetting = False
            lease.shortened = lease.remaining > 0  # what an earlier leader proposed is applied before we renew anything

    def renew(self, id: int, now: float) -> int:
        """Let the lease run anew; returns its TTL.

        Raises NOT_LEADER, also while its checkpoint stands, and LEASE_NOT_FOUND, also when it has expired but is not
        revoked yet.
        """
        ttl = self.renew_known(id, now)
        if ttl is None:
            raise error("NOT_LEADER")
        if not ttl:
            raise error("LEASE_NOT_FOUND")
        return ttl

    def renew_known(self, id: int, now: float) -> int | None:
        """renew() without errors: 0 for a lease that is not found, None where it must not be renewed as it is. Hot.

        That is, where this member does not time it, or its checkpoint stands (must_reset).
        """
        if not self._primary:
            return None
        lease = self._leases.get(id)
        if lease is None or lease.expiry is None or lease.expiry <= now:
            return 0
        if lease.shortened:
            return None
        # What a new leader gave beyond the TTL is not taken back: an expiry only ever moves on, as LeaseQueue needs.
        expiry = now + lease.ttl
        if expiry > lease.expiry:
            lease.expiry = expiry
        self.renewed += 1
        return lease.ttl

    def renew_run(self, ids: Sequence[int], now: float) -> list[int]:
        """renew_known() of one after the other, up to the first for which it gives no TTL. Hot."""
        leases = self._leases
        renewed: list[int] = []
        if not self._primary:
            return renewed
        for id in ids:
            lease = leases.get(id)
            if lease is None or lease.expiry is None or lease.expiry <= now or lease.shortened:
                break
            ttl = lease.ttl
            expiry = now + ttl
            if expiry > lease.expiry:
                lease.expiry = expiry
            renewed.append(ttl)
        self.renewed += len(renewed)
        return renewed

    def must_reset(self, id: int, now: float) -> bool:
        """Whether a checkpoint of remaining TTL 0 is to be applied before this lease may be renewed."""
        lease = self._leases.get(id)
        return lease is not None and lease.shortened and lease.expiry is not None and lease.expiry > now

    def begin_reset(self, id: int) -> None:
        """Such a checkpoint is proposed: no other one of this lease until end_reset(), or as long as we lead."""
        lease = self._leases.get(id)
        if lease is not None:
            lease.resetting = True

    def end_reset(self, id: int) -> None:
        """It is applied, and no older one is under way."""
        lease = self._leases.get(id)
        if lease is not None:
            lease.resetting = False

    def expired(self, now: float, limit: int = 1000) -> list[int]:
        """At most `limit` leases to propose a revoke for, the first to expire first; the same until they are revoked.

        Call it often with a limit that one log entry holds: thousands that expire together leave in batches.
        """
        self._now = now
        found = self._expiries.due(now, limit, self._expiry)
        for id in found:
            self._expiries.schedule(id, self._leases[id].expiry or now)
        return found

    def checkpoints_due(self, now: float, limit: int = 1000) -> pb.LeaseCheckpointRequest | None:
        """What to propose so that long leases do not start over under the next leader; None if nothing is due."""
        self._now = now
        request = pb.LeaseCheckpointRequest()
        for id in self._checkpoints.due(now, limit, self._checkpoint_moment):
            self._note_remaining(request, self._leases[id], now)
        return request if request.checkpoints else None

    # ---- questions

    def time_to_live(self, id: int, now: float) -> tuple[int, int] | None:
        """(whole seconds left, granted TTL), None for an unknown lease. Raises NOT_LEADER."""
        if not self._primary:
            raise error("NOT_LEADER")
        lease = self._leases.get(id)
        if lease is None or lease.expiry is None:
            return None
        return max(int(lease.expiry - now), 0), lease.ttl

    def key_count(self, id: int) -> int:
        """How many keys are attached to a lease; 0 for an unknown one."""
        lease = self._leases.get(id)
        return len(lease.keys) if lease is not None else 0

    def unsorted_keys(self, id: int) -> list[bytes]:
        """The keys attached to a lease, in any order."""
        lease = self._leases.get(id)
        return list(lease.keys) if lease is not None else []

    def keys(self, id: int) -> list[bytes]:
        """The keys attached to a lease, sorted; none for an unknown lease."""
        lease = self._leases.get(id)
        return sorted(lease.keys) if lease is not None else []

    def leases(self) -> list[int]:
        """Every lease, the first to expire first; by id where that is not known."""
        return [lease.id for lease in sorted(self._leases.values(), key=lambda lease: (lease.expiry or 0.0, lease.id))]

    # ---- inside

    def _save(self, lease: Lease) -> None:
        self._table.put(lease_row(lease.id), pack_lease(lease.ttl, lease.remaining))

    def _start(self, lease: Lease, now: float) -> None:
        lease.expiry = now + lease.left()
        self._expiries.schedule(lease.id, lease.expiry)
        self._plan_checkpoint(lease, now)

    def _expiry(self, id: int) -> float | None:
        return self._leases[id].expiry

    def _plan_checkpoint(self, lease: Lease, now: float) -> None:
        if self._primary and lease.left() > self._checkpoint_interval:
            self._checkpoints.schedule(lease.id, now + self._checkpoint_interval)

    def _checkpoint_moment(self, id: int) -> float | None:
        return 0.0 if id in self._leases else None

    def _note_remaining(self, request: pb.LeaseCheckpointRequest, lease: Lease, now: float) -> None:
        if lease.expiry is None or lease.expiry <= now:
            return
        # Rounded up: a lease must not lose time by being checkpointed.
        remaining = -int(-(lease.expiry - now) // 1)
        if remaining < lease.ttl and not lease.resetting:
            request.checkpoints.add(ID=lease.id, remaining_TTL=remaining)
            lease.shortened = True
        self._plan_checkpoint(lease, now)


def lease_row(id: int) -> bytes:
    """The key of a lease in the table `leases`."""
    return id.to_bytes(8, "big", signed=True)


def pack_lease(ttl: int, remaining: int) -> bytes:
    """What stands there: TTL and what the last checkpoint left of it, in seconds."""
    return _RECORD.pack(ttl, remaining)


def unpack_lease(record: bytes) -> tuple[int, int]:
    """(TTL, remaining) of such a row."""
    ttl, remaining = _RECORD.unpack(record)
    return ttl, remaining
