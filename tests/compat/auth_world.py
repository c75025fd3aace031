"""Random calls of several users: what the generator knows of the servers, and the calls it draws.

Left out, because etcd closed these gaps only after 3.5.1 and we are as strict as it is now: permissions on ranges that
are none, what stands inside transactions beyond plain operations, leases of nobody, tokens while auth is off. Ranges
that end before they begin are left out, too: whether etcd permits those hangs on the shape of its interval tree.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from kvstore.pb import etcd_pb2 as pb

USERS = ["root", "ann", "bob", "cy"]
ROLES = ["r1", "r2", "r3", "root"]
PASSWORDS = ["one", "two", "drei ß", ""]
KEYS = [b"a", b"b", b"b1", b"c", b"k\xff", b"z"]
ENDS = [b"", b"", b"b", b"c", b"zz", b"\0"]
# One permission a key: those of one key but with other ends stand in the order of Go's unstable sort.
PERMITTED_ENDS = {b"a": b"", b"b": b"c", b"b1": b"b2", b"c": b"\0", b"k\xff": b"", b"z": b"zz"}
LEASES = [11, 12, 13]

Draw = Callable[["World"], tuple[str, Message]]


class World:
    """A seeded source of calls."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.enabled = False

    def actor(self) -> str | None:
        """Who makes the next call: somebody, nobody now and then; nobody while auth is off."""
        if not self.enabled:
            return None
        return self.rng.choice([*USERS, "root", "root", "ann", "bob", None])

    def draw(self) -> tuple[str, Message]:
        """The next call."""
        draws, weights = zip(*_CALLS, strict=True)
        make: Draw = self.rng.choices(draws, weights)[0]
        return make(self)

    def pick(self, values: list[Any]) -> Any:
        """One of them."""
        return self.rng.choice(values)

    def range_end(self, key: bytes) -> bytes:
        """An end that makes a range with the key, or none."""
        end: bytes = self.pick(ENDS)
        return end if end in (b"", b"\0") or key < end else b""


def _user_add(world: World) -> tuple[str, Message]:
    options = pb.UserAddOptions(no_password=world.rng.random() < 0.1)
    name = world.pick([*USERS, ""])
    return "UserAdd", pb.AuthUserAddRequest(name=name, password=world.pick(PASSWORDS), options=options)


def _change_password(world: World) -> tuple[str, Message]:
    name, password = world.pick(USERS), world.pick(PASSWORDS)
    return "UserChangePassword", pb.AuthUserChangePasswordRequest(name=name, password=password)


def _grant_permission(world: World) -> tuple[str, Message]:
    if world.rng.random() < 0.05:
        return "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name=world.pick(ROLES))
    key = world.pick(KEYS)
    kind = world.pick(list(pb.Permission.Type.values()))
    permission = pb.Permission(permType=kind, key=key, range_end=PERMITTED_ENDS[key])
    return "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name=world.pick(ROLES), perm=permission)


def _revoke_permission(world: World) -> tuple[str, Message]:
    key = world.pick(KEYS)
    end = world.pick([PERMITTED_ENDS[key], PERMITTED_ENDS[key], b"x"])
    request = pb.AuthRoleRevokePermissionRequest(role=world.pick(ROLES), key=key, range_end=end)
    return "RoleRevokePermission", request


def _range(world: World) -> tuple[str, Message]:
    key = world.pick(KEYS)
    serializable = world.rng.random() < 0.3
    return "Range", pb.RangeRequest(key=key, range_end=world.range_end(key), serializable=serializable)


def _put(world: World) -> tuple[str, Message]:
    lease = world.pick([0, 0, 0, *LEASES])
    prev_kv = world.rng.random() < 0.3
    return "Put", pb.PutRequest(key=world.pick(KEYS), value=b"v", lease=lease, prev_kv=prev_kv)


def _delete(world: World) -> tuple[str, Message]:
    prev_kv = world.rng.random() < 0.3
    key = world.pick(KEYS)
    request = pb.DeleteRangeRequest(key=key, range_end=world.range_end(key), prev_kv=prev_kv)
    return "DeleteRange", request


def _operation(world: World) -> pb.RequestOp:
    kind = world.rng.randrange(3)
    if kind == 0:
        key = world.pick(KEYS)
        return pb.RequestOp(request_range=pb.RangeRequest(key=key, range_end=world.range_end(key)))
    if kind == 1:
        return pb.RequestOp(request_put=pb.PutRequest(key=world.pick(KEYS), value=b"t"))
    delete = pb.DeleteRangeRequest(key=world.pick(KEYS), prev_kv=world.rng.random() < 0.5)
    return pb.RequestOp(request_delete_range=delete)


def _txn(world: World) -> tuple[str, Message]:
    key = world.pick(KEYS)
    end = world.range_end(key)
    compare = [pb.Compare(key=key, target=pb.Compare.VERSION, result=pb.Compare.GREATER, range_end=end)]
    return "Txn", pb.TxnRequest(
        compare=compare if world.rng.random() < 0.6 else [],
        success=[_operation(world) for _ in range(world.rng.randrange(3))],
        failure=[_operation(world) for _ in range(world.rng.randrange(3))],
    )


def _authenticate(world: World) -> tuple[str, Message]:
    name = world.pick([*USERS, "nobody"])
    return "Authenticate", pb.AuthenticateRequest(name=name, password=world.pick(PASSWORDS))


_CALLS: list[tuple[Draw, float]] = [
    (_user_add, 3),
    (lambda w: ("UserDelete", pb.AuthUserDeleteRequest(name=w.pick(USERS))), 0.7),
    (_change_password, 1.5),
    (lambda w: ("UserGrantRole", pb.AuthUserGrantRoleRequest(user=w.pick(USERS), role=w.pick(ROLES))), 4),
    (lambda w: ("UserRevokeRole", pb.AuthUserRevokeRoleRequest(name=w.pick(USERS), role=w.pick(ROLES))), 1.5),
    (lambda w: ("UserGet", pb.AuthUserGetRequest(name=w.pick([*USERS, ""]))), 1.5),
    (lambda w: ("UserList", pb.AuthUserListRequest()), 0.7),
    (lambda w: ("RoleAdd", pb.AuthRoleAddRequest(name=w.pick([*ROLES, ""]))), 3),
    (lambda w: ("RoleDelete", pb.AuthRoleDeleteRequest(role=w.pick(ROLES))), 0.7),
    (lambda w: ("RoleGet", pb.AuthRoleGetRequest(role=w.pick(ROLES))), 1.5),
    (lambda w: ("RoleList", pb.AuthRoleListRequest()), 0.7),
    (_grant_permission, 5),
    (_revoke_permission, 1),
    (lambda w: ("AuthStatus", pb.AuthStatusRequest()), 1),
    (lambda w: ("AuthEnable", pb.AuthEnableRequest()), 1.5),
    (lambda w: ("AuthDisable", pb.AuthDisableRequest()), 0.4),
    (_authenticate, 2),
    (_range, 7),
    (_put, 7),
    (_delete, 3),
    (_txn, 6),
]
