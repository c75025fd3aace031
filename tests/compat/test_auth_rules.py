"""Where we are as strict as etcd 3.5 is since its security fixes, and 3.5.1 was not; and rules of whole methods."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from auth_users import add_users, login, outcome, with_token
from harness.answers import ask
from harness.binaries import subject
from harness.cluster import Cluster
from harness.require import require
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

DENIED = "etcdserver: permission denied"
NOBODY = "etcdserver: user name is empty"


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    """One member of ours with users, auth on."""
    require(subject())
    with Cluster(subject(), 1, ["--bcrypt-cost", "4", "--auth-token-ttl", "3600"]) as cluster:
        add_users(cluster.stub())
        cluster.stub().AuthEnable(pb.AuthEnableRequest())
        yield cluster.stub()


@pytest.fixture(scope="module")
def tokens(stub: Stub) -> dict[str | None, str | None]:
    """By user; None is nobody."""
    return {None: None, **{name: login(stub, name) for name in ("root", "ann", "bob")}}


ROOT_ONLY = [
    ("Compact", pb.CompactionRequest(revision=1)),
    ("Defragment", pb.DefragmentRequest()),
    ("Hash", pb.HashRequest()),
    ("HashKV", pb.HashKVRequest()),
    ("MoveLeader", pb.MoveLeaderRequest(targetID=1)),
    ("Alarm", pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, alarm=pb.NOSPACE)),
    ("MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True)),
    ("MemberRemove", pb.MemberRemoveRequest(ID=1)),
    ("MemberUpdate", pb.MemberUpdateRequest(ID=1, peerURLs=["http://127.0.0.1:1"])),
    ("MemberPromote", pb.MemberPromoteRequest(ID=1)),
    ("AuthStatus", pb.AuthStatusRequest()),
    ("AuthEnable", pb.AuthEnableRequest()),
    ("AuthDisable", pb.AuthDisableRequest()),
    ("UserList", pb.AuthUserListRequest()),
    ("RoleList", pb.AuthRoleListRequest()),
    ("UserAdd", pb.AuthUserAddRequest(name="x", password="y")),
    ("UserDelete", pb.AuthUserDeleteRequest(name="ann")),
    ("UserChangePassword", pb.AuthUserChangePasswordRequest(name="ann", password="y")),
    ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="root")),
    ("UserRevokeRole", pb.AuthUserRevokeRoleRequest(name="ann", role="ann")),
    ("RoleAdd", pb.AuthRoleAddRequest(name="x")),
    ("RoleDelete", pb.AuthRoleDeleteRequest(role="ann")),
    ("RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(role="ann", key=b"a/", range_end=b"a0")),
    ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="ann", perm=pb.Permission(key=b"x"))),
]


@pytest.mark.parametrize(("rpc", "request_"), ROOT_ONLY, ids=[rpc for rpc, _ in ROOT_ONLY])
def test_root_only(stub: Stub, tokens: dict[str | None, str | None], rpc: str, request_: Any) -> None:
    assert outcome(stub, tokens[None], rpc, request_) == NOBODY
    assert outcome(stub, tokens["ann"], rpc, request_) == DENIED


def test_snapshot_is_roots(stub: Stub, tokens: dict[str | None, str | None]) -> None:
    for who, expected in ((None, NOBODY), ("ann", DENIED)):
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.Snapshot(pb.SnapshotRequest(), metadata=with_token(tokens[who]), timeout=10))
        assert refused.value.details() == expected
    assert list(stub.Snapshot(pb.SnapshotRequest(), metadata=with_token(tokens["root"]), timeout=20))


SOMEBODY = [
    ("Status", pb.StatusRequest()),
    ("MemberList", pb.MemberListRequest()),
    ("Alarm", pb.AlarmRequest()),
    ("LeaseGrant", pb.LeaseGrantRequest(TTL=60)),
    ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=9999)),
]


@pytest.mark.parametrize(("rpc", "request_"), SOMEBODY, ids=[rpc for rpc, _ in SOMEBODY])
def test_somebody_it_must_be(stub: Stub, tokens: dict[str | None, str | None], rpc: str, request_: Any) -> None:
    assert outcome(stub, tokens[None], rpc, request_) == NOBODY
    assert outcome(stub, tokens["ann"], rpc, request_) == "ok"
    assert outcome(stub, "forged.17", rpc, request_) == "etcdserver: invalid auth token"


def _nested(*operations: pb.RequestOp) -> pb.TxnRequest:
    inner = pb.TxnRequest(failure=operations)
    return pb.TxnRequest(success=[pb.RequestOp(request_txn=inner)])


PUT = pb.PutRequest(key=b"a/x", value=b"v")
TRANSACTIONS = {
    "a put inside a nested one": _nested(pb.RequestOp(request_put=PUT)),
    "a read inside a nested one": _nested(pb.RequestOp(request_range=pb.RangeRequest(key=b"c"))),
    "a compare inside a nested one": pb.TxnRequest(
        success=[pb.RequestOp(request_txn=pb.TxnRequest(compare=[pb.Compare(key=b"c")]))]
    ),
    "a lease whose keys are another's": pb.TxnRequest(
        success=[pb.RequestOp(request_put=pb.PutRequest(key=b"b/x", lease=0x31))]
    ),
    "a branch that is not taken": pb.TxnRequest(
        compare=[pb.Compare(key=b"b/none", target=pb.Compare.VERSION, result=pb.Compare.GREATER)],
        success=[pb.RequestOp(request_put=PUT)],
    ),
}


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_transactions(stub: Stub, tokens: dict[str | None, str | None], name: str) -> None:
    """bob may write b/ and read a/."""
    outcome(stub, tokens["root"], "LeaseGrant", pb.LeaseGrantRequest(ID=0x31, TTL=600))
    assert outcome(stub, tokens["root"], "Put", pb.PutRequest(key=b"a/leased", lease=0x31)) == "ok"
    assert outcome(stub, tokens["bob"], "Txn", TRANSACTIONS[name]) == DENIED
    assert outcome(stub, tokens["root"], "Txn", TRANSACTIONS[name]) == "ok"


def test_previous_values_in_transactions(stub: Stub, tokens: dict[str | None, str | None]) -> None:
    """Who may write a key and not read it does not get to see what it was."""
    root = tokens["root"]
    outcome(stub, root, "UserAdd", pb.AuthUserAddRequest(name="writer", password="w"))
    outcome(stub, root, "RoleAdd", pb.AuthRoleAddRequest(name="writer"))
    permission = pb.Permission(permType=pb.Permission.WRITE, key=b"w")
    outcome(stub, root, "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="writer", perm=permission))
    outcome(stub, root, "UserGrantRole", pb.AuthUserGrantRoleRequest(user="writer", role="writer"))
    writer = login(stub, "writer", "w")

    def put(prev_kv: bool) -> pb.TxnRequest:
        return pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"w", prev_kv=prev_kv))])

    assert outcome(stub, writer, "Txn", put(False)) == "ok"
    assert outcome(stub, writer, "Txn", put(True)) == DENIED
    assert outcome(stub, writer, "Put", pb.PutRequest(key=b"w", prev_kv=True)) == DENIED
    assert outcome(stub, writer, "DeleteRange", pb.DeleteRangeRequest(key=b"w", prev_kv=True)) == DENIED
    assert outcome(stub, writer, "DeleteRange", pb.DeleteRangeRequest(key=b"w")) == "ok"


def test_names_of_a_leases_keys(stub: Stub, tokens: dict[str | None, str | None]) -> None:
    """Who may not read its keys does not learn their names, nor renew the lease."""
    outcome(stub, tokens["root"], "LeaseGrant", pb.LeaseGrantRequest(ID=0x41, TTL=600))
    assert outcome(stub, tokens["bob"], "Put", pb.PutRequest(key=b"b/leased", lease=0x41)) == "ok"
    question = pb.LeaseTimeToLiveRequest(ID=0x41, keys=True)
    assert outcome(stub, tokens["ann"], "LeaseTimeToLive", question) == DENIED
    assert outcome(stub, tokens["bob"], "LeaseTimeToLive", question) == "ok"
    assert outcome(stub, tokens["ann"], "LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=0x41)) == "ok"
    assert outcome(stub, tokens["ann"], "LeaseLeases", pb.LeaseLeasesRequest()) == DENIED
    assert outcome(stub, tokens[None], "LeaseLeases", pb.LeaseLeasesRequest()) == NOBODY
    assert outcome(stub, tokens["root"], "LeaseLeases", pb.LeaseLeasesRequest()) == "ok"
    for who, expected in ((None, NOBODY), ("ann", DENIED), ("bob", "ok")):
        assert _renew(stub, tokens[who], 0x41) == expected


def _renew(stub: Stub, token: str | None, lease: int) -> str:
    requests = iter([pb.LeaseKeepAliveRequest(ID=lease)])
    try:
        next(stub.LeaseKeepAlive(requests, metadata=with_token(token), timeout=10))
    except grpc.RpcError as refused:
        return str(refused.details())
    return "ok"


def test_an_expired_lease_takes_everybodys_keys(stub: Stub, tokens: dict[str | None, str | None]) -> None:
    """The leader ends leases, whoever's keys hang on them."""
    outcome(stub, tokens["root"], "LeaseGrant", pb.LeaseGrantRequest(ID=0x51, TTL=2))
    assert outcome(stub, tokens["ann"], "Put", pb.PutRequest(key=b"a/soon gone", lease=0x51)) == "ok"

    def gone() -> bool:
        request = pb.RangeRequest(key=b"a/soon gone", count_only=True)
        return "count" not in ask(stub, "Range", request, metadata=with_token(tokens["ann"]))

    wait_until(gone, "the key to go with its lease")


