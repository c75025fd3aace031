"""The auth store: what is stored is what is in memory, errors change nothing, the revision counts changes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from harness.memory_tables import MemoryTables

from kvstore.auth.store import AuthStore
from kvstore.auth.types import Identity
from kvstore.errors import EtcdError
from kvstore.pb import etcd_pb2 as pb

LONG = "n" * 5000


def store_with_root() -> tuple[AuthStore, MemoryTables]:
    tables = MemoryTables()
    store = AuthStore(tables)
    store.user_add(pb.AuthUserAddRequest(name="root", hashedPassword="aGFzaA=="))
    store.user_grant_role(pb.AuthUserGrantRoleRequest(user="root", role="root"))
    return store, tables


def requests(rng: random.Random) -> Any:
    """One random change: (method, request)."""
    names, roles = ["root", "ann", LONG, LONG + "x"], ["root", "r1", LONG]
    name, role = rng.choice(names), rng.choice(roles)
    permission = pb.Permission(
        permType=rng.randrange(3), key=rng.choice([b"a", b"b"]), range_end=rng.choice([b"", b"c"])
    )
    return rng.choice(
        [
            ("user_add", pb.AuthUserAddRequest(name=name, hashedPassword="aGFzaA==")),
            ("user_delete", pb.AuthUserDeleteRequest(name=name)),
            ("user_change_password", pb.AuthUserChangePasswordRequest(name=name, hashedPassword="bmV3")),
            ("user_grant_role", pb.AuthUserGrantRoleRequest(user=name, role=role)),
            ("user_revoke_role", pb.AuthUserRevokeRoleRequest(name=name, role=role)),
            ("role_add", pb.AuthRoleAddRequest(name=role)),
            ("role_delete", pb.AuthRoleDeleteRequest(role=role)),
            ("role_grant_permission", pb.AuthRoleGrantPermissionRequest(name=role, perm=permission)),
            (
                "role_revoke_permission",
                pb.AuthRoleRevokePermissionRequest(role=role, key=permission.key, range_end=permission.range_end),
            ),
        ]
    )


def picture(store: AuthStore) -> Any:
    """Everything that can be asked."""
    users = list(store.user_list().users)
    roles = list(store.role_list().roles)
    return (
        store.enabled,
        store.revision,
        [(name, list(store.user_get(name).roles), str(store.user(name))) for name in users],
        [(name, str(store.role_get(name))) for name in roles],
    )


def test_what_is_stored_is_what_is_in_memory(seed: int) -> None:
    rng = random.Random(seed)
    store, tables = store_with_root()
    for step in range(600):
        if step == 300:
            store.disable()
        if step in (150, 450) and store.user("root") and "root" in store.user_get("root").roles:
            store.enable()
        method, request = requests(rng)
        before, revision = tables.dump(), store.revision
        try:
            getattr(store, method)(request)
        except EtcdError:
            assert tables.dump() == before
            assert store.revision == revision
        else:
            changed = tables.dump() != before
            assert store.revision == revision + changed
        assert picture(AuthStore(tables)) == picture(store)


def test_a_user_is_root_as_long_as_auth_is_on() -> None:
    store, _ = store_with_root()
    store.role_add(pb.AuthRoleAddRequest(name="root"))
    store.enable()
    for method, request in (
        ("user_delete", pb.AuthUserDeleteRequest(name="root")),
        ("user_revoke_role", pb.AuthUserRevokeRoleRequest(name="root", role="root")),
        ("role_delete", pb.AuthRoleDeleteRequest(role="root")),
    ):
        with pytest.raises(EtcdError, match="invalid auth management"):
            getattr(store, method)(request)


def test_enabling_needs_root() -> None:
    store = AuthStore(MemoryTables())
    with pytest.raises(EtcdError, match="root user does not exist"):
        store.enable()
    store.user_add(pb.AuthUserAddRequest(name="root"))
    with pytest.raises(EtcdError, match="root user does not have root role"):
        store.enable()
    assert not store.enabled


def test_tables_are_etcds_buckets() -> None:
    """A backup in etcd's format copies them as they are."""
    store, tables = store_with_root()
    store.enable()
    assert set(tables.tables) == {"auth", "authUsers", "authRoles"}
    assert tables.table("auth").data == {b"authEnabled": b"\x01", b"authRevision": (3).to_bytes(8, "big")}
    # name, password, one role, options that are there and empty: as etcd's authpb.User is encoded.
    assert tables.table("authUsers").data == {b"root": b'\n\x04root\x12\x04hash\x1a\x04root"\x00'}
    store.disable()
    assert tables.table("auth").data[b"authEnabled"] == b"\x00"


def test_who_is_root() -> None:
    store, _ = store_with_root()
    store.user_add(pb.AuthUserAddRequest(name="ann"))
    store.check_root(None)
    store.enable()
    store.check_root(Identity("root", 1))
    for identity, complaint in (
        (None, "user name is empty"),
        (Identity("", 1), "user name is empty"),
        (Identity("nobody", 1), "user name not found"),
        (Identity("ann", 1), "permission denied"),
    ):
        with pytest.raises(EtcdError, match=complaint):
            store.check_root(identity)


def test_a_hash_that_is_none() -> None:
    store, tables = store_with_root()
    before = tables.dump()
    with pytest.raises(EtcdError, match="password was given for no password user"):
        store.user_add(pb.AuthUserAddRequest(name="ann", hashedPassword="not base64!"))
    assert tables.dump() == before


def test_permissions_follow_changes() -> None:
    """Merged permissions are made anew after whatever changes them."""
    store, _ = store_with_root()
    permission = pb.Permission(permType=pb.Permission.READ, key=b"k")
    grant = pb.AuthRoleGrantPermissionRequest(name="r", perm=permission)

    def may() -> bool:
        found = store.permissions("ann")
        return found is not None and found.may_read(b"k", b"")

    steps: list[tuple[str, Any, bool]] = [
        ("user_add", pb.AuthUserAddRequest(name="ann"), False),
        ("role_add", pb.AuthRoleAddRequest(name="r"), False),
        ("user_grant_role", pb.AuthUserGrantRoleRequest(user="ann", role="r"), False),
        ("role_grant_permission", grant, True),
        ("role_revoke_permission", pb.AuthRoleRevokePermissionRequest(role="r", key=b"k"), False),
        ("role_grant_permission", grant, True),
        ("user_revoke_role", pb.AuthUserRevokeRoleRequest(name="ann", role="r"), False),
        ("user_grant_role", pb.AuthUserGrantRoleRequest(user="ann", role="r"), True),
        ("role_delete", pb.AuthRoleDeleteRequest(role="r"), False),
        ("role_add", pb.AuthRoleAddRequest(name="r"), False),
        ("role_grant_permission", grant, False),
        ("user_grant_role", pb.AuthUserGrantRoleRequest(user="ann", role="root"), True),
        ("user_delete", pb.AuthUserDeleteRequest(name="ann"), False),
    ]
    for method, request, expected in steps:
        getattr(store, method)(request)
        assert may() == expected, method
