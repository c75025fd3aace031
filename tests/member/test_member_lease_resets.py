"""Between a renewal that waits and the entry that takes the checkpoint back, no other checkpoint of the lease is made.

It would come behind that entry: the renewal is promised in full between the two, and the next leader goes by the
checkpoint.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from harness.memory_tables import MemoryTables

from kvstore.errors import EtcdError, error
from kvstore.member.lease_resets import LeaseResets
from kvstore.member.member import Member
from kvstore.mvcc.lease import Lessor
from kvstore.pb import etcd_pb2 as pb


class Site:
    """A leader's lessor with a checkpointed lease of 1000 s, and what is proposed to take checkpoints back."""

    def __init__(self) -> None:
        self.tables = MemoryTables()
        self.lessor = Lessor(self.tables)
        self.lessor.promote(0.0)
        self.lessor.grant(7, 1000, 0.0)
        self.checkpoint(300.0)
        self.log: list[tuple[pb.LeaseCheckpointRequest, Any]] = []
        self.refuses: EtcdError | None = None
        self.resets = LeaseResets(cast(Member, SimpleNamespace(lessor=self.lessor, propose=self._propose)))
        self.told: list[EtcdError | None] = []

    def _propose(self, kind: int, body: bytes, request: pb.LeaseCheckpointRequest, done: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.log.append((request, done))

    def checkpoint(self, now: float) -> bool:
        """The duties' turn: what is due is proposed and applied at once."""
        due = self.lessor.checkpoints_due(now)
        if due is not None:
            self.lessor.checkpoint(due)
        return due is not None

    def renew(self, now: float) -> None:
        """A renewal comes that must wait."""
        assert self.lessor.must_reset(7, now)
        self.resets.reset(7, self.told.append)

    def apply(self) -> None:
        """The oldest of the entries that take a checkpoint back is applied."""
        request, done = self.log.pop(0)
        self.lessor.checkpoint(request)
        done(None, None)

    def next_leader(self, now: float) -> tuple[int, int]:
        """(seconds left, TTL) of the lease there."""
        successor = Lessor(self.tables)
        successor.promote(now)
        left = successor.time_to_live(7, now)
        assert left is not None
        return left


@pytest.fixture
def site() -> Site:
    return Site()


def test_no_checkpoint_comes_behind_the_entry_that_takes_the_last_one_back(site: Site) -> None:
    site.renew(599.99)
    due = site.lessor.checkpoints_due(600.0)
    site.apply()
    assert site.told == [None]
    if site.lessor.renew_known(7, 600.0):
        if due is not None:
            site.lessor.checkpoint(due)
        assert site.next_leader(600.5) == (1000, 1000)
    assert due is None


def test_checkpoints_go_on_when_it_is_applied(site: Site) -> None:
    site.renew(599.99)
    assert not site.checkpoint(600.0)
    site.apply()
    assert site.lessor.renew(7, 600.0) == 1000
    assert not site.checkpoint(899.0), "it was planned anew, not forgotten"
    assert site.checkpoint(900.0)
    assert site.next_leader(901.0) == (700, 1000)


def test_checkpoints_go_on_under_a_new_leader(site: Site) -> None:
    """This member again: what it had proposed is lost with the lead."""
    site.renew(599.99)
    site.lessor.demote()
    site.log.pop()[1](None, error("LEADER_CHANGED"))
    site.lessor.promote(601.0)
    assert site.checkpoint(902.0)


def test_a_second_renewal_counts_even_if_the_entry_is_of_an_earlier_term(site: Site) -> None:
    """Nobody knows yet what became of it: it may come just when the checkpoint is under way."""
    site.renew(599.99)
    site.lessor.demote()
    site.lessor.promote(600.0)
    site.renew(600.5)
    assert not site.checkpoint(900.5)
    site.apply()
    assert site.told == [None, None]
    assert site.checkpoint(1201.0)


def test_an_entry_that_takes_too_long_may_be_applied_yet(site: Site) -> None:
    site.renew(590.0)
    request, done = site.log[0]
    done(None, error("TIMEOUT"))
    assert not site.checkpoint(600.0)
    site.lessor.checkpoint(request)
    assert site.lessor.renew(7, 601.0) == 1000
    assert site.next_leader(601.0) == (1000, 1000)


def test_what_was_refused_is_told_and_tried_again(site: Site) -> None:
    site.refuses = error("TOO_MANY_REQUESTS")
    site.renew(500.0)
    assert site.told == [site.refuses]
    site.refuses = None
    site.renew(501.0)
    site.apply()
    assert site.lessor.renew(7, 502.0) == 1000
    assert site.checkpoint(900.0)