@pytest.mark.parametrize(("key", "end"), [(b"", b""), (b"", b"x"), (b"b", b"a"), (b"b", b"b")])
def test_permissions_on_what_is_no_range(
    stub: Stub, tokens: dict[str | None, str | None], key: bytes, end: bytes
) -> None:
    permission = pb.Permission(permType=pb.Permission.READ, key=key, range_end=end)
    request = pb.AuthRoleGrantPermissionRequest(name="ann", perm=permission)
    assert outcome(stub, tokens["root"], "RoleGrantPermission", request) == "etcdserver: invalid auth management"


def test_watch_of_everything_from_a_key_on(stub: Stub, tokens: dict[str | None, str | None]) -> None:
    """A watch without an end needs a permission without an end; who is nobody is told so."""
    reasons = {}
    for who in (None, "ann", "root"):
        create = pb.WatchCreateRequest(key=b"a/", range_end=b"\0")
        call = stub.Watch(iter([pb.WatchRequest(create_request=create)]), metadata=with_token(tokens[who]), timeout=10)
        first = next(call)
        call.cancel()
        reasons[who] = (first.created, first.canceled, first.watch_id, first.cancel_reason)
    assert reasons["root"] == (True, False, 0, "")
    assert reasons["ann"] == (True, True, -1, f"rpc error: code = PermissionDenied desc = {DENIED}")
    assert reasons[None] == (True, True, -1, f"rpc error: code = InvalidArgument desc = {NOBODY}")


