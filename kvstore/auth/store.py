"""The auth store: users, roles and permissions, the flag that turns them on, and the revision that counts changes.

A pure state machine like kvstore.mvcc's store: same tables and same requests in the same order give the same state and
the same errors on every member. All of it is held in memory; each change writes its row.

Invariants: the revision grows by one with each change, and never otherwise; a user's roles are sorted and each exists
(but for `root`, which needs no record); while auth is on, the user root has the role root.
Follows etcd's auth store of the 3.5 line, its order of checks included.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left

from kvstore.auth.permissions import Permissions, is_valid_range
from kvstore.auth.tables import AuthTables
from kvstore.auth.types import ROOT, Identity
from kvstore.errors import Code, EtcdError, error
from kvstore.mvcc.types import Tables
from kvstore.pb import etcd_pb2 as pb


def no_password_user() -> EtcdError:
    """A password where the user has none, or a hash that is none; etcd has no code for it."""
    return EtcdError(Code.UNKNOWN, "auth: authentication failed, password was given for no password user")


class AuthStore:
    """One member's users and roles. Methods named after RPCs raise what etcd answers them with."""

    def __init__(self, tables: Tables) -> None:
        self._tables = AuthTables(tables)
        self.load()

    def load(self) -> None:
        """Read everything anew, after a start or an installed snapshot."""
        self.enabled = self._tables.enabled
        self.revision = self._tables.revision
        self._users = self._tables.users()
        self._roles = self._tables.roles()
        self._permissions: dict[str, Permissions] = {}

    # ---- questions

    def user(self, name: str) -> pb.User | None:
        """The user of that name; not to be changed."""
        return self._users.get(name)

    def permissions(self, name: str) -> Permissions | None:
        """What a user may do; None for an unknown one. Hot: merged once a user and auth revision."""
        found = self._permissions.get(name)
        if found is None:
            user = self._users.get(name)
            if user is None:
                return None
            roles = [self._roles[role] for role in user.roles if role in self._roles]
            found = self._permissions[name] = Permissions(roles, root=ROOT in user.roles)
        return found

    def has_role(self, name: str, role: str) -> bool:
        """Whether the user exists and has the role."""
        user = self._users.get(name)
        return user is not None and role in user.roles

    def check_root(self, identity: Identity | None) -> None:
        """Raises USER_EMPTY, USER_NOT_FOUND or PERMISSION_DENIED for who is not root while auth is on."""
        if not self.enabled:
            return
        if identity is None or not identity.user:
            raise error("USER_EMPTY")
        user = self._users.get(identity.user)
        if user is None:
            raise error("USER_NOT_FOUND")
        if ROOT not in user.roles:
            raise error("PERMISSION_DENIED")

    def check_current(self, identity: Identity | None) -> None:
        """Raises USER_EMPTY for nobody, AUTH_OLD_REVISION for who was admitted before the last change."""
        if identity is None or identity.revision == 0:
            raise error("USER_EMPTY")
        if identity.revision < self.revision:
            raise error("AUTH_OLD_REVISION")

    def user_get(self, name: str) -> pb.AuthUserGetResponse:
        """A user's roles. Raises USER_NOT_FOUND."""
        return pb.AuthUserGetResponse(roles=self._known_user(name).roles)

    def user_list(self) -> pb.AuthUserListResponse:
        """Every user, sorted."""
        return pb.AuthUserListResponse(users=sorted(self._users))

    def role_get(self, name: str) -> pb.AuthRoleGetResponse:
        """A role's permissions. Raises ROLE_NOT_FOUND."""
        return pb.AuthRoleGetResponse(perm=self._known_role(name).keyPermission)

    def role_list(self) -> pb.AuthRoleListResponse:
        """Every role, sorted."""
        return pb.AuthRoleListResponse(roles=sorted(self._roles))

    # ---- on and off

    def enable(self) -> None:
        """From now on requests need a user. Raises ROOT_USER_NOT_EXIST, ROOT_ROLE_NOT_EXIST."""
        if self.enabled:
            return
        root = self._users.get(ROOT)
        if root is None:
            raise error("ROOT_USER_NOT_EXIST")
        if ROOT not in root.roles:
            raise error("ROOT_ROLE_NOT_EXIST")
        self.enabled = True
        self._tables.set_enabled(True)

    def disable(self) -> None:
        """From now on nobody is asked who they are."""
        if self.enabled:
            self.enabled = False
            self._tables.set_enabled(False)
            self._changed()

    def authenticated(self, name: str) -> None:
        """A password was checked before: is there still such a user? Raises AUTH_NOT_ENABLED, AUTH_FAILED."""
        if not self.enabled:
            raise error("AUTH_NOT_ENABLED")
        user = self._users.get(name)
        if user is None or user.options.no_password:
            raise error("AUTH_FAILED")

    # ---- users

    def user_add(self, request: pb.AuthUserAddRequest) -> None:
        """Raises USER_EMPTY, USER_ALREADY_EXISTS; etcd's error for a hash that is none."""
        if not request.name:
            raise error("USER_EMPTY")
        if request.name in self._users:
            raise error("USER_ALREADY_EXISTS")
        options = request.options
        password = b"" if options.no_password else _decode(request.hashedPassword)
        # The options are stored even when they say nothing: older members expect them.
        stored = pb.UserAddOptions(no_password=options.no_password)
        self._save_user(pb.User(name=request.name.encode(), password=password, options=stored))

    def user_delete(self, request: pb.AuthUserDeleteRequest) -> None:
        """Raises INVALID_AUTH_MGMT (root while auth is on), USER_NOT_FOUND."""
        if self.enabled and request.name == ROOT:
            raise error("INVALID_AUTH_MGMT")
        self._known_user(request.name)
        del self._users[request.name]
        self._tables.delete_user(request.name)
        self._changed()

    def user_change_password(self, request: pb.AuthUserChangePasswordRequest) -> None:
        """Raises USER_NOT_FOUND; etcd's error for a hash that is none."""
        user = _copy_user(self._known_user(request.name))
        user.password = b"" if user.options.no_password else _decode(request.hashedPassword)
        self._save_user(user)

    def user_grant_role(self, request: pb.AuthUserGrantRoleRequest) -> None:
        """Raises USER_NOT_FOUND, ROLE_NOT_FOUND."""
        known = self._known_user(request.user)
        if request.role != ROOT:
            self._known_role(request.role)
        if request.role in known.roles:
            return
        user = _copy_user(known)
        _set_roles(user, sorted([*known.roles, request.role]))
        self._save_user(user)

    def user_revoke_role(self, request: pb.AuthUserRevokeRoleRequest) -> None:
        """Raises INVALID_AUTH_MGMT (root from root while auth is on), USER_NOT_FOUND, ROLE_NOT_GRANTED."""
        if self.enabled and request.name == ROOT and request.role == ROOT:
            raise error("INVALID_AUTH_MGMT")
        known = self._known_user(request.name)
        if request.role not in known.roles:
            raise error("ROLE_NOT_GRANTED")
        user = _copy_user(known)
        _set_roles(user, [role for role in known.roles if role != request.role])
        self._save_user(user)

    # ---- roles

    def role_add(self, request: pb.AuthRoleAddRequest) -> None:
        """Raises ROLE_EMPTY, ROLE_ALREADY_EXISTS."""
        if not request.name:
            raise error("ROLE_EMPTY")
        if request.name in self._roles:
            raise error("ROLE_ALREADY_EXISTS")
        self._save_role(pb.Role(name=request.name.encode()))

    def role_delete(self, request: pb.AuthRoleDeleteRequest) -> None:
        """The role goes from every user, too. Raises INVALID_AUTH_MGMT (root while auth is on), ROLE_NOT_FOUND."""
        if self.enabled and request.role == ROOT:
            raise error("INVALID_AUTH_MGMT")
        self._known_role(request.role)
        del self._roles[request.role]
        self._tables.delete_role(request.role)
        for name, known in sorted(self._users.items()):
            if request.role in known.roles:
                user = self._users[name] = _copy_user(known)
                _set_roles(user, [role for role in known.roles if role != request.role])
                self._tables.put_user(user)
        self._changed()

    def role_grant_permission(self, request: pb.AuthRoleGrantPermissionRequest) -> None:
        """Raises PERMISSION_NOT_GIVEN, INVALID_AUTH_MGMT (not a range), ROLE_NOT_FOUND.

        As in etcd, only the first permission of a key is looked at to see whether this one is a change of it.
        """
        if not request.HasField("perm"):
            raise error("PERMISSION_NOT_GIVEN")
        wanted = request.perm
        if not is_valid_range(wanted.key, wanted.range_end):
            raise error("INVALID_AUTH_MGMT")
        known = self._known_role(request.name)
        granted = [_copy_permission(p) for p in known.keyPermission]
        at = bisect_left(granted, wanted.key, key=lambda p: p.key)
        if at < len(granted) and (granted[at].key, granted[at].range_end) == (wanted.key, wanted.range_end):
            granted[at].permType = wanted.permType
        else:
            granted.append(_copy_permission(wanted))
            granted.sort(key=lambda p: p.key)
        self._save_role(pb.Role(name=known.name, keyPermission=granted))

    def role_revoke_permission(self, request: pb.AuthRoleRevokePermissionRequest) -> None:
        """Raises ROLE_NOT_FOUND, PERMISSION_NOT_GRANTED."""
        known = self._known_role(request.role)
        wanted = (request.key, request.range_end)
        left = [p for p in known.keyPermission if (p.key, p.range_end) != wanted]
        if len(left) == len(known.keyPermission):
            raise error("PERMISSION_NOT_GRANTED")
        self._save_role(pb.Role(name=known.name, keyPermission=left))

    # ---- inside

    def _known_user(self, name: str) -> pb.User:
        user = self._users.get(name)
        if user is None:
            raise error("USER_NOT_FOUND")
        return user

    def _known_role(self, name: str) -> pb.Role:
        role = self._roles.get(name)
        if role is None:
            raise error("ROLE_NOT_FOUND")
        return role

    def _save_user(self, user: pb.User) -> None:
        self._users[user.name.decode()] = user
        self._tables.put_user(user)
        self._changed()

    def _save_role(self, role: pb.Role) -> None:
        self._roles[role.name.decode()] = role
        self._tables.put_role(role)
        self._changed()

    def _changed(self) -> None:
        self.revision += 1
        self._tables.set_revision(self.revision)
        self._permissions.clear()


def _decode(hashed: str) -> bytes:
    """The hash in a request. An empty one matches no password."""
    try:
        return base64.b64decode(hashed, validate=True)
    except binascii.Error:
        raise no_password_user() from None


def _copy_user(user: pb.User) -> pb.User:
    copy = pb.User()
    copy.CopyFrom(user)
    return copy


def _set_roles(user: pb.User, roles: list[str]) -> None:
    del user.roles[:]
    user.roles.extend(roles)


def _copy_permission(permission: pb.Permission) -> pb.Permission:
    return pb.Permission(permType=permission.permType, key=permission.key, range_end=permission.range_end)
