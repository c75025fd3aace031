"""Auth on three members: any of them knows a token at once, a restart keeps everything but tokens, nothing leaks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from auth_users import PASSWORD, add_users, login, outcome, with_token
from harness.binaries import subject
from harness.cluster import Cluster
from harness.require import require
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

DENIED = "etcdserver: permission denied"
BAD_TOKEN = "etcdserver: invalid auth token"
FLAGS = ["--bcrypt-cost", "4"]


@pytest.fixture(scope="module")
def cluster_of_three() -> Iterator[Cluster]:
    """Three members with users, auth on, for all tests that can share them."""
    require(subject())
    with Cluster(subject(), 3, FLAGS) as cluster:
        add_users(cluster.stub())
        cluster.stub().AuthEnable(pb.AuthEnableRequest())
        # A member that has not heard of it asks nobody for a token, and others then miss who it was (as etcd's do).
        for index in range(3):
            wait_until(partial(nobody_reads, cluster.stub(index)), "auth to be on everywhere")
        yield cluster


def nobody_reads(stub: Stub) -> bool:
    """Whether a request without a token is refused."""
    return outcome(stub, None, "Range", pb.RangeRequest(key=b"a/1")) == "etcdserver: user name is empty"


@pytest.fixture
def three(cluster_of_three: Cluster) -> Cluster:
    """The three, all of them at work."""
    stopped = [index for index in range(3) if not cluster_of_three.members[index].running]
    for index in stopped:
        cluster_of_three.launch(index)
    if stopped:
        _wait_for_login(cluster_of_three)
    return cluster_of_three


def put(key: bytes) -> Any:
    """A put, as outcome() takes it."""
    return "Put", pb.PutRequest(key=key, value=b"v")


def test_every_member_knows_a_token_at_once(three: Cluster) -> None:
    for index in range(15):
        token = login(three.stub(index % 3), "ann")
        for other in range(3):
            assert outcome(three.stub(other), token, *put(b"a/1")) == "ok"
            request = pb.RangeRequest(key=b"a/1", serializable=True)
            assert outcome(three.stub(other), token, "Range", request) == "ok"
            assert outcome(three.stub(other), token, *put(b"b/1")) == DENIED


def test_a_stream_with_a_new_token_waits_for_it(three: Cluster) -> None:
    """The watch's member may not have applied the entry that made its token; the watch is created all the same."""
    for index in range(10):
        token = login(three.stub(index % 3), "ann")
        request = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a/", range_end=b"a0"))
        call = three.stub((index + 1) % 3).Watch(iter([request]), metadata=with_token(token), timeout=10)
        first = next(call)
        call.cancel()
        assert first.created, first.cancel_reason
        assert not first.canceled, first.cancel_reason


def test_changes_hold_on_every_member(three: Cluster) -> None:
    """What root changes through one member holds for requests through another, as soon as it is acknowledged."""
    root = login(three.stub(), "root")
    ann = login(three.stub(), "ann")
    revoke = pb.AuthUserRevokeRoleRequest(name="ann", role="ann")
    grant = pb.AuthUserGrantRoleRequest(user="ann", role="ann")
    for number in range(10):
        here, there = three.stub(number % 3), three.stub((number + 1) % 3)
        assert outcome(here, root, "UserRevokeRole", revoke) == "ok"
        # A member that had not applied the change admits the request, and refuses it when it applies it.
        refused = {DENIED, "etcdserver: revision of auth store is old"}
        assert outcome(there, ann, *put(b"a/1")) in refused
        assert outcome(there, ann, "Range", pb.RangeRequest(key=b"a/1")) == DENIED
        assert outcome(here, root, "UserGrantRole", grant) == "ok"
        wait_until(lambda stub=there: outcome(stub, ann, *put(b"a/1")) == "ok", "the role to be back")


def test_a_crash_of_all_keeps_users_and_forgets_tokens(three: Cluster) -> None:
    old = login(three.stub(), "ann")
    root = login(three.stub(), "root")
    three.stub().UserAdd(pb.AuthUserAddRequest(name="kim", password="old"), metadata=with_token(root))
    three.stub().UserGrantRole(pb.AuthUserGrantRoleRequest(user="kim", role="bob"), metadata=with_token(root))
    three.stub().UserChangePassword(
        pb.AuthUserChangePasswordRequest(name="kim", password="new"), metadata=with_token(root)
    )
    before = three.stub().AuthStatus(pb.AuthStatusRequest(), metadata=with_token(root))
    three.kill_all()
    for index in range(3):
        three.launch(index)
    _wait_for_login(three)
    assert outcome(three.stub(), None, *put(b"a/1")) == "etcdserver: user name is empty"
    # Those whose entries are read again from the log live; most do not. Never is a wrong one taken.
    assert outcome(three.stub(), old, *put(b"a/1")) in {"ok", BAD_TOKEN}
    for index in range(3):
        stub = three.stub(index)
        assert outcome(stub, login(stub, "kim", "new"), *put(b"b/1")) == "ok"
        with pytest.raises(grpc.RpcError):
            login(stub, "kim", "old")
        root = login(stub, "root")
        after = stub.AuthStatus(pb.AuthStatusRequest(), metadata=with_token(root))
        assert (after.enabled, after.authRevision) == (True, before.authRevision)


