"""The same random calls of several users to a real etcd 3.5.1 and to the server under test: same codes and messages.

A failure prints its seed; FLUYT_SEED=<seed> runs it again. FLUYT_DIFF_CALLS sets how many calls a run makes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from auth_world import LEASES, World
from google.protobuf.message import Message
from harness.answers import ask
from harness.binaries import subject
from harness.cluster import Cluster
from harness.require import require

from kvstore.pb import etcd_pb2 as pb

CALLS = int(os.environ.get("FLUYT_DIFF_CALLS", "700"))
FLAGS = ["--bcrypt-cost", "4"]
SIMPLE_TOKEN = re.compile(r"[a-zA-Z]{16}\.[0-9]+")


@pytest.fixture
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """The oracle and the subject, empty."""
    require("etcd-3.5")
    with Cluster("etcd-3.5", 1, FLAGS) as oracle, Cluster(subject(), 1, FLAGS) as ours:
        yield oracle, ours


class Side:
    """One of the two servers, with the tokens that its users got there."""

    def __init__(self, cluster: Cluster) -> None:
        self.stub = cluster.stub()
        self.tokens: dict[str, str] = {}

    def call(self, actor: str | None, rpc: str, request: Message) -> Any:
        """The normalised answer; a token in it is kept, and only its form is compared."""
        token = self.tokens.get(actor) if actor else None
        answer = ask(self.stub, rpc, request, metadata=[("token", token)] if token else None)
        if "token" in answer:
            assert isinstance(request, pb.AuthenticateRequest)
            self.tokens[request.name] = answer["token"]
            assert SIMPLE_TOKEN.fullmatch(answer["token"])
            answer["token"] = "a token"
        return answer


def test_random_calls(pair: tuple[Cluster, Cluster], seed: int) -> None:
    """Everybody does everything; what root changes decides who may do what."""
    sides = [Side(cluster) for cluster in pair]
    world = World(seed)
    history: list[str] = []
    outcomes: set[str] = set()

    def both(actor: str | None, rpc: str, request: Message) -> Any:
        history.append(f"{actor}: {rpc} {' '.join(str(request).split())}")
        expected, got = (side.call(actor, rpc, request) for side in sides)
        assert got == expected, "\n".join([f"seed {seed}, the last calls:", *history[-12:]])
        outcomes.add(expected.get("details", "ok"))
        if "details" not in expected:
            world.enabled = {"AuthEnable": True, "AuthDisable": False}.get(rpc, world.enabled)
            if rpc == "AuthDisable":
                for side in sides:
                    side.tokens.clear()
        elif "invalid auth token" in expected["details"]:
            for side in sides:
                side.tokens.pop(actor or "", None)
        return expected

    for lease in LEASES:
        both(None, "LeaseGrant", pb.LeaseGrantRequest(ID=lease, TTL=3600))
    for number in range(CALLS):
        if number % 100 == 0:
            rise(both)
        actor = world.actor()
        if actor is not None and actor not in sides[0].tokens:
            for password in ("one", "two", "drei ß", ""):
                if "details" not in both(None, "Authenticate", pb.AuthenticateRequest(name=actor, password=password)):
                    break
        both(actor, *world.draw())
    assert {"etcdserver: permission denied", "etcdserver: user name is empty", "ok"} <= outcomes


def rise(both: Any) -> None:
    """Make a root with a known password and turn auth on, if that is not so; refusals are answers like any."""
    both("root", "RoleAdd", pb.AuthRoleAddRequest(name="root"))
    both("root", "UserAdd", pb.AuthUserAddRequest(name="root", password="one"))
    both("root", "UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root"))
    for name in ("ann", "bob"):
        both("root", "UserAdd", pb.AuthUserAddRequest(name=name, password="one"))
        both("root", "RoleAdd", pb.AuthRoleAddRequest(name="r1"))
        both("root", "UserGrantRole", pb.AuthUserGrantRoleRequest(user=name, role="r1"))
    both("root", "AuthEnable", pb.AuthEnableRequest())


WRONG = {
    "Put": pb.PutRequest(value=b"v"),
    "DeleteRange": pb.DeleteRangeRequest(),
    "Range": pb.RangeRequest(),
    "Txn": pb.TxnRequest(
        success=[pb.RequestOp(request_put=pb.PutRequest(key=b"k", value=b"v")) for _ in range(2)],
    ),
    "RoleAdd": pb.AuthRoleAddRequest(),
    "UserAdd": pb.AuthUserAddRequest(password="x"),
}


def test_a_wrong_request_by_nobody_who_is_known(pair: tuple[Cluster, Cluster]) -> None:
    """Which of the two is said. The requests are also made by nobody at all, and by somebody who may not."""
    stories = []
    for cluster in pair:
        side = Side(cluster)
        _two_users(lambda actor, rpc, request, side=side: side.call(actor, rpc, request))  # type: ignore[misc]
        side.tokens["eve"] = "a" * 16 + ".2"  # assigned by an entry that both know
        actors = ("eve", None, "ann")
        stories.append([(rpc, who, side.call(who, rpc, request)) for rpc, request in WRONG.items() for who in actors])
    assert stories[1] == stories[0]


def test_permissions_of_one_key(pair: tuple[Cluster, Cluster]) -> None:
    """A grant changes the first permission of its key if that has the same end, and is added otherwise."""
    stories = []
    for cluster in pair:
        side = Side(cluster)
        story = [side.call(None, "RoleAdd", pb.AuthRoleAddRequest(name="r"))]
        for kind, end in [(0, b""), (1, b"z"), (2, b""), (2, b"z"), (0, b"z"), (0, b"\0"), (1, b"")]:
            permission = pb.Permission(permType=pb.Permission.Type.Name(kind), key=b"k", range_end=end)
            request = pb.AuthRoleGrantPermissionRequest(name="r", perm=permission)
            story.append(side.call(None, "RoleGrantPermission", request))
            story.append(side.call(None, "RoleGet", pb.AuthRoleGetRequest(role="r")))
        revoked = pb.AuthRoleRevokePermissionRequest(role="r", key=b"k", range_end=b"z")
        story.append(side.call(None, "RoleRevokePermission", revoked))
        story.append(side.call(None, "RoleRevokePermission", revoked))
        story.append(side.call(None, "RoleGet", pb.AuthRoleGetRequest(role="r")))
        stories.append(story)
    assert stories[1] == stories[0]


def test_leases(pair: tuple[Cluster, Cluster]) -> None:
    """Whose keys hang on a lease decides who may end it, and who may hang more on it."""
    stories = []
    for cluster in pair:
        side = Side(cluster)
        story: list[Any] = []

        def say(actor: str | None, rpc: str, request: Message, side: Side = side, story: list[Any] = story) -> None:
            story.append((actor, rpc, side.call(actor, rpc, request)))

        _two_users(say)
        say("ann", "LeaseGrant", pb.LeaseGrantRequest(ID=7, TTL=100))
        say("ann", "Put", pb.PutRequest(key=b"a1", lease=7))
        say("bob", "Put", pb.PutRequest(key=b"b1", lease=7))
        say("bob", "LeaseRevoke", pb.LeaseRevokeRequest(ID=7))
        say("root", "Put", pb.PutRequest(key=b"b1", lease=7))
        say("ann", "LeaseRevoke", pb.LeaseRevokeRequest(ID=7))
        say("ann", "LeaseRevoke", pb.LeaseRevokeRequest(ID=99))
        say("ann", "DeleteRange", pb.DeleteRangeRequest(key=b"a", range_end=b"b"))
        say("bob", "DeleteRange", pb.DeleteRangeRequest(key=b"b", range_end=b"c"))
        say("bob", "LeaseRevoke", pb.LeaseRevokeRequest(ID=7))
        say("ann", "LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=7))
        stories.append(story)
    assert stories[1] == stories[0]


def _two_users(say: Any) -> None:
    """root, ann with the keys a…, bob with the keys b…; auth on, tokens for all."""
    for name in ("root", "ann", "bob"):
        say(None, "UserAdd", pb.AuthUserAddRequest(name=name, password="pw"))
        say(None, "RoleAdd", pb.AuthRoleAddRequest(name=name))
        say(None, "UserGrantRole", pb.AuthUserGrantRoleRequest(user=name, role=name))
        permission = pb.Permission(
            permType=pb.Permission.READWRITE, key=name[:1].encode(), range_end=chr(ord(name[0]) + 1).encode()
        )
        say(None, "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name=name, perm=permission))
    say(None, "AuthEnable", pb.AuthEnableRequest())
    for name in ("root", "ann", "bob"):
        say(None, "Authenticate", pb.AuthenticateRequest(name=name, password="pw"))


def test_tokens_end_with_what_they_stand_for(pair: tuple[Cluster, Cluster]) -> None:
    """A new password, a deletion, auth turned off: the tokens of before are worth nothing."""
    stories = []
    for cluster in pair:
        side = Side(cluster)
        story: list[Any] = []

        def say(actor: str | None, rpc: str, request: Message, side: Side = side, story: list[Any] = story) -> None:
            story.append((actor, rpc, side.call(actor, rpc, request)))

        _two_users(say)
        say("ann", "Put", pb.PutRequest(key=b"a"))
        say("root", "UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="bob"))
        say("ann", "Put", pb.PutRequest(key=b"b"))
        say("root", "UserChangePassword", pb.AuthUserChangePasswordRequest(name="ann", password="new"))
        say("ann", "Put", pb.PutRequest(key=b"a"))
        say(None, "Authenticate", pb.AuthenticateRequest(name="ann", password="pw"))
        say(None, "Authenticate", pb.AuthenticateRequest(name="ann", password="new"))
        say("ann", "Put", pb.PutRequest(key=b"a"))
        say("root", "UserDelete", pb.AuthUserDeleteRequest(name="bob"))
        say("bob", "Range", pb.RangeRequest(key=b"b"))
        say("root", "AuthDisable", pb.AuthDisableRequest())
        say(None, "Put", pb.PutRequest(key=b"x"))
        say(None, "Authenticate", pb.AuthenticateRequest(name="ann", password="new"))
        say(None, "AuthEnable", pb.AuthEnableRequest())
        say("ann", "Put", pb.PutRequest(key=b"a"))
        for nonsense in ("", "x", "abc.1", "abcdefghijklmnop.1", "a.b.c", "abcdefghijklmnop.-1"):
            side.tokens["ann"] = nonsense
            say("ann" if nonsense else None, "Put", pb.PutRequest(key=b"a"))
        stories.append(story)
    assert stories[1] == stories[0]


def test_watches(pair: tuple[Cluster, Cluster]) -> None:
    """A watch that is not permitted is created and canceled at once; the others go on."""
    stories = []
    for cluster in pair:
        side = Side(cluster)
        _two_users(lambda actor, rpc, request, side=side: side.call(actor, rpc, request))
        story = [
            _watch(side, "ann", key=b"a"),
            _watch(side, "ann", key=b"a", range_end=b"b"),
            _watch(side, "ann", key=b"a", range_end=b"c"),
            _watch(side, "ann", key=b"b"),
            _watch(side, "root", key=b"", range_end=b"\0"),
        ]
        stories.append(story)
    assert stories[1] == stories[0]


def _watch(side: Side, actor: str, **fields: Any) -> Any:
    """(created, canceled, cancel_reason) of a watch."""
    request = pb.WatchRequest(create_request=pb.WatchCreateRequest(**fields))
    call = side.stub.Watch(iter([request]), metadata=[("token", side.tokens[actor])], timeout=10)
    try:
        first = next(call)
    except grpc.RpcError as failure:
        return failure.code().name, failure.details()
    finally:
        call.cancel()
    return first.created, first.canceled, first.cancel_reason
