"""A store with users: root, ann (everything under a/), bob (everything under b/, reads a/); and calls in their name."""

from __future__ import annotations

from typing import Any

from harness.answers import ask
from harness.stubs import Stub

from kvstore.pb import etcd_pb2 as pb

PASSWORD = "correct horse"
FULL, READ = pb.Permission.READWRITE, pb.Permission.READ
_GRANTS = {"ann": [(b"a/", b"a0", FULL)], "bob": [(b"b/", b"b0", FULL), (b"a/", b"a0", READ)]}


def add_users(stub: Stub) -> None:
    """Make them; auth stays off."""
    stub.RoleAdd(pb.AuthRoleAddRequest(name="root"))
    stub.UserAdd(pb.AuthUserAddRequest(name="root", password=PASSWORD))
    stub.UserGrantRole(pb.AuthUserGrantRoleRequest(user="root", role="root"))
    for name, grants in _GRANTS.items():
        stub.UserAdd(pb.AuthUserAddRequest(name=name, password=PASSWORD))
        stub.RoleAdd(pb.AuthRoleAddRequest(name=name))
        for key, end, kind in grants:
            permission = pb.Permission(permType=kind, key=key, range_end=end)
            stub.RoleGrantPermission(pb.AuthRoleGrantPermissionRequest(name=name, perm=permission))
        stub.UserGrantRole(pb.AuthUserGrantRoleRequest(user=name, role=name))


def login(stub: Stub, name: str, password: str = PASSWORD) -> str:
    """A token. Raises grpc.RpcError."""
    answer: pb.AuthenticateResponse = stub.Authenticate(
        pb.AuthenticateRequest(name=name, password=password), timeout=20
    )
    return answer.token


def with_token(token: str | None) -> Any:
    """The metadata of a call."""
    return [("token", token)] if token else None


def outcome(stub: Stub, token: str | None, rpc: str, request: Any) -> str:
    """ "ok", or the error's text."""
    answer = ask(stub, rpc, request, timeout=20, metadata=with_token(token))
    details: str = answer.get("details", "ok")
    return details