def _wait_for_login(cluster: Cluster) -> None:
    for index in range(len(cluster.members)):

        def logged_in(index: int = index) -> str | None:
            try:
                return login(cluster.stub(index), "root")
            except grpc.RpcError:
                return None

        wait_until(logged_in, f"member {index + 1} to let root in", timeout=40)


def test_users_come_with_a_snapshot() -> None:
    """A member that was away for longer than the log reaches gets the users with the rest of the state."""
    require(subject())
    with Cluster(subject(), 3, [*FLAGS, "--snapshot-count", "50"]) as cluster:
        away = cluster.followers()[0]
        here = next(i for i in range(3) if i != away)
        cluster.kill(away)
        add_users(cluster.stub(here))
        cluster.stub(here).AuthEnable(pb.AuthEnableRequest())
        token = login(cluster.stub(here), "ann")
        # More entries than --snapshot-count, which one call at a time surely makes.
        for number in range(150):
            cluster.stub(here).Put(pb.PutRequest(key=b"a/%d" % number, value=b"v"), metadata=with_token(token))
        cluster.launch(away)
        _wait_for_login(cluster)
        stub = cluster.stub(away)
        assert outcome(stub, None, *put(b"a/1")) == "etcdserver: user name is empty"
        assert outcome(stub, login(stub, "bob"), *put(b"a/1")) == DENIED
        assert outcome(stub, login(stub, "bob"), *put(b"b/1")) == "ok"


def test_no_password_reaches_disk_or_log(three: Cluster) -> None:
    secret = "a-password-that-is-nowhere-else"
    stub = three.stub()
    root = with_token(login(stub, "root"))
    stub.UserAdd(pb.AuthUserAddRequest(name="eve", password=secret), metadata=root)
    stub.UserChangePassword(pb.AuthUserChangePasswordRequest(name="eve", password=f"{secret}2"), metadata=root)
    login(stub, "eve", f"{secret}2")
    with pytest.raises(grpc.RpcError):
        login(stub, "ann", secret)
    for index in range(3):
        three.stop(index)
    files = [path for path in Path(three.directory).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_wrong_passwords_stall_nothing() -> None:
    """While a flood of wrong passwords is worked off, other requests are served."""
    require(subject())
    with Cluster(subject(), 1, ["--bcrypt-cost", "10"]) as cluster:
        stub = cluster.stub()
        add_users(stub)
        stub.AuthEnable(pb.AuthEnableRequest())
        token = login(stub, "ann")
        flood = [
            stub.Authenticate.future(pb.AuthenticateRequest(name="ann", password=f"wrong {n}"), timeout=60)
            for n in range(12)
        ]
        for _ in range(5):
            assert outcome(stub, token, *put(b"a/1")) == "ok"
            assert login(stub, "ann")
        assert any(not call.done() for call in flood), "bcrypt was too quick for this test"
        assert {call.exception().code() for call in flood} == {grpc.StatusCode.INVALID_ARGUMENT}


def test_a_password_is_hashed_once() -> None:
    """Thousands of logins with right passwords do not cost bcrypt each."""
    require(subject())
    with Cluster(subject(), 1, ["--bcrypt-cost", "11"]) as cluster:
        stub = cluster.stub()
        add_users(stub)
        stub.AuthEnable(pb.AuthEnableRequest())
        began = time.monotonic()
        login(stub, "ann")
        once = time.monotonic() - began
        began = time.monotonic()
        request = pb.AuthenticateRequest(name="ann", password=PASSWORD)
        calls = [stub.Authenticate.future(request, timeout=60) for _ in range(200)]
        assert len({call.result().token for call in calls}) == 200
        assert time.monotonic() - began < 200 * once / 5


def test_tokens_expire(new_cluster: Any) -> None:
    """A token lives for its TTL after its last use, here as with etcd."""
    require("etcd-3.5")
    kinds = ("etcd-3.5", subject())
    stubs = [new_cluster(kind, 1, flags=[*FLAGS, "--auth-token-ttl", "3"]).stub() for kind in kinds]
    for stub in stubs:
        add_users(stub)
        stub.AuthEnable(pb.AuthEnableRequest())
    used = [login(stub, "ann") for stub in stubs]
    unused = [login(stub, "ann") for stub in stubs]

    def look(tokens: list[str]) -> list[str]:
        return [outcome(stub, token, *put(b"a/1")) for stub, token in zip(stubs, tokens, strict=True)]

    # There is nothing to wait for but time: every look at a token lets it live on.
    for _ in range(10):
        time.sleep(0.5)
        assert look(used) == ["ok", "ok"]
    assert look(unused) == [BAD_TOKEN, BAD_TOKEN]
    time.sleep(4.5)
    assert look(used) == [BAD_TOKEN, BAD_TOKEN]
