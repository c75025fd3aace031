"""The lessor against a model: grants, renewals, revokes, checkpoints, leader changes, restarts, under a fake clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
from harness.memory_tables import MemoryTables
from harness.plan import examples
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kvstore.errors import EtcdError
from kvstore.mvcc.lease import Lessor
from kvstore.pb import etcd_pb2 as pb

ids = st.integers(1, 6)
keys = st.sampled_from([b"a", b"b", b"c", b"d" * 600])


@dataclass
class Granted:
    ttl: int
    remaining: int = 0
    expiry: float = 0.0
    keys: set[bytes] = field(default_factory=set)


class Leases(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tables = MemoryTables()
        self.lessor = Lessor(self.tables, min_ttl=2, checkpoint_interval=20.0)
        self.model: dict[int, Granted] = {}
        self.now = 0.0
        self.leads = False

    @rule(seconds=st.sampled_from([0.5, 1.0, 7.0, 30.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule(id=ids, ttl=st.sampled_from([0, 1, 5, 40, 100]))
    def grant(self, id: int, ttl: int) -> None:
        try:
            granted = self.lessor.grant(id, ttl, self.now)
        except EtcdError:
            assert id in self.model
            return
        assert granted == max(ttl, 2)
        self.model[id] = Granted(granted, expiry=self.now + granted)

    @rule(id=ids)
    def revoke(self, id: int) -> None:
        try:
            gone = self.lessor.revoke(id)
        except EtcdError:
            assert id not in self.model
            return
        assert gone == sorted(self.model.pop(id).keys)

    @rule(id=ids, key=keys)
    def attach(self, id: int, key: bytes) -> None:
        if id in self.model:
            self.lessor.attach(id, key)
            self.model[id].keys.add(key)

    @rule(id=ids, key=keys)
    def detach(self, id: int, key: bytes) -> None:
        self.lessor.detach(id, key)
        if id in self.model:
            self.model[id].keys.discard(key)

    @rule(id=ids)
    def renew(self, id: int) -> None:
        lives = id in self.model and self.leads and self.model[id].expiry > self.now
        assert self.lessor.must_reset(id, self.now) == (lives and self.model[id].remaining > 0)
        if lives and self.model[id].remaining:
            assert self.lessor.renew_known(id, self.now) is None
            self.lessor.checkpoint(pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=id)]))
            self.model[id].remaining = 0
        try:
            ttl = self.lessor.renew(id, self.now)
        except EtcdError:
            assert not lives
            return
        assert lives
        assert ttl == self.model[id].ttl
        self.model[id].expiry = max(self.model[id].expiry, self.now + ttl)

    @rule()
    def checkpoint(self) -> None:
        request = self.lessor.checkpoints_due(self.now)
        if request is None:
            return
        assert self.leads
        for mark in request.checkpoints:
            lease = self.model[mark.ID]
            left = lease.expiry - self.now
            assert mark.remaining_TTL == 0 or left <= mark.remaining_TTL < left + 1
            lease.remaining = mark.remaining_TTL
        self.lessor.checkpoint(request)

    @rule(extend=st.sampled_from([0.0, 1.0]))
    def become_leader(self, extend: float) -> None:
        self.lessor.promote(self.now, extend)
        self.leads = True
        for lease in self.model.values():
            lease.expiry = self.now + extend + (lease.remaining or lease.ttl)

    @rule()
    def lose_leadership(self) -> None:
        self.lessor.demote()
        self.leads = False

    @rule()
    def restart(self) -> None:
        self.lessor = Lessor(self.tables, min_ttl=2, checkpoint_interval=20.0)
        self.leads = False
        for id, lease in self.model.items():
            for key in lease.keys:
                self.lessor.attach(id, key)

    @rule(limit=st.integers(1, 4))
    def revoke_the_expired(self, limit: int) -> None:
        found = self.lessor.expired(self.now, limit)
        assert found == self.run_out()[: len(found)]
        assert len(found) == min(limit, len(self.run_out()))
        for id in found:
            self.lessor.revoke(id)
            del self.model[id]

    def run_out(self) -> list[int]:
        late = [(lease.expiry, id) for id, lease in self.model.items() if self.leads and lease.expiry <= self.now]
        return [id for _, id in sorted(late)]

    @invariant()
    def same_answers(self) -> None:
        assert self.lessor.expired(self.now) == self.run_out()
        assert sorted(self.lessor.leases()) == sorted(self.model)
        for id in range(1, 7):
            lease = self.model.get(id)
            assert self.lessor.exists(id) == (lease is not None)
            assert self.lessor.keys(id) == (sorted(lease.keys) if lease else [])
            if self.leads:
                times = (max(int(lease.expiry - self.now), 0), lease.ttl) if lease else None
                assert self.lessor.time_to_live(id, self.now) == times


Leases.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None, print_blob=True)
TestLeases = Leases.TestCase
