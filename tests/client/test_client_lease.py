"""Leases and sessions: kept alive, lost, never believed alive for too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from harness.cluster import Cluster
from harness.wait import wait_until
from scripted_server import ScriptedServer

from kvstore.client import Client, LeaseExists, LeaseLost, LeaseNotFound, Unreachable, connect
from kvstore.pb import etcd_pb2 as pb


def test_grant_look_revoke(client: Client, name: str) -> None:
    lease = client.leases.grant(60)
    assert lease.TTL == 60
    client.put(name + "a", lease=lease.ID)
    client.put(name + "b", lease=lease.ID)
    found = client.leases.time_to_live(lease.ID, keys=True)
    assert (found.grantedTTL, sorted(found.keys)) == (60, [f"{name}a".encode(), f"{name}b".encode()])
    assert lease.ID in {each.ID for each in client.leases.list().leases}
    client.leases.revoke(lease.ID)
    assert client.get_prefix(name).count == 0
    assert client.leases.time_to_live(lease.ID).TTL == -1
    with pytest.raises(LeaseNotFound):
        client.leases.revoke(lease.ID)


def test_an_id_can_be_chosen_once(client: Client) -> None:
    lease = client.leases.grant(60, lease_id=4711).ID
    assert lease == 4711
    with pytest.raises(LeaseExists):
        client.leases.grant(60, lease_id=4711)
    client.leases.revoke(lease)


def test_renewing_once(client: Client) -> None:
    lease = client.leases.grant(60).ID
    assert client.leases.keep_alive_once(lease).TTL == 60
    client.leases.revoke(lease)
    with pytest.raises(LeaseNotFound):
        client.leases.keep_alive_once(lease)


def test_renewals_end_when_the_lease_is_gone(client: Client) -> None:
    lease = client.leases.grant(2).ID
    renewals = client.leases.keep_alive(lease, ttl=2)
    assert next(renewals).TTL >= 2
    client.leases.revoke(lease)
    with pytest.raises(LeaseLost):
        next(renewals)


def test_renewing_without_a_store_is_told() -> None:
    with Client("127.0.0.1:1", timeout=0.4) as client, pytest.raises(Unreachable):
        client.leases.keep_alive_once(1)


def test_a_session_lives_past_its_ttl_and_ends_with_its_block(client: Client, name: str) -> None:
    with client.session(ttl=2) as session:
        client.put(name, "alive", lease=session.lease_id)
        wait_until(lambda: client.leases.time_to_live(session.lease_id).TTL >= 0, "the lease")
        deadline = time.monotonic() + session.ttl + 1
        while time.monotonic() < deadline:
            assert session.alive
            assert client.get(name) is not None
            time.sleep(0.1)
    assert not session.alive
    assert client.get(name) is None


def test_a_revoked_session_knows_before_its_ttl_is_over(client: Client) -> None:
    with client.session(ttl=3) as session:
        client.leases.revoke(session.lease_id)
        session.wait_lost()
        assert not session.alive


def test_a_session_outlives_a_member(new_store: Callable[..., Cluster], name: str) -> None:
    with (
        new_store(members=3) as cluster,
        Client(cluster.endpoints, timeout=15) as client,
        client.session(ttl=5) as session,
    ):
        client.put(name, lease=session.lease_id)
        cluster.kill(cluster.leader())
        deadline = time.monotonic() + session.ttl + 1
        while time.monotonic() < deadline:
            assert session.alive
            time.sleep(0.1)
        assert client.get(name) is not None


def test_a_session_is_lost_by_the_clock_when_nobody_answers(new_store: Callable[..., Cluster]) -> None:
    with new_store(members=1) as cluster, Client(cluster.endpoints) as client:
        session = client.session(ttl=2)
        session.start()
        cluster.pause(0)
        paused = alive_at = time.monotonic()
        while (now := time.monotonic()) < paused + 60 and session.alive:
            alive_at = now
            time.sleep(0.01)
        # No renewal was answered after the pause; when we looked last does not matter, only what we saw.
        assert alive_at - paused <= session.ttl
        session.wait_lost()
        cluster.resume(0)


def test_a_lease_counts_from_when_its_renewal_was_sent() -> None:
    """A grant that took long to answer leaves less time, not more."""

    heard: list[float] = []

    def slowly(request: bytes, context: object) -> pb.LeaseGrantResponse:
        heard.append(time.monotonic())
        time.sleep(0.6)
        return pb.LeaseGrantResponse(ID=9, TTL=2)

    async def run(endpoint: str) -> float:
        async with connect(endpoint) as client:
            session = await client.session(2).start()
            work = asyncio.create_task(session.unless_lost(asyncio.sleep(60)))
            alive_at = 0.0
            while (now := time.monotonic()) < heard[0] + 60 and session.alive:
                alive_at = now
                await asyncio.sleep(0.01)
            with pytest.raises(LeaseLost):
                await work
            return alive_at

    # It knows no LeaseKeepAlive, which is no reason to believe in the lease for longer.
    with ScriptedServer(LeaseGrant=[slowly]) as server:
        assert asyncio.run(run(server.endpoint)) <= heard[0] + 2
