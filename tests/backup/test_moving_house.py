"""Everything moves from etcd to Fluyt and from Fluyt to etcd by a snapshot: all history, leases, users, compaction."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from harness.answers import ask
from harness.backup import restore, run_tool, save
from harness.binaries import Kind
from harness.cluster import Cluster, ClusterFactory
from harness.random_requests import RequestSource
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

CALLS = 400
# Positive: etcd forgets leases with negative ids when it restarts.
LEASE = (1 << 62) + 7
EVERYTHING = {"key": b"\0", "range_end": b"\0"}
WAYS = [("etcd-3.5", "fluyt"), ("fluyt", "etcd-3.5"), pytest.param("fluyt", "fluyt", marks=pytest.mark.soak)]


def fill(stub: Stub, seed: int) -> None:
    """A history of random calls, compactions among them, with leases, users and a key of every awkward kind."""
    source = RequestSource(random.Random(seed))
    for lease in source.world.leases:
        stub.LeaseGrant(pb.LeaseGrantRequest(ID=lease, TTL=3000 + lease))
    for _ in range(CALLS):
        rpc, request = source.draw()
        answer = ask(stub, rpc, request)
        del answer
        source.world.revision = stub.Range(pb.RangeRequest(key=b"x", count_only=True)).header.revision
    stub.LeaseGrant(pb.LeaseGrantRequest(ID=LEASE, TTL=5000))
    stub.Put(pb.PutRequest(key=b"leased", value=b"v", lease=LEASE))
    stub.Put(pb.PutRequest(key=b"k" * 2000, value=b"long key"))
    stub.Put(pb.PutRequest(key=b"k" * 2000, value=b"long key again"))
    stub.Put(pb.PutRequest(key=b"\0\xff\0", value=b"x" * 300_000))
    stub.Put(pb.PutRequest(key=b"gone", value=b"v"))
    stub.DeleteRange(pb.DeleteRangeRequest(key=b"gone"))
    stub.RoleAdd(pb.AuthRoleAddRequest(name="reader"))
    permission = pb.Permission(permType=pb.Permission.READ, key=b"a", range_end=b"b")
    stub.RoleGrantPermission(pb.AuthRoleGrantPermissionRequest(name="reader", perm=permission))
    stub.UserAdd(pb.AuthUserAddRequest(name="u" * 600, password="secret"))
    stub.UserGrantRole(pb.AuthUserGrantRoleRequest(user="u" * 600, role="reader"))


def picture(stub: Stub) -> dict[str, Any]:
    """All that must survive the move: the hash, every readable revision, every event, leases, users."""
    now = stub.Range(pb.RangeRequest(**EVERYTHING))
    first = compacted(stub, now.header.revision)
    return {
        "revision": now.header.revision,
        "hash": stub.HashKV(pb.HashKVRequest()).hash,
        "compacted": first,
        "history": [
            ask(stub, "Range", pb.RangeRequest(**EVERYTHING, revision=r)) for r in range(first, now.header.revision)
        ],
        "kvs": [kv.SerializeToString() for kv in now.kvs],
        "events": events(stub, first + 1, now.header.revision),
        "leases": leases(stub),
        "users": sorted(stub.UserList(pb.AuthUserListRequest()).users),
        "roles": list(stub.UserGet(pb.AuthUserGetRequest(name="u" * 600)).roles),
        "permissions": [p.SerializeToString() for p in stub.RoleGet(pb.AuthRoleGetRequest(role="reader")).perm],
    }


def compacted(stub: Stub, current: int) -> int:
    """The first revision that may be read."""
    low, high = 1, current
    while low < high:
        middle = (low + high) // 2
        if "code" in ask(stub, "Range", pb.RangeRequest(key=b"a", revision=middle)):
            low = middle + 1
        else:
            high = middle
    return low


def events(stub: Stub, start: int, last: int) -> list[bytes]:
    """Every event from a revision on, through a watch."""
    if start > last:
        return []
    create = pb.WatchCreateRequest(**EVERYTHING, start_revision=start)
    found: list[bytes] = []
    call = stub.Watch(iter([pb.WatchRequest(create_request=create)]), timeout=20)
    for answer in call:
        assert not answer.canceled, answer
        found += [event.SerializeToString() for event in answer.events]
        if answer.events and answer.events[-1].kv.mod_revision >= last:
            break
    call.cancel()
    return found


def leases(stub: Stub) -> dict[int, tuple[int, list[bytes]]]:
    """Granted TTL and keys of every lease."""
    found = {}
    for lease in stub.LeaseLeases(pb.LeaseLeasesRequest()).leases:
        answer = stub.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=lease.ID, keys=True))
        found[lease.ID] = (answer.grantedTTL, sorted(answer.keys))
    return found


@pytest.mark.parametrize(("source", "target"), WAYS)
def test_a_cluster_of_three_is_restored_from_one_file(
    source: Kind, target: Kind, new_cluster: ClusterFactory, tmp_path: Path, seed: int
) -> None:
    old = new_cluster(source, members=1)
    fill(old.stub(), seed)
    before = picture(old.stub())
    save(old.stub(), tmp_path / "backup.db")
    new: Cluster = new_cluster(target, members=3, start=False)
    restore(new, tmp_path / "backup.db")
    new.start()
    for index in range(3):
        assert picture(new.stub(index)) == before, f"member {index}"
    assert new.stub().Put(pb.PutRequest(key=b"after")).header.revision == before["revision"] + 1
    assert new.stub(1).Range(pb.RangeRequest(key=b"after")).count == 1
    new.stub().LeaseRevoke(pb.LeaseRevokeRequest(ID=LEASE))
    assert new.stub(2).Range(pb.RangeRequest(key=b"leased")).count == 0


@pytest.mark.parametrize("kind", [pytest.param("etcd-3.5", marks=pytest.mark.soak), "fluyt"])
def test_both_tools_say_the_same_of_a_file(kind: Kind, new_cluster: ClusterFactory, tmp_path: Path, seed: int) -> None:
    cluster = new_cluster(kind, members=1)
    fill(cluster.stub(), seed)
    path = tmp_path / "backup.db"
    save(cluster.stub(), path)
    for form in ("simple", "json", "fields", "table"):
        theirs = run_tool("etcd-3.5", "status", str(path), "-w", form)
        ours = run_tool("fluyt", "status", str(path), "-w", form)
        assert theirs.code == ours.code == 0, theirs.stderr + ours.stderr
        assert ours.stdout == theirs.stdout


def test_etcd_goes_on_after_it_took_over(new_cluster: ClusterFactory, tmp_path: Path, seed: int) -> None:
    """bbolt can change the file we wrote: etcd compacts, deletes, defragments, and its own snapshot is whole."""
    old = new_cluster("fluyt", members=1)
    fill(old.stub(), seed)
    save(old.stub(), tmp_path / "ours.db")
    new: Cluster = new_cluster("etcd-3.5", members=1, start=False)
    restore(new, tmp_path / "ours.db")
    stub = new.start().stub()
    for number in range(200):
        stub.Put(pb.PutRequest(key=b"new/%d" % number, value=b"v" * 2000))
    revision = stub.DeleteRange(pb.DeleteRangeRequest(key=b"a", range_end=b"z")).header.revision
    stub.Compact(pb.CompactionRequest(revision=revision, physical=True))
    stub.Defragment(pb.DefragmentRequest())
    hash_before = stub.HashKV(pb.HashKVRequest()).hash
    save(stub, tmp_path / "theirs.db")
    assert run_tool("etcd-3.5", "status", str(tmp_path / "theirs.db")).code == 0
    back: Cluster = new_cluster("fluyt", members=1, start=False)
    restore(back, tmp_path / "theirs.db")
    assert back.start().stub().HashKV(pb.HashKVRequest()).hash == hash_before


def test_auth_that_is_on_stays_on(new_cluster: ClusterFactory, tmp_path: Path) -> None:
    old = new_cluster("etcd-3.5", members=1)
    stub = old.stub()
    stub.UserAdd(pb.AuthUserAddRequest(name="root", password="secret"))
    stub.RoleAdd(pb.AuthRoleAddRequest(name="root"))
    stub.UserGrantRole(pb.AuthUserGrantRoleRequest(user="root", role="root"))
    stub.Put(pb.PutRequest(key=b"a", value=b"b"))
    save(stub, tmp_path / "open.db")
    stub.AuthEnable(pb.AuthEnableRequest())
    token = stub.Authenticate(pb.AuthenticateRequest(name="root", password="secret")).token
    path = tmp_path / "closed.db"
    call = stub.Snapshot(pb.SnapshotRequest(), metadata=[("token", token)], timeout=30)
    path.write_bytes(b"".join(part.blob for part in call))
    new: Cluster = new_cluster("fluyt", members=1, start=False)
    restore(new, path)
    new.launch(0)

    def authenticated() -> str | None:
        answer = ask(new.stub(), "Authenticate", pb.AuthenticateRequest(name="root", password="secret"), timeout=5)
        return None if "code" in answer else "yes"

    wait_until(authenticated, "the restored member takes the password")
    refused = ask(new.stub(), "Put", pb.PutRequest(key=b"x"))
    assert "code" in refused


def test_bumped_revisions(new_cluster: ClusterFactory, tmp_path: Path) -> None:
    """Clients that saw revisions which the backup does not know must not see them again with other content."""
    old = new_cluster("fluyt", members=1)
    for value in (b"1", b"2", b"3"):
        old.stub().Put(pb.PutRequest(key=b"k", value=value))
    save(old.stub(), tmp_path / "backup.db")
    new: Cluster = new_cluster("fluyt", members=1, start=False)
    restore(new, tmp_path / "backup.db", "--bump-revision", "1000", "--mark-compacted")
    stub = new.start().stub()
    now = stub.Range(pb.RangeRequest(key=b"k"))
    assert (now.header.revision, now.kvs[0].value, now.kvs[0].mod_revision) == (1004, b"3", 4)
    assert "code" in ask(stub, "Range", pb.RangeRequest(key=b"k", revision=4))
    assert stub.Put(pb.PutRequest(key=b"k", value=b"4")).header.revision == 1005
    create = pb.WatchCreateRequest(key=b"k", start_revision=3)
    answers = stub.Watch(iter([pb.WatchRequest(create_request=create)]), timeout=20)
    canceled = next(answer for answer in answers if answer.canceled)
    assert canceled.compact_revision == 1004
    save(stub, tmp_path / "again.db")
    theirs: Cluster = new_cluster("etcd-3.5", members=1, start=False)
    restore(theirs, tmp_path / "again.db")
    moved = theirs.start().stub().Range(pb.RangeRequest(key=b"k"))
    assert (moved.header.revision, moved.kvs[0].value) == (1005, b"4")


def test_the_file_of_a_stopped_etcd(new_cluster: ClusterFactory, tmp_path: Path, seed: int) -> None:
    """Without a snapshot: the database as etcd left it, with its free pages and without a checksum."""
    old = new_cluster("etcd-3.5", members=1)
    fill(old.stub(), seed)
    before = picture(old.stub())
    old.stop(0)
    new: Cluster = new_cluster("fluyt", members=1, start=False)
    restore(new, old.members[0].data_dir / "member" / "snap" / "db", "--skip-hash-check")
    assert picture(new.start().stub()) == before
