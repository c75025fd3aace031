"""Signed requests in the apply loop: permissions as of the entry, not as of the request."""

from __future__ import annotations

from typing import Any

import pytest
from harness.memory_tables import MemoryTables
from hypothesis import given
from hypothesis import strategies as st

from kvstore.auth.checks import Checks
from kvstore.auth.simple_token import SimpleTokens
from kvstore.auth.store import AuthStore
from kvstore.auth.types import Identity
from kvstore.errors import EtcdError
from kvstore.member.apply.auth_applier import AuthApplier
from kvstore.member.requests import SIGNED, BatchError, RequestKind, sign, unsign
from kvstore.member.tokens import Tokens
from kvstore.pb import etcd_pb2 as pb


class AuthLeases:
    """Which keys hang on which lease."""

    def __init__(self) -> None:
        self.attached: dict[int, list[bytes]] = {}

    def keys(self, lease: int) -> list[bytes]:
        return self.attached.get(lease, [])


class World:
    """A store with root and ann (who may write k), auth on."""

    def __init__(self) -> None:
        self.leases = AuthLeases()
        self.store = AuthStore(MemoryTables())
        self.tokens = Tokens(SimpleTokens(10), lambda: 0.0)
        self.applier = AuthApplier(self.store, Checks(self.store, self.leases), self.tokens)
        self.do(RequestKind.ROLE_ADD, pb.AuthRoleAddRequest(name="r"))
        permission = pb.Permission(permType=pb.Permission.READWRITE, key=b"k")
        self.do(RequestKind.ROLE_GRANT_PERMISSION, pb.AuthRoleGrantPermissionRequest(name="r", perm=permission))
        for name, role in (("root", "root"), ("ann", "r")):
            self.do(RequestKind.USER_ADD, pb.AuthUserAddRequest(name=name))
            self.do(RequestKind.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user=name, role=role))
        self.do(RequestKind.AUTH_ENABLE, pb.AuthEnableRequest())

    def do(self, kind: RequestKind, request: Any) -> Any:
        parse, work = self.applier.table[kind]
        return work(parse(request.SerializeToString()))

    def who(self, name: str) -> Identity:
        return Identity(name, self.store.revision)

    def refusal(self, kind: RequestKind, identity: Identity | None, request: Any) -> str:
        try:
            self.applier.check(kind, identity, request)
        except EtcdError as problem:
            return problem.message.removeprefix("etcdserver: ")
        return ""


PUT = pb.PutRequest(key=b"k")
OTHER = pb.PutRequest(key=b"other")


def test_who_may() -> None:
    world = World()
    assert world.refusal(RequestKind.PUT, world.who("ann"), PUT) == ""
    assert world.refusal(RequestKind.PUT, world.who("ann"), OTHER) == "permission denied"
    assert world.refusal(RequestKind.PUT, world.who("nobody"), PUT) == "permission denied"
    assert world.refusal(RequestKind.PUT, None, PUT) == "user name is empty"
    assert world.refusal(RequestKind.PUT, Identity("ann", 0), PUT) == "user name is empty"
    assert world.refusal(RequestKind.PUT, world.who("root"), OTHER) == ""


def test_admitted_before_a_change_refused_after() -> None:
    world = World()
    ann, root = world.who("ann"), world.who("root")
    world.do(RequestKind.USER_REVOKE_ROLE, pb.AuthUserRevokeRoleRequest(name="ann", role="r"))
    for identity in (ann, root):
        assert world.refusal(RequestKind.PUT, identity, PUT) == "revision of auth store is old"
    # What only root may do is asked of who root is now, as in etcd.
    assert world.refusal(RequestKind.USER_ADD, root, pb.AuthUserAddRequest()) == ""
    assert world.refusal(RequestKind.USER_ADD, ann, pb.AuthUserAddRequest()) == "permission denied"
    assert world.refusal(RequestKind.USER_ADD, None, pb.AuthUserAddRequest()) == "user name is empty"


def test_admitted_while_on_applied_when_off() -> None:
    world = World()
    ann = world.who("ann")
    world.do(RequestKind.AUTH_DISABLE, pb.AuthDisableRequest())
    assert world.refusal(RequestKind.PUT, ann, OTHER) == ""


def test_what_hangs_on_a_lease() -> None:
    world = World()
    world.leases.attached[5] = [b"k"]
    world.leases.attached[6] = [b"k", b"other"]
    revoke = {lease: pb.LeaseRevokeRequest(ID=lease) for lease in (5, 6, 7)}
    ann = world.who("ann")
    assert [world.refusal(RequestKind.LEASE_REVOKE, ann, revoke[i]) for i in (5, 6, 7)] == ["", "permission denied", ""]
    assert world.refusal(RequestKind.PUT, ann, pb.PutRequest(key=b"k", lease=6)) == "permission denied"
    assert world.refusal(RequestKind.PUT, ann, pb.PutRequest(key=b"k", lease=5)) == ""
    # The leader ends a lease that ran out in nobody's name.
    assert world.refusal(RequestKind.LEASE_EXPIRE, None, revoke[6]) == ""


def test_tokens_are_named_after_their_entry() -> None:
    world = World()
    world.applier.index = 77
    request = pb.InternalAuthenticateRequest(name="ann", simple_token="prefix")
    assert world.do(RequestKind.AUTHENTICATE, request) == "prefix.77"
    assert world.tokens.identify("prefix.77", 3) == Identity("ann", 3)
    world.do(RequestKind.USER_CHANGE_PASSWORD, pb.AuthUserChangePasswordRequest(name="ann"))
    assert world.tokens.identify("prefix.77", 3) is None
    world.do(RequestKind.AUTHENTICATE, request)
    world.do(RequestKind.USER_DELETE, pb.AuthUserDeleteRequest(name="ann"))
    assert world.tokens.identify("prefix.77", 3) is None
    with pytest.raises(EtcdError, match="authentication failed"):
        world.do(RequestKind.AUTHENTICATE, request)


def test_an_entry_of_a_user_without_a_password() -> None:
    world = World()
    options = pb.UserAddOptions(no_password=True)
    world.do(RequestKind.USER_ADD, pb.AuthUserAddRequest(name="host", options=options))
    with pytest.raises(EtcdError, match="authentication failed"):
        world.do(RequestKind.AUTHENTICATE, pb.InternalAuthenticateRequest(name="host"))


@given(st.sampled_from(RequestKind), st.binary(max_size=40), st.text(max_size=20), st.integers(0, 2**64 - 1))
def test_signatures_there_and_back(kind: RequestKind, body: bytes, user: str, revision: int) -> None:
    signed_kind, signed = sign(kind, body, Identity(user, revision))
    assert signed_kind == kind | SIGNED
    assert unsign(signed_kind, signed) == (kind, body, Identity(user, revision))


def test_a_cut_signature() -> None:
    kind, signed = sign(RequestKind.PUT, b"", Identity("ann", 1))
    for length in range(len(signed)):
        with pytest.raises(BatchError, match="cut in its signature"):
            unsign(kind, signed[:length])
