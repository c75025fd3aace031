"""The lessor with a clock made of numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.memory_tables import MemoryTables

from kvstore.errors import EtcdError
from kvstore.invariant import InvariantViolation
from kvstore.mvcc.lease import MAX_TTL, Lessor, minimum_ttl
from kvstore.pb import etcd_pb2 as pb


def leader(tables: MemoryTables | None = None, now: float = 0.0) -> Lessor:
    lessor = Lessor(tables or MemoryTables(), min_ttl=2)
    lessor.promote(now)
    return lessor


def refused(message: str, action: Callable[[], object]) -> None:
    with pytest.raises(EtcdError) as caught:
        action()
    assert caught.value.message == f"etcdserver: {message}"


@pytest.mark.parametrize(("timeout", "ttl"), [(1.0, 2), (0.15, 1), (2.0, 3), (5.0, 8), (2 / 3, 1)])
def test_minimum_ttl(timeout: float, ttl: int) -> None:
    assert minimum_ttl(timeout) == ttl


def test_grant() -> None:
    lessor = leader()
    assert lessor.grant(7, 60, 0.0) == 60
    assert lessor.grant(8, 1, 0.0) == 2
    assert lessor.grant(9, -5, 0.0) == 2
    assert lessor.grant(-3, MAX_TTL, 0.0) == MAX_TTL
    refused("lease already exists", lambda: lessor.grant(7, 60, 0.0))
    refused("requested lease not found", lambda: lessor.grant(0, 60, 0.0))
    refused("too large lease TTL", lambda: lessor.grant(10, MAX_TTL + 1, 0.0))
    assert lessor.exists(7)
    assert not lessor.exists(10)
    assert lessor.leases() == [8, 9, 7, -3]


def test_revoke_returns_sorted_keys() -> None:
    lessor = leader()
    lessor.grant(7, 60, 0.0)
    for key in (b"c", b"a", b"b", b"x"):
        lessor.attach(7, key)
    lessor.detach(7, b"x")
    lessor.detach(7, b"never there")
    assert lessor.keys(7) == [b"a", b"b", b"c"]
    assert lessor.revoke(7) == [b"a", b"b", b"c"]
    assert not lessor.exists(7)
    lessor.detach(7, b"a")  # the store says so while it deletes them
    refused("requested lease not found", lambda: lessor.revoke(7))
    assert lessor.keys(7) == []


def test_attach_needs_a_lease() -> None:
    with pytest.raises(InvariantViolation):
        leader().attach(7, b"a")


def test_expiry_only_names_what_ran_out() -> None:
    lessor = leader()
    lessor.grant(1, 10, 0.0)
    lessor.grant(2, 5, 0.0)
    assert lessor.expired(4.9) == []
    assert lessor.expired(5.0) == [2]
    assert lessor.expired(5.0) == [2], "named until it is revoked"
    assert lessor.exists(2)
    lessor.revoke(2)
    assert lessor.expired(5.0) == []
    assert lessor.expired(100.0) == [1]


def test_a_renewal_starts_the_ttl_anew() -> None:
    lessor = leader()
    lessor.grant(1, 10, 0.0)
    assert lessor.renew(1, 9.0) == 10
    assert lessor.expired(18.9) == []
    assert lessor.time_to_live(1, 9.5) == (9, 10)
    assert lessor.expired(19.0) == [1]


def test_an_expired_lease_is_not_renewed() -> None:
    lessor = leader()
    lessor.grant(1, 10, 0.0)
    refused("requested lease not found", lambda: lessor.renew(1, 10.0))
    assert lessor.time_to_live(1, 12.0) == (0, 10)
    refused("requested lease not found", lambda: lessor.renew(2, 0.0))
    assert lessor.time_to_live(2, 0.0) is None


def test_only_a_leader_times() -> None:
    lessor = Lessor(MemoryTables())
    lessor.grant(1, 10, 0.0)
    assert not lessor.primary
    assert lessor.expired(1e9) == []
    assert lessor.checkpoints_due(1e9) is None
    refused("not leader", lambda: lessor.renew(1, 0.0))
    refused("not leader", lambda: lessor.time_to_live(1, 0.0))


def test_a_new_leader_gives_a_full_ttl() -> None:
    lessor = leader()
    lessor.grant(1, 10, 0.0)
    lessor.demote()
    assert lessor.expired(50.0) == []
    lessor.promote(100.0, extend=1.0)
    assert lessor.expired(110.9) == []
    assert lessor.expired(111.0) == [1]


def test_a_renewal_does_not_shorten() -> None:
    # Found by test_lessor_model: a lease that a new leader had extended was renewed to less, and named late.
    lessor = leader()
    lessor.grant(1, 10, 0.0)
    lessor.promote(0.0, extend=5.0)
    lessor.renew(1, 1.0)
    assert lessor.expired(14.9) == []
    assert lessor.expired(15.0) == [1]


def test_renewed_leases_are_named_in_order() -> None:
    lessor = leader()
    lessor.grant(1, 10, 0.0)
    lessor.grant(2, 12, 0.0)
    lessor.renew(1, 5.0)
    assert lessor.expired(20.0, 1) == [2]
    assert lessor.expired(20.0) == [2, 1]


def test_ten_thousand_leave_in_batches() -> None:
    lessor = leader()
    for id in range(1, 10_001):
        lessor.grant(id, 10, 0.0)
    rounds = 0
    while found := lessor.expired(11.0, 1000):
        assert len(found) == 1000
        for id in found:
            lessor.revoke(id)
        rounds += 1
    assert rounds == 10
    assert lessor.leases() == []


def test_renewals_do_not_grow_the_queue() -> None:
    lessor = leader()
    lessor.grant(1, 10, 0.0)
    for step in range(1000):
        lessor.renew(1, step * 0.01)
    assert len(lessor._expiries._heap) == 1


def marks(request: pb.LeaseCheckpointRequest | None) -> list[tuple[int, int]]:
    return [(mark.ID, mark.remaining_TTL) for mark in request.checkpoints] if request is not None else []


def test_checkpoints_of_long_leases() -> None:
    lessor = leader()
    lessor.grant(1, 1000, 0.0)
    lessor.grant(2, 300, 0.0)
    assert lessor.checkpoints_due(299.0) is None
    due = lessor.checkpoints_due(300.5)
    assert marks(due) == [(1, 700)]
    assert due is not None
    lessor.checkpoint(due)
    assert lessor.checkpoints_due(301.0) is None
    lessor.demote()
    lessor.promote(1000.0)
    assert lessor.expired(1699.0) == [2]
    assert lessor.expired(1700.0) == [2, 1]


def test_checkpoints_go_on_until_the_end() -> None:
    lessor = leader()
    lessor.grant(1, 1000, 0.0)
    seen = []
    for now in range(0, 1000, 10):
        due = lessor.checkpoints_due(float(now))
        if due is not None:
            lessor.checkpoint(due)
            seen += marks(due)
    assert seen == [(1, 700), (1, 400), (1, 100)]


def reset(lessor: Lessor, id: int) -> None:
    """As the entry that a renewal waits for."""
    lessor.checkpoint(pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=id, remaining_TTL=0)]))


def test_a_renewal_waits_until_the_checkpoint_is_taken_back() -> None:
    lessor = leader()
    lessor.grant(1, 1000, 0.0)
    lessor.checkpoint(pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=1, remaining_TTL=400)]))
    assert lessor.must_reset(1, 500.0)
    assert lessor.renew_known(1, 500.0) is None
    assert lessor.time_to_live(1, 500.0) == (500, 1000), "it was not renewed"
    reset(lessor, 1)
    assert not lessor.must_reset(1, 500.0)
    assert lessor.renew(1, 500.0) == 1000
    lessor.demote()
    lessor.promote(600.0)
    assert lessor.expired(1599.0) == []
    assert lessor.expired(1600.0) == [1]


def test_a_checkpoint_that_is_under_way_counts_as_one() -> None:
    """Else the renewal is answered, the checkpoint applied after it, and the next leader ends the lease early."""
    lessor = leader()
    lessor.grant(1, 1000, 0.0)
    due = lessor.checkpoints_due(300.5)
    assert due is not None
    assert lessor.renew_known(1, 300.6) is None
    lessor.checkpoint(due)
    assert lessor.renew_known(1, 300.7) is None
    reset(lessor, 1)
    assert lessor.renew_known(1, 300.8) == 1000


def test_a_checkpoint_that_was_lost_with_the_lead_counts_no_more() -> None:
    lessor = leader()
    lessor.grant(1, 1000, 0.0)
    assert lessor.checkpoints_due(300.5) is not None
    lessor.demote()
    lessor.promote(301.0)
    assert lessor.renew_known(1, 302.0) == 1000


def test_what_has_run_out_is_not_reset() -> None:
    lessor = leader()
    lessor.grant(1, 1000, 0.0)
    assert lessor.checkpoints_due(300.5) is not None
    assert not lessor.must_reset(1, 1000.0)
    assert lessor.renew_known(1, 1000.0) == 0
    assert not lessor.must_reset(2, 0.0)


def test_checkpoints_of_the_gone_are_passed_over() -> None:
    lessor = leader()
    lessor.grant(1, 1000, 0.0)
    due = lessor.checkpoints_due(301.0)
    assert due is not None
    lessor.revoke(1)
    lessor.checkpoint(due)
    assert lessor.leases() == []
    assert lessor.checkpoints_due(10_000.0) is None


def test_checkpoints_are_limited() -> None:
    lessor = leader()
    for id in range(1, 26):
        lessor.grant(id, 1000, 0.0)
    sizes = []
    while due := lessor.checkpoints_due(400.0, 10):
        sizes.append(len(due.checkpoints))
    assert sizes == [10, 10, 5]


def test_restart_finds_the_leases() -> None:
    tables = MemoryTables()
    lessor = leader(tables)
    lessor.grant(1, 1000, 0.0)
    lessor.grant(-2, 60, 0.0)
    lessor.grant(3, 60, 0.0)
    lessor.revoke(3)
    lessor.checkpoint(pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=1, remaining_TTL=400)]))
    again = Lessor(tables, min_ttl=2)
    assert sorted(again.leases()) == [-2, 1]
    again.attach(1, b"k")
    again.promote(0.0)
    assert again.time_to_live(1, 0.0) == (400, 1000)
    assert again.time_to_live(-2, 0.0) == (60, 60)
    again.recover()
    assert not again.primary
    assert again.keys(1) == [], "the store attaches them anew"


def test_same_entries_same_tables() -> None:
    members = [MemoryTables(), MemoryTables()]
    leading, following = leader(members[0], 5.0), Lessor(members[1], min_ttl=2)
    for lessor, now in ((leading, 5.0), (following, 999.0)):
        lessor.grant(1, 1000, now)
        lessor.grant(2, 1, now)
        lessor.checkpoint(pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=1, remaining_TTL=30)]))
        lessor.revoke(2)
    assert members[0].table("leases").data == members[1].table("leases").data


def test_a_run_of_renewals_ends_before_a_lease_with_a_checkpoint() -> None:
    lessor = leader()
    for id in (1, 2, 3):
        lessor.grant(id, 1000, 0.0)
    lessor.checkpoint(pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=2, remaining_TTL=400)]))
    assert lessor.renew_run([1, 2, 3], 500.0) == [1000]
    reset(lessor, 2)
    assert lessor.renew_run([1, 2, 3], 500.0) == [1000, 1000, 1000]
