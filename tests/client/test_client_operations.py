"""Cluster, maintenance, authentication, and members that fail one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from harness.cluster import Cluster
from scripted_server import ScriptedServer

from kvstore.client import (
    AuthenticationFailed,
    ChecksumMismatch,
    Client,
    MaybeApplied,
    NotLeader,
    PermissionDenied,
    StoreError,
)
from kvstore.pb import etcd_pb2 as pb


def test_status_members_hash_defragment(store: Cluster, client: Client) -> None:
    status = client.maintenance.status(store.endpoints[0])
    members = client.cluster.list().members
    assert [member.ID for member in members] == [status.leader]
    assert status.version.startswith("3.5.")
    assert client.maintenance.hash_kv().hash == client.maintenance.hash_kv().hash
    client.maintenance.defragment(timeout=30)
    assert list(client.maintenance.alarms().alarms) == []
    assert list(client.maintenance.disarm().alarms) == []
    with pytest.raises(ValueError, match="not one of"):
        client.maintenance.status("127.0.0.1:1")


def test_a_snapshot_is_checked(client: Client, name: str) -> None:
    client.put(name, "x" * 100_000)
    blobs = [answer.blob for answer in client.maintenance.snapshot()]
    data = b"".join(blobs)
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_a_damaged_snapshot_is_refused(size: int) -> None:
    data = bytes(range(256)) * 20
    good = data + hashlib.sha256(data).digest()
    whole = [pb.SnapshotResponse(blob=good[i : i + 1000]) for i in range(0, len(good), 1000)]
    with ScriptedServer(Snapshot=list(whole)) as server, Client(server.endpoint) as client:
        assert b"".join(answer.blob for answer in client.maintenance.snapshot()) == good
    cut = [pb.SnapshotResponse(blob=good[:size])]
    with (
        ScriptedServer(Snapshot=list(cut)) as server,
        Client(server.endpoint) as client,
        pytest.raises(ChecksumMismatch),
    ):
        list(client.maintenance.snapshot())


def test_leadership_can_be_handed_over(new_store: Callable[..., Cluster]) -> None:
    with new_store(members=3) as cluster, Client(cluster.endpoints, timeout=15) as client:
        leader, other = cluster.leader(), cluster.followers()[0]
        target = client.maintenance.status(cluster.endpoints[other]).header.member_id
        with pytest.raises(NotLeader):
            client.maintenance.move_leader(target, cluster.endpoints[other])
        client.maintenance.move_leader(target, cluster.endpoints[leader])
        assert cluster.leader(other_than=leader) == other
        with pytest.raises(StoreError, match="bad leader transferee"):
            client.maintenance.move_leader(12345, cluster.endpoints[other])


@pytest.mark.soak
def test_every_acknowledged_write_survives_every_member(new_store: Callable[..., Cluster], name: str) -> None:
    with new_store(members=3) as cluster, Client(cluster.endpoints, timeout=15) as client:
        acknowledged, doubtful = set[str](), set[str]()
        for index in range(3):
            cluster.kill(index)
            for number in range(40):
                key = f"{name}{index}-{number}"
                try:
                    client.put(key, key)
                    acknowledged.add(key)
                except MaybeApplied:
                    doubtful.add(key)
                if number % 10 == 0:
                    client.get(key)
            cluster.restart(index)
        found = {kv.key.decode(): kv for kv in client.get_prefix(name).kvs}
        assert acknowledged <= set(found) <= acknowledged | doubtful
        assert all(kv.version == 1 and kv.value.decode() == key for key, kv in found.items())
        # A kill leaves at most what was in flight of unknown fate, and the elections that follow it.
        assert len(acknowledged) > 100


def test_a_paused_member_does_not_stop_reads(new_store: Callable[..., Cluster], name: str) -> None:
    with new_store(members=3) as cluster, Client(cluster.endpoints, timeout=15) as client:
        client.put(name, "v")
        paused = cluster.followers()[0]
        for index in range(3):
            client.maintenance.status(cluster.endpoints[index])
        cluster.pause(paused)
        for _ in range(5):
            found = client.get(name)
            assert found is not None
            assert found.value == b"v"
        cluster.resume(paused)


@pytest.mark.parametrize("kind", ["etcd-3.5", "fluyt"])
def test_users_roles_and_permissions(new_cluster: Callable[..., Cluster], name: str, kind: str) -> None:
    with new_cluster(kind, members=1, start=False) as cluster, Client(cluster.endpoints) as plain:
        plain.auth.user_add("root", "secret")
        plain.auth.role_add("root")
        plain.auth.user_grant_role("root", "root")
        plain.auth.user_add("reader", "pw")
        plain.auth.role_add("readers")
        plain.auth.role_grant_permission("readers", pb.Permission.READ, name, prefix=True)
        plain.auth.user_grant_role("reader", "readers")
        plain.put(name + "k", "v")
        plain.auth.enable()
        with Client(cluster.endpoints, user="root", password="secret", timeout=20) as root:
            assert root.auth.status().enabled
            assert list(root.auth.user_get("reader").roles) == ["readers"]
            with Client(cluster.endpoints, user="reader", password="pw") as reader:
                found = reader.get(name + "k")
                assert found is not None
                with pytest.raises(PermissionDenied):
                    reader.put(name + "k", "w")
                with reader.watch(name, prefix=True) as events:
                    root.put(name + "k", "w")
                    assert events.next(5).kv.value == b"w"
                    # Simple tokens do not survive a restart: client and watch log in again.
                    cluster.kill(0)
                    cluster.launch(0)
                    # A put that meets the connection to the dead may have been written, a get is asked again.
                    root.get(name + "k")
                    root.put(name + "k", "x")
                    assert events.next(20).kv.value == b"x"
            with Client(cluster.endpoints, user="reader", password="-") as wrong, pytest.raises(AuthenticationFailed):
                wrong.get(name)
            with pytest.raises(StoreError, match="user name is empty"):
                plain.get(name)
            root.auth.user_change_password("reader", "pw2")
            root.auth.user_revoke_role("reader", "readers")
            root.auth.role_revoke_permission("readers", name, name[:-1] + "0")
            root.auth.user_delete("reader")
            root.auth.role_delete("readers")
            assert (list(root.auth.user_list().users), list(root.auth.role_list().roles)) == (["root"], ["root"])
            root.auth.disable()