def test_metadata_of_the_gateway(stub: Stub, tokens: dict[str | None, str | None]) -> None:
    """The token may come as `authorization`, with or without the word Bearer."""
    for value in (tokens["ann"], f"Bearer {tokens['ann']}"):
        stub.Range(pb.RangeRequest(key=b"a/"), metadata=[("authorization", value)], timeout=10)


def test_locks_have_the_callers_permissions(stub: Stub, tokens: dict[str | None, str | None]) -> None:
    """Lock and Campaign put keys in the caller's name, and wait longer than a token lives unused."""
    assert outcome(stub, tokens["ann"], "LeaseGrant", pb.LeaseGrantRequest(ID=0x61, TTL=600)) == "ok"
    for rpc, request in (
        ("Lock", pb.LockRequest(name=b"b/lock", lease=0x61)),
        ("Unlock", pb.UnlockRequest(key=b"b/lock/61")),
        ("Campaign", pb.CampaignRequest(name=b"b/vote", lease=0x61)),
        ("Leader", pb.LeaderRequest(name=b"b/vote")),
    ):
        assert outcome(stub, tokens["ann"], rpc, request) == DENIED
        assert outcome(stub, tokens[None], rpc, request) == NOBODY
    assert outcome(stub, tokens["ann"], "Lock", pb.LockRequest(name=b"a/lock", lease=0x61)) == "ok"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(outcome, stub, tokens["root"], "Lock", pb.LockRequest(name=b"a/lock"))
        queue = pb.RangeRequest(key=b"a/lock/", range_end=b"a/lock0", count_only=True)
        ann = with_token(tokens["ann"])
        wait_until(lambda: stub.Range(queue, metadata=ann, timeout=5).count == 2, "root to wait for the lock")
        assert outcome(stub, tokens["ann"], "Unlock", pb.UnlockRequest(key=b"a/lock/61")) == "ok"
        assert waiting.result(20) == "ok"
